//! What topics, keys, streams and buckets are called on the server.
//!
//! A topic or key is one token of a subject: a dot would cut it, so that is written in hexadecimal
//! behind `=`, and so is `=` itself; no name at all is a single `=`.
//!
//! Invariant: two names never become the same token, and a token becomes its name again.

use crate::hub::wire::{ID_BYTES_MAX, is_name};

/// The stream with all messages of a service.
pub fn stream(prefix: &str, service: &str) -> String {
    format!("{prefix}-{service}")
}

/// What its messages are published to.
pub fn subject(prefix: &str, service: &str, topic: &str) -> String {
    format!("{prefix}.{service}.{}", token(topic))
}

/// The bucket with all leases of a service.
pub fn leases(prefix: &str, service: &str) -> String {
    format!("{prefix}-{service}-leases")
}

/// The bucket in which each node says that it lives.
pub fn nodes(prefix: &str) -> String {
    format!("{prefix}-nodes")
}

pub fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '.' => token.push_str("=2E"),
            '=' => token.push_str("=3D"),
            _ => token.push(letter),
        }
    }
    match token.is_empty() {
        true => "=".to_owned(),
        false => token,
    }
}

/// `None` for what nobody here has written.
pub(super) fn name(token: &str) -> Option<String> {
    let name = match token {
        "" => return None,
        "=" => String::new(),
        _ => token.replace("=2E", ".").replace("=3D", "="),
    };
    (is_name(name.as_bytes()) && self::token(&name) == token).then_some(name)
}

/// What the server knows a message again by: ids of two topics are different ones.
pub(super) fn message_id(topic: &str, id: &[u8]) -> String {
    format!("{}:{}", token(topic), hexadecimal(id))
}

/// The id in there; none if somebody else has made it.
pub(super) fn id(message_id: &str) -> Box<[u8]> {
    let digits = message_id.rsplit_once(':').map_or("", |(_, digits)| digits);
    let id = bytes(digits).filter(|id| id.len() <= ID_BYTES_MAX);
    id.unwrap_or_default().into()
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).ok().filter(|it| it.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_names_and_becomes_it_again() {
        for (text, expected) in [
            ("", "="),
            ("room.lobby", "room=2Elobby"),
            ("..", "=2E=2E"),
            ("=", "=3D"),
            ("=2E", "=3D2E"),
            ("a/b-c_D", "a/b-c_D"),
        ] {
            assert_eq!(token(text), expected);
            assert_eq!(name(expected).as_deref(), Some(text));
        }
        for nobodys in ["", "a.b", "*", "a=", "=2e", "ä"] {
            assert_eq!(name(nobodys), None, "{nobodys}");
        }
    }

    #[test]
    fn an_id_comes_back_and_what_is_none_is_empty() {
        let made = message_id("room.a", &[1, 0xfe]);
        assert_eq!(made, "room=2Ea:01fe");
        assert_eq!(*id(&made), [1, 0xfe]);
        for others in ["", "own-id", "x:1", "x:zz"] {
            assert!(id(others).is_empty(), "{others}");
        }
    }
}
