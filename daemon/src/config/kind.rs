//! One written value against its kind: the value in its final unit, or what is wrong with it.
//!
//! Works on parsed TOML and knows nothing of files, lines or other keys. Lists and free tables are
//! the walk's business, because in them several things can be wrong at once.
//!
//! Invariant: an accepted duration is an integer of milliseconds, an accepted size one of bytes,
//! both within the key's bounds.

use std::path::Path;

use toml_edit::{Item, Value};

use super::complaint::{Fault, shown};
use super::schema::Kind;
use super::units::{parse_duration_ms, parse_duration_us, parse_size};

/// A scalar as `config` keeps it. `base` is what relative paths are taken from; without one they
/// are refused.
pub(super) fn read(kind: Kind, item: &Item, base: Option<&Path>) -> Result<::config::Value, Fault> {
    match kind {
        Kind::Text => text(item, "text in quotes").map(Into::into),
        Kind::Line { max } => line(item, max).map(Into::into),
        Kind::Path => path(item, base).map(Into::into),
        Kind::Count { min, max } => count(item, min, max).map(Into::into),
        Kind::AutoOrCount { min, max } => auto_or_count(item, min, max),
        Kind::Boolean => boolean(item).map(Into::into),
        Kind::Duration { min_ms, max_ms } => duration(item, min_ms, max_ms).map(Into::into),
        Kind::Microseconds { max_us } => microseconds(item, max_us).map(Into::into),
        Kind::Size { min, max } => size(item, min, max).map(Into::into),
        Kind::Choice { words, refused } => choice(item, words, refused).map(Into::into),
        Kind::TextList { .. } | Kind::FreeTable => {
            unreachable!("lists and free tables are read by the walk")
        }
    }
}

/// "the number 10": what stands there, for "expected …, found …".
pub(super) fn found(item: &Item) -> String {
    match item {
        Item::None => "nothing".to_owned(),
        Item::Table(_) | Item::Value(Value::InlineTable(_)) => "a table".to_owned(),
        Item::ArrayOfTables(_) => "an array of tables".to_owned(),
        Item::Value(Value::Array(_)) => "a list".to_owned(),
        Item::Value(Value::String(text)) if text.value().is_empty() => "empty text".to_owned(),
        Item::Value(Value::String(text)) => format!("\"{}\"", shown(text.value())),
        Item::Value(Value::Integer(number)) => format!("the number {}", number.value()),
        Item::Value(Value::Float(number)) => format!("the number {}", number.value()),
        Item::Value(Value::Boolean(word)) => format!("{}", word.value()),
        Item::Value(Value::Datetime(moment)) => format!("the date {}", moment.value()),
    }
}

pub(super) fn expected(what: &str, item: &Item) -> Fault {
    Fault::new(format!("expected {what}, found {}", found(item)))
}

pub(super) fn text(item: &Item, what: &str) -> Result<String, Fault> {
    match item.as_str() {
        Some("") => Err(expected(what, item)),
        Some(text) if text.chars().any(char::is_control) => Err(expected(
            &format!("{what}, without control characters"),
            item,
        )),
        Some(text) => Ok(text.to_owned()),
        None => Err(expected(what, item)),
    }
}

/// For a peer's eyes: of the control characters it may have those that end a line.
fn line(item: &Item, max: usize) -> Result<String, Fault> {
    let what = "text in quotes, without control characters other than \\r, \\n and \\t";
    match item.as_str() {
        Some(text) if text.len() > max => {
            let found = text.len();
            Err(Fault::new(format!(
                "expected at most {max} bytes of text, found {found}"
            )))
        }
        Some(text)
            if text
                .chars()
                .all(|c| !c.is_control() || "\r\n\t".contains(c)) =>
        {
            Ok(text.to_owned())
        }
        Some(_) | None => Err(expected(what, item)),
    }
}

fn path(item: &Item, base: Option<&Path>) -> Result<String, Fault> {
    let written = text(item, "a path in quotes")?;
    if Path::new(&written).is_absolute() {
        return Ok(written);
    }
    let Some(base) = base else {
        return Err(expected("an absolute path", item).hint("begin it with /"));
    };
    match base.join(&written).into_os_string().into_string() {
        Ok(joined) => Ok(joined),
        Err(_) => Err(expected("an absolute path", item)
            .hint("the current directory has a name that is not UTF-8")),
    }
}

fn count(item: &Item, min: i64, max: i64) -> Result<i64, Fault> {
    let wrong = || expected(&format!("a number from {min} to {max}"), item);
    match item.as_integer() {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        Some(_) => Err(wrong()),
        None => Err(
            match item.as_str().and_then(|text| text.parse::<i64>().ok()) {
                Some(number) => wrong().hint(format!("write {number} without quotes")),
                None => wrong(),
            },
        ),
    }
}

fn auto_or_count(item: &Item, min: i64, max: i64) -> Result<::config::Value, Fault> {
    if item.as_str() == Some("auto") {
        return Ok("auto".into());
    }
    count(item, min, max).map(Into::into).map_err(|fault| {
        let problem = fault
            .problem
            .replacen("expected ", "expected \"auto\" or ", 1);
        Fault { problem, ..fault }
    })
}

fn boolean(item: &Item) -> Result<bool, Fault> {
    item.as_bool().ok_or_else(|| {
        let wrong = expected("true or false", item);
        match item.as_str() {
            Some("true" | "yes" | "on") => wrong.hint("write true without quotes"),
            Some("false" | "no" | "off") => wrong.hint("write false without quotes"),
            _ => wrong,
        }
    })
}

