//! Nicks and rooms: what one may be called, and when two are the same.
//!
//! Only text here; who has a nick is on the bus. Invariant: a folded nick and a room are names that the
//! bus takes as part of a key.

/// Characters of a room's name.
const ROOM_CHARS_MAX: usize = 32;
const RESERVED: [&str; 7] = [
    "server", "system", "admin", "ops", "you", "everyone", "nick",
];

/// Why somebody may not be called that; as it is said to them.
pub(crate) fn check_nick(nick: &str, chars_max: usize) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let rule = format!(
        "a nick has 1 to {chars_max} of A-Z a-z 0-9 _ . - and begins with one of the first three"
    );
    let why = if nick.is_empty() {
        "is empty".to_owned()
    } else if nick.chars().count() > chars_max {
        format!("is longer than {chars_max}")
    } else if let Some(wrong) = nick.chars().find(|c| !fits(*c)) {
        format!("has a {wrong:?}")
    } else if !nick.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "does not begin with a letter or a digit".to_owned()
    } else if is_reserved(nick) {
        return Err(format!("{nick} is reserved"));
    } else {
        return Ok(());
    };
    Err(format!("that {why}: {rule}"))
}

/// Whether somebody may be called that, if only because the server has said so: a guest.
pub(crate) fn is_nick(nick: &str, chars_max: usize) -> bool {
    let number = nick.strip_prefix("guest").unwrap_or_default();
    let is_guest = (3..=6).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit());
    is_guest || check_nick(nick, chars_max).is_ok()
}

fn is_reserved(nick: &str) -> bool {
    let folded = fold(nick);
    RESERVED.contains(&folded.as_str()) || folded.starts_with("guest")
}

/// Equal for what counts as the same nick.
pub(crate) fn fold(nick: &str) -> String {
    nick.to_ascii_lowercase()
}

/// Another nick like this one.
pub(crate) fn suggestion(nick: &str, chars_max: usize) -> String {
    let stem = nick.trim_end_matches(|c: char| c.is_ascii_digit());
    let number: u64 = nick[stem.len()..].parse().unwrap_or(1);
    let number = number.saturating_add(1).to_string();
    let stem = &stem[..stem.len().min(chars_max.saturating_sub(number.len()))];
    format!("{stem}{number}")
}

/// The room that is meant, or why there can be none of that name.
pub(crate) fn room(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('#').unwrap_or(text).to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if (1..=ROOM_CHARS_MAX).contains(&name.len()) && name.chars().all(fits) {
        Ok(name)
    } else {
        Err(format!(
            "a room has 1 to {ROOM_CHARS_MAX} of a-z 0-9 _ - for its name"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicks_are_taken_whole_or_refused_with_the_reason() {
        for (nick, why) in [
            ("bob", ""),
            ("B.o_b-2", ""),
            ("9lives", ""),
            ("abcdefghijklmnop", ""),
            ("", "is empty"),
            ("abcdefghijklmnopq", "longer than 16"),
            ("_bob", "does not begin"),
            ("-bob", "does not begin"),
            ("bob smith", "has a ' '"),
            ("bób", "has a 'ó'"),
            ("Admin", "reserved"),
            ("GUEST7", "reserved"),
        ] {
            match check_nick(nick, 16) {
                Ok(()) => assert_eq!(why, "", "{nick}"),
                Err(said) => assert!(!why.is_empty() && said.contains(why), "{nick}: {said}"),
            }
        }
    }

    #[test]
    fn a_suggestion_can_be_had() {
        for (nick, other) in [
            ("bob", "bob2"),
            ("bob2", "bob3"),
            ("bob9", "bob10"),
            ("abcdefghijklmnop", "abcdefghijklmno2"),
            ("99999999999999999999999", "2"),
        ] {
            assert_eq!(suggestion(nick, 16), other);
            assert_eq!(check_nick(other, 16), Ok(()));
        }
    }

    #[test]
    fn rooms_are_small_letters() {
        assert_eq!(room("#Lobby"), Ok("lobby".to_owned()));
        assert_eq!(room("a-b_9"), Ok("a-b_9".to_owned()));
        for wrong in ["", "#", "a b", "ä", &"x".repeat(33), "a.b", "##a"] {
            assert!(room(wrong).is_err(), "{wrong}");
        }
    }
}
