//! What is said in a room, as it travels and waits in history.
//!
//! A few fields with TABs between them: text that was sanitised has none. It is kept as it travels, in one
//! piece, for there are many. Invariant: what [`Said::decode`] takes is safe to show, whoever wrote it:
//! another version may share the topic.

use crate::sanitise;

/// How something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// What somebody does, rather than says.
    Action,
}

/// One line of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) kind: Kind,
    fields: Box<str>,
    nick_at: usize,
    text_at: usize,
}

impl Said {
    pub(crate) fn new(kind: Kind, from: &str, nick: &str, text: &str) -> Said {
        let letter = match kind {
            Kind::Text => "t\t",
            Kind::Action => "a\t",
        };
        let nick_at = letter.len() + from.len() + 1;
        Said {
            kind,
            fields: [letter, from, "\t", nick, "\t", text].concat().into(),
            nick_at,
            text_at: nick_at + nick.len() + 1,
        }
    }

    /// Which session said it: it does not hear itself.
    pub(crate) fn from(&self) -> &str {
        &self.fields[2..self.nick_at - 1]
    }

    pub(crate) fn nick(&self) -> &str {
        &self.fields[self.nick_at..self.text_at - 1]
    }

    pub(crate) fn text(&self) -> &str {
        &self.fields[self.text_at..]
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        self.fields.as_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Said> {
        let text = std::str::from_utf8(bytes).ok()?;
        let kind = match text.get(..2)? {
            "t\t" => Kind::Text,
            "a\t" => Kind::Action,
            _ => return None,
        };
        let behind_tab = |at: usize| Some(at + text[at..].find('\t')? + 1);
        let nick_at = behind_tab(2)?;
        let text_at = behind_tab(nick_at)?;
        let said = Said {
            kind,
            fields: text.into(),
            nick_at,
            text_at,
        };
        let fields = [said.from(), said.nick(), said.text()];
        if fields.into_iter().all(sanitise::is_clean) {
            return Some(said);
        }
        let [from, nick, text] = fields.map(sanitise::clean);
        Some(Said::new(kind, &from, &nick, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_survives_the_way_and_nothing_else_does() {
        let said = Said::new(Kind::Action, "a1", "bob", "waves");
        assert_eq!(
            (said.from(), said.nick(), said.text()),
            ("a1", "bob", "waves")
        );
        assert_eq!(Said::decode(said.encoded()), Some(said));
        for strange in [&b""[..], b"t", b"t\ta\tb", b"x\ta\tb\tc", b"\xFF"] {
            assert_eq!(Said::decode(strange), None);
        }
        let rude = Said::decode(b"t\ta\tb\x07ob\thi\x1B[2J\tthere").expect("it has all fields");
        assert_eq!((rude.nick(), rude.text()), ("bob", "hi there"));
        let other = Said::decode("t\ta\tbób\tпривет".as_bytes()).expect("it has all fields");
        assert_eq!((other.nick(), other.text()), ("bób", "привет"));
    }
}
