//! What is said in a room, as it travels and waits in history.
//!
//! A few fields with TABs between them: text that was sanitised has none. Invariant: what
//! [`Said::decode`] takes is safe to show, whoever wrote it: another version may share the topic.

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
    /// Which session said it: it does not hear itself.
    pub(crate) from: String,
    pub(crate) nick: String,
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Text => 't',
            Kind::Action => 'a',
        };
        format!("{kind}\t{}\t{}\t{}", self.from, self.nick, self.text).into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Said> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut fields = text.splitn(4, '\t');
        let kind = match fields.next()? {
            "t" => Kind::Text,
            "a" => Kind::Action,
            _ => return None,
        };
        let mut field = || fields.next().map(sanitise::clean);
        Some(Said {
            kind,
            from: field()?,
            nick: field()?,
            text: field()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_survives_the_way_and_nothing_else_does() {
        let said = Said {
            kind: Kind::Action,
            from: "a1".to_owned(),
            nick: "bob".to_owned(),
            text: "waves".to_owned(),
        };
        assert_eq!(Said::decode(&said.encode()), Some(said));
        for strange in [&b""[..], b"t", b"t\ta\tb", b"x\ta\tb\tc", b"\xFF"] {
            assert_eq!(Said::decode(strange), None);
        }
        let rude = Said::decode(b"t\ta\tbob\thi\x1B[2J\tthere").expect("it has all fields");
        assert_eq!(rude.text, "hi there");
    }
}
