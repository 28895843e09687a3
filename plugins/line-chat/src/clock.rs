//! The time of day, in UTC, and lengths of time as people write them. Pure: the moment is given.

/// `12:34`.
pub(crate) fn hour_minute(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// `2026-11-21T12:34:56Z`.
pub(crate) fn iso(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / 86_400_000);
    let s = unix_ms / 1000 % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

/// `2026-11-21`.
pub(crate) fn day(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms / 86_400_000);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a day since 1970, by counting in eras of 400 years that begin in March.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let civil = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(civil <= 2), civil, day)
}

/// `30s`, `10m`, `1h`, `7d` or `1w`, in milliseconds; nothing is no length.
pub(crate) fn length(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        'w' => 7 * 86_400_000,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(unit).filter(|ms| *ms > 0)
}

/// `2d 3h`, `5m`, `7s`: the two largest units.
pub(crate) fn lasted(ms: u64) -> String {
    let s = ms / 1000;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, _) => format!("{m}m"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

/// The same for what is still to come: a second that has begun counts, or ten minutes would be nine at once.
pub(crate) fn left(ms: u64) -> String {
    lasted(ms.div_ceil(1000) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_795_264_496_789), "2026-11-21T12:34:56Z");
        assert_eq!(hour_minute(1_795_264_496_789), "12:34");
        for (text, ms) in [
            ("10m", Some(600_000)),
            ("1h", Some(3_600_000)),
            ("30s", Some(30_000)),
            ("2w", Some(14 * 86_400_000)),
        ] {
            assert_eq!(length(text), ms);
        }
        for wrong in [
            "",
            "h",
            "10",
            "1y",
            "0h",
            "-1h",
            "1é",
            "99999999999999999999d",
            "9999999999999999d",
        ] {
            assert_eq!(length(wrong), None, "{wrong}");
        }
        assert_eq!(lasted(7_000), "7s");
        assert_eq!(lasted(90_061_000), "1d 1h");
        assert_eq!(lasted(3_660_000), "1h 1m");
        assert_eq!(lasted(61_000), "1m");
        assert_eq!(left(599_999), "10m");
        assert_eq!(left(3_599_001), "1h 0m");
        assert_eq!((left(0), left(1)), ("0s".to_owned(), "1s".to_owned()));
    }
}
