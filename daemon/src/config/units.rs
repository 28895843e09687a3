//! Durations and sizes as administrators write them: "1m30s", "64KiB".
//!
//! Both are always a number with a unit, so that nobody has to remember which unit a key is in; "0"
//! alone needs none. Plugin options use the same spellings. Nothing is guessed: "64K" could mean two
//! things and is refused with both spelled out.
//!
//! Invariant: what is accepted fits an `i64`, the width at which plugins are given numbers.

use super::complaint::shown;

/// Longest first where one is a prefix of another's meaning; a duration names each at most once.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZE_UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const LARGEST: u64 = i64::MAX as u64;

/// "10s", "500ms", "1m30s", "2h", "0" → milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| {
        let found = shown(text);
        format!(
            "expected a duration such as \"10s\", \"500ms\" or \"1m30s\", found \"{found}\"{why}"
        )
    };
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total = 0u64;
    let mut units_left = &DURATION_UNITS[..];
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = split_number(rest);
        let unit_len = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        if number.is_empty() {
            return Err(wrong(stray(rest).unwrap_or_default()));
        }
        if unit.is_empty() {
            let missing = " (a unit is missing: ms, s, m, h or d)";
            return Err(wrong(stray(after).unwrap_or(missing)));
        }
        let Some(at) = units_left.iter().position(|(name, _)| *name == unit) else {
            let known = DURATION_UNITS.iter().any(|(name, _)| *name == unit);
            return Err(wrong(if known {
                " (units go from large to small, each once)"
            } else {
                " (the units are ms, s, m, h and d)"
            }));
        };
        total = scaled(number, units_left[at].1)
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LARGEST)
            .ok_or_else(|| wrong(" (too large)"))?;
        units_left = &units_left[at + 1..];
        rest = after;
    }
    Ok(total)
}

/// "50us", or a duration as above, → microseconds.
pub fn parse_duration_us(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("us").filter(|number| {
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        digits && number.parse::<i64>().is_ok()
    });
    match number {
        Some(number) => Ok(number.parse().expect("checked to be a number")),
        None => parse_duration_ms(text).map(|ms| ms.saturating_mul(1_000)),
    }
}

/// "64KiB", "1MB", "512B", "0" → bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| {
        let found = shown(text);
        format!("expected a size such as \"64KiB\" or \"1MB\", found \"{found}\"{why}")
    };
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return Err(wrong(stray(text).unwrap_or_default()));
    }
    if unit.is_empty() {
        return Err(wrong(
            " (a unit is missing: B, KiB, MiB, GiB, kB, MB or GB)",
        ));
    }
    let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
        let known = " (the units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB)";
        return Err(wrong(match unit {
            "K" | "k" => " (KiB is 1024 bytes, kB is 1000)",
            "M" | "m" => " (MiB is 1048576 bytes, MB is 1000000)",
            _ => stray(unit).unwrap_or(known),
        }));
    };
    scaled(number, *factor)
        .filter(|bytes| *bytes <= LARGEST)
        .ok_or_else(|| wrong(" (too large)"))
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// What is wrong with a character where a digit or a unit should be.
fn stray(rest: &str) -> Option<&'static str> {
    match rest.chars().next()? {
        '-' => Some(" (it cannot be negative)"),
        '.' => Some(" (whole numbers only; use a smaller unit)"),
        c if c.is_whitespace() => Some(" (without spaces)"),
        _ => None,
    }
}

fn scaled(number: &str, factor: u64) -> Option<u64> {
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_from_large_to_small() {
        let good = [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90m", 5_400_000),
            ("9223372036854775807ms", i64::MAX as u64),
        ];
        for (text, expected) in good {
            assert_eq!(parse_duration_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_refused_duration_is_quoted_with_the_reason() {
        let bad = [
            ("", "such as"),
            ("10", "unit is missing"),
            ("-10s", "negative"),
            ("1.5s", "whole numbers"),
            ("10 s", "without spaces"),
            (" 10s", "without spaces"),
            ("10s ", "without spaces"),
            ("s", "such as"),
            ("10x", "the units are"),
            ("10S", "the units are"),
            ("30s1m", "large to small"),
            ("1s1s", "large to small"),
            ("9223372036854775808ms", "too large"),
            ("99999999999999999999s", "too large"),
            ("9223372036854775807ms1", "unit is missing"),
            ("200000000000000d", "too large"),
            ("١s", "such as"),
            ("10s\0", "10s\\u{0}"),
            ("forever", "such as"),
        ];
        for (text, reason) in bad {
            let error = parse_duration_ms(text).expect_err(text);
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn where_microseconds_count_they_have_a_unit() {
        let good = [
            ("50us", 50),
            ("0us", 0),
            ("0", 0),
            ("2ms", 2_000),
            ("1s", 1_000_000),
        ];
        for (text, expected) in good {
            assert_eq!(parse_duration_us(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "us",
            "50",
            "-1us",
            "+1us",
            "1.5us",
            "1s50us",
            "99999999999999999999us",
        ] {
            parse_duration_us(bad).expect_err(bad);
        }
    }

    #[test]
    fn sizes_are_one_number_with_one_unit() {
        let good = [
            ("0", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("1MB", 1_000_000),
            ("1kB", 1_000),
            ("1KB", 1_000),
            ("3GiB", 3 << 30),
            ("9223372036854775807B", i64::MAX as u64),
        ];
        for (text, expected) in good {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_refused_size_is_quoted_with_the_reason() {
        let bad = [
            ("", "such as"),
            ("65536", "unit is missing"),
            ("64K", "KiB is 1024"),
            ("1M", "MiB is 1048576"),
            ("64kib", "the units are"),
            ("-1B", "negative"),
            ("1.5MiB", "whole numbers"),
            ("1 MiB", "without spaces"),
            ("9223372036854775808B", "too large"),
            ("18446744073709551616B", "too large"),
            ("9000000TiB", "too large"),
            ("lots", "such as"),
        ];
        for (text, reason) in bad {
            let error = parse_size(text).expect_err(text);
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