fn duration(item: &Item, min_ms: u64, max_ms: u64) -> Result<i64, Fault> {
    let Some(written) = item.as_str() else {
        let wrong = expected("a duration in quotes such as \"10s\"", item);
        return Err(match item.as_integer() {
            Some(number) if number >= 0 => wrong.hint(format!("write \"{number}s\"")),
            _ => wrong,
        });
    };
    let ms = parse_duration_ms(written).map_err(Fault::new)?;
    if ms < min_ms {
        return Err(expected(
            &format!("a duration of at least {min_ms}ms"),
            item,
        ));
    }
    if ms > max_ms {
        let most = match max_ms {
            _ if max_ms.is_multiple_of(86_400_000) => format!("{}d", max_ms / 86_400_000),
            _ => format!("{}s", max_ms / 1_000),
        };
        return Err(expected(&format!("a duration of at most {most}"), item));
    }
    Ok(signed(ms))
}

fn microseconds(item: &Item, max_us: u64) -> Result<i64, Fault> {
    let Some(written) = item.as_str() else {
        let wrong = expected("a duration in quotes such as \"50us\"", item);
        return Err(match item.as_integer() {
            Some(number) if number >= 0 => wrong.hint(format!("write \"{number}us\"")),
            _ => wrong,
        });
    };
    let us = parse_duration_us(written).map_err(Fault::new)?;
    if us > max_us {
        let max_ms = max_us / 1_000;
        return Err(expected(&format!("a duration of at most {max_ms}ms"), item));
    }
    Ok(signed(us))
}

fn size(item: &Item, min: u64, max: u64) -> Result<i64, Fault> {
    let Some(written) = item.as_str() else {
        let wrong = expected("a size in quotes such as \"64KiB\"", item);
        return Err(match item.as_integer() {
            Some(number) if number >= 0 => wrong.hint(format!("write \"{number}B\"")),
            _ => wrong,
        });
    };
    let bytes = parse_size(written).map_err(Fault::new)?;
    if !(min..=max).contains(&bytes) {
        let what = format!("a size from {} to {}", in_binary(min), in_binary(max));
        return Err(expected(&what, item));
    }
    Ok(signed(bytes))
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).expect("units accepts only what fits an i64")
}

/// The bounds in the schema are powers of 1024.
fn in_binary(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 => format!("{}GiB", bytes >> 30),
        _ if bytes >= 1 << 20 => format!("{}MiB", bytes >> 20),
        _ if bytes >= 1 << 10 => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

fn choice(item: &Item, words: &[&str], refused: &[(&str, &str)]) -> Result<String, Fault> {
    let listed = words
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>();
    let wrong = || expected(&format!("one of {}", listed.join(", ")), item);
    let Some(written) = item.as_str() else {
        return Err(wrong());
    };
    if words.contains(&written) {
        return Ok(written.to_owned());
    }
    match refused.iter().find(|(word, _)| *word == written) {
        Some((_, answer)) => Err(wrong().hint(*answer)),
        None => Err(match nearest(written, words.iter().copied()) {
            Some(word) => wrong().hint(format!("did you mean \"{word}\"?")),
            None => wrong(),
        }),
    }
}

/// The known word that somebody may have meant: one that is near enough, or that is written with a word
/// too many or too few behind it, as `connections_max`.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing costs length times length, and nobody mistypes that much.
    if written.len() > 64 {
        return None;
    }
    let plain = written.to_lowercase().replace('-', "_");
    let far = match written.chars().count() {
        0..=3 => 1,
        4..=6 => 2,
        _ => 3,
    };
    let begins = |longer: &str, shorter: &str| {
        let rest = longer.strip_prefix(shorter);
        !shorter.is_empty() && rest.is_some_and(|rest| rest.starts_with('_'))
    };
    let known: Vec<&str> = known.into_iter().collect();
    let near = known.iter().copied();
    near.map(|word| {
        (
            strsim::damerau_levenshtein(&plain, &word.replace('-', "_")),
            word,
        )
    })
    .filter(|(distance, _)| *distance <= far)
    .min_by_key(|(distance, _)| *distance)
    .map(|(_, word)| word)
    .or_else(|| {
        let partly = known.into_iter().filter(|word| {
            let word = word.replace('-', "_");
            begins(&plain, &word) || begins(&word, &plain)
        });
        partly.max_by_key(|word| word.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{KEYS, Preset};

    #[test]
    fn every_default_is_accepted_by_its_own_kind() {
        for key in KEYS {
            if let Preset::Is(written) = key.default {
                let item = Item::Value(written.parse().expect("defaults are TOML"));
                assert!(read(key.kind, &item, None).is_ok(), "{}", key.path);
            }
        }
    }

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let words = || ["workers", "listen", "plugin", "best-effort"].into_iter();
        let cases = [
            ("workres", Some("workers")),
            ("Workers", Some("workers")),
            ("best_effort", Some("best-effort")),
            ("lisen", Some("listen")),
            ("workers_max", Some("workers")),
            ("best", Some("best-effort")),
            ("workersmax", Some("workers")),
            ("_workers", Some("workers")),
            ("colour", None),
            ("", None),
        ];
        for (written, expected) in cases {
            assert_eq!(nearest(written, words()), expected, "{written}");
        }
    }
}
