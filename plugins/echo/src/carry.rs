//! A session as bytes, for another worker to go on with.
//!
//! Mode, flags, bytes consumed, line of chargen, then the incomplete line with its length, then what is
//! still to be said. Numbers are little-endian. What comes in is checked as if a stranger had sent it.
//!
//! Invariant: an import of an export is the same session.

use crate::mode::Mode;
use crate::session::Session;
use crate::small;

/// Another number for every change of the layout.
pub(crate) const FORMAT: u32 = 1;

const PEER_HAS_FINISHED: u8 = 1;
/// An answer repeats a line and says little more.
const LAST_WORDS_BYTES_MAX: usize = 33 * 1024;

pub(crate) fn export(mode: Mode, session: &Session, out: &mut Vec<u8>) {
    let finished = session.peer_has_finished;
    // Once the peer has finished nothing is ever put together again.
    let partial: &[u8] = if finished { &[] } else { &session.partial };
    out.push(mode.number());
    out.push(if finished { PEER_HAS_FINISHED } else { 0 });
    out.extend(session.consumed.to_le_bytes());
    out.extend(u32::from(session.line).to_le_bytes());
    out.extend((partial.len() as u32).to_le_bytes());
    out.extend(partial);
    out.extend(&*session.last_words);
}

/// The error is for the administrator.
pub(crate) fn import(
    mode: Mode,
    line_max: usize,
    format: u32,
    bytes: &[u8],
) -> Result<Session, String> {
    if format != FORMAT {
        return Err(format!("its format is {format}, and known is {FORMAT}"));
    }
    let mut rest = bytes;
    let [of_mode, flags] = take(&mut rest)?;
    if of_mode != mode.number() {
        return Err("the mode of the service is another now".to_owned());
    }
    if flags & !PEER_HAS_FINISHED != 0 {
        return Err(format!("unknown flags {flags:#x}"));
    }
    let consumed = u64::from_le_bytes(take(&mut rest)?);
    let line = u32::from_le_bytes(take(&mut rest)?);
    let partial_bytes = u32::from_le_bytes(take(&mut rest)?) as usize;
    let known = u8::try_from(line).ok();
    let known = known.filter(|line| usize::from(*line) < small::KINDS);
    let line = known.ok_or_else(|| format!("there is no line {line} of chargen"))?;
    // A line's end may have come in part.
    if partial_bytes > line_max + 1 {
        return Err("its line is longer than line_max".to_owned());
    }
    let (partial, last_words) = rest.split_at_checked(partial_bytes).ok_or("cut short")?;
    if last_words.len() > LAST_WORDS_BYTES_MAX {
        return Err("more is to be said than any mode says".to_owned());
    }
    Ok(Session {
        consumed,
        partial: partial.to_vec(),
        last_words: last_words.into(),
        peer_has_finished: flags & PEER_HAS_FINISHED != 0,
        line,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (taken, behind) = rest.split_first_chunk().ok_or("cut short")?;
    *rest = behind;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> [Session; 3] {
        [
            Session::default(),
            Session {
                consumed: u64::MAX,
                partial: b"half a li".to_vec(),
                line: 94,
                ..Session::default()
            },
            Session {
                last_words: vec![b'x'; 600].into(),
                peer_has_finished: true,
                ..Session::default()
            },
        ]
    }

    #[test]
    fn an_import_of_an_export_is_the_same_session() {
        for session in sessions() {
            let mut bytes = Vec::new();
            export(Mode::Line, &session, &mut bytes);
            assert_eq!(import(Mode::Line, 9, FORMAT, &bytes), Ok(session));
        }
    }

    #[test]
    fn what_is_wrong_is_refused_and_nothing_panics() {
        for session in sessions() {
            let mut bytes = Vec::new();
            export(Mode::Line, &session, &mut bytes);
            assert!(import(Mode::Line, 9, FORMAT + 1, &bytes).is_err());
            assert!(import(Mode::Who, 9, FORMAT, &bytes).is_err());
            for cut in 0..18 {
                assert!(import(Mode::Line, 9, FORMAT, &bytes[..cut]).is_err());
            }
            for at in 0..bytes.len() {
                for value in [0, 1, 2, 0x7f, 0x80, 0xff] {
                    let mut other = bytes.clone();
                    other[at] = value;
                    if let Ok(session) = import(Mode::Line, 9, FORMAT, &other) {
                        assert!(
                            usize::from(session.line) < small::KINDS && session.partial.len() <= 10
                        );
                    }
                }
            }
        }
    }
}
