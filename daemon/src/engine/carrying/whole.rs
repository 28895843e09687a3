//! A long answer changes hands instead of being copied: the desk's bytes become the output of the session
//! that they are for, and the desk goes on with another buffer.
//!
//! Only if one session has said everything, as in order as it lies there, and nothing of it is queued; and
//! only if the buffer is not much larger than what is in it, for it stays until the peer has taken all.
//!
//! Invariant: what is queued afterwards is what copying would have queued.

use crate::engine::connection::Connection;
use crate::engine::desk::{Ask, Desk};
use crate::engine::output::Spares;
use crate::engine::piece::Piece;
use crate::engine::roll::Roll;
use crate::engine::session::Token;

/// Copying fewer bytes costs less than finding out.
const WHOLE_BYTES_MIN: usize = 4096;

/// The session whose output has all asked-for bytes now, if there is one.
pub(super) fn take_whole<S>(
    desk: &mut Desk,
    connections: &mut Roll<Connection<S>>,
    spares: &mut Spares,
) -> Option<Token> {
    let length = desk.bytes().len();
    if length < WHOLE_BYTES_MIN {
        return None;
    }
    let session = only_writer(desk)?;
    let connection = connections.get_mut(session)?;
    let output = &connection.output;
    if !output.is_bare() || !desk.is_well_filled() || !connection.accepts_writes() {
        return None;
    }
    connection.output.begin_with(desk.swap_bytes(spares.take()));
    Some(session)
}

/// Whose bytes all of the desk's are, without any that was taken back and any range of a file between.
fn only_writer(desk: &Desk) -> Option<Token> {
    let mut writer = None;
    let mut end = 0;
    for ask in desk.asks() {
        match ask {
            Ask::Write {
                session,
                piece: Piece::Copied(range),
            } if writer.is_none_or(|writer| writer == *session) && range.start == end => {
                (writer, end) = (Some(*session), range.end);
            }
            Ask::Write { .. } | Ask::File { .. } => return None,
            Ask::FinishWriting { .. }
            | Ask::Close { .. }
            | Ask::Pause { .. }
            | Ask::Idle { .. }
            | Ask::TimerSet { .. } => {}
        }
    }
    writer.filter(|_| end == desk.bytes().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::desk::Said;
    use crate::engine::limits::Spans;
    use crate::engine::output::Splices;
    use crate::plan::Limits;

    const LONG: usize = WHOLE_BYTES_MIN;

    /// What is said, as (whom, bytes); whose is taken back; and who has bytes queued before.
    type Row = (&'static [(usize, usize)], Option<usize>, Option<usize>);

    #[test]
    fn bytes_change_hands_only_if_all_of_them_are_one_sessions() {
        let rows: [(Row, bool); 8] = [
            ((&[(0, LONG)], None, None), true),
            ((&[(0, 3000), (0, 3000)], None, None), true),
            ((&[(0, LONG)], None, Some(1)), true),
            ((&[(0, LONG)], None, Some(0)), false),
            ((&[(0, LONG - 1)], None, None), false),
            ((&[(0, 3000), (1, 3000)], None, None), false),
            // What was taken back lies there still.
            ((&[(0, 3000), (1, LONG)], Some(0), None), false),
            ((&[(1, LONG), (0, 3000)], Some(0), None), false),
        ];
        for ((said, taken_back, queued), changes) in rows {
            let spans = Spans::of(&Limits::default());
            let mut connections = Roll::default();
            let tokens = [(); 2].map(|()| connections.insert(Connection::<()>::new(0, &spans, 0)));
            let (mut desk, mut spares) = (Desk::default(), Spares::default());
            for token in tokens {
                desk.opened(token, usize::MAX);
            }
            if let Some(whose) = queued {
                let connection = &mut connections[tokens[whose]];
                connection.output.push(b"before", &mut spares);
            }
            for (whom, bytes) in said {
                let bytes = vec![b'a' + *whom as u8; *bytes];
                let written = desk.write(tokens[*whom], Said::Bytes(&bytes), false);
                written.expect("there is room");
            }
            if let Some(whose) = taken_back {
                desk.undo_writes(tokens[whose]);
            }
            let taker = take_whole(&mut desk, &mut connections, &mut spares);
            assert_eq!(taker, changes.then_some(tokens[0]), "{said:?}");
            if changes {
                let whole: usize = said.iter().map(|(_, bytes)| bytes).sum();
                let output = &connections[tokens[0]].output;
                let pieces = output.pieces(&Splices::default(), b"");
                assert_eq!(pieces.as_slice()[0][..], vec![b'a'; whole]);
                assert!(desk.bytes().is_empty());
            }
        }
    }
}
