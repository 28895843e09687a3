//! What the small services of the same age say: discard (RFC 863), chargen (864), qotd (865),
//! daytime (867) and time (868). Pure functions; who says it when is `session`'s.
//!
//! Invariant: an answer is the same for the same moment, wherever the daemon runs: all times are UTC.

/// As characters of a line, the printable ones of ASCII, in order and around.
const FIRST: u8 = b' ';
pub(crate) const KINDS: usize = 95;
const LINE: usize = 72;
/// Lines said at once; together less than the smallest output limit there can be.
const LINES: usize = 13;
/// Bytes of one piece.
pub(crate) const PIECE: usize = LINES * (LINE + 2);

// The least that `limits.output` can be is 1 KiB.
const _: () = assert!(PIECE <= 1024);
// A session keeps the number of its line in a byte.
const _: () = assert!(KINDS <= 256);

/// The lines from number `first` on: each begins one character later than the one before.
pub(crate) fn lines(first: usize) -> [u8; PIECE] {
    let mut piece = [0; PIECE];
    for (nth, line) in piece.chunks_exact_mut(LINE + 2).enumerate() {
        for (at, byte) in line[..LINE].iter_mut().enumerate() {
            *byte = FIRST + ((first + nth + at) % KINDS) as u8;
        }
        line[LINE..].copy_from_slice(b"\r\n");
    }
    piece
}

/// The number of the line behind a piece.
pub(crate) fn next(first: usize) -> usize {
    (first + LINES) % KINDS
}

/// Seconds since 1900, as they go over the wire; the count begins anew in 2036.
pub(crate) fn time(unix_s: u64) -> [u8; 4] {
    const FROM_1900_TO_1970_S: u64 = 2_208_988_800;
    ((unix_s + FROM_1900_TO_1970_S) as u32).to_be_bytes()
}

/// As RFC 867 shows it: `Tuesday, February 22, 1982 17:37:43-UTC`.
pub(crate) fn daytime(unix_s: u64) -> String {
    const WEEKDAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let weekday = WEEKDAYS[(days % 7) as usize];
    let month = MONTHS[month];
    format!("{weekday}, {month} {day}, {year} {hour:02}:{minute:02}:{second:02}-UTC\r\n")
}

/// Year, month from 0, day from 1.
fn date(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 });
    let days_in = |year| if leap(year) { 366 } else { 365 };
    // The calendar repeats itself every 400 years.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= days_in(year) {
        days -= days_in(year);
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    (year, month, days + 1)
}

/// What qotd says if the administrator wrote no quotes.
pub(crate) const QUOTES: [&str; 3] = [
    "Be conservative in what you do, be liberal in what you accept from others. (Jon Postel)",
    "A distributed system is one in which the failure of a computer you did not even know existed \
     can render your own computer unusable. (Leslie Lamport)",
    "Simplicity is prerequisite for reliability. (Edsger W. Dijkstra)",
];

/// RFC 865 asks for less than 512 characters, the line's end among them.
pub(crate) const QUOTE_BYTES_MAX: usize = 509;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_pattern_wherever_a_piece_begins() {
        let mut first = 0;
        let mut all = Vec::new();
        for _ in 0..KINDS {
            all.extend_from_slice(&lines(first));
            first = next(first);
        }
        assert_eq!(first, 0, "it comes around");
        let text = String::from_utf8(all).expect("ASCII");
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(rows.len(), KINDS * LINES);
        let head = r##" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg"##;
        assert_eq!(rows[0], head);
        assert_eq!(rows[94].chars().take(3).collect::<String>(), "~ !");
        for (nth, row) in rows.iter().enumerate() {
            assert_eq!(*row, rows[nth % KINDS]);
            assert!(
                nth == 0 || row.starts_with(&rows[nth - 1][1..2]),
                "line {nth}"
            );
        }
    }

    #[test]
    fn a_moment_is_said_as_the_two_protocols_have_it() {
        for (unix_s, said, since_1900) in [
            (
                0,
                "Thursday, January 1, 1970 00:00:00-UTC\r\n",
                2_208_988_800,
            ),
            (
                383_247_463,
                "Monday, February 22, 1982 17:37:43-UTC\r\n",
                2_592_236_263,
            ),
            (
                951_782_399,
                "Monday, February 28, 2000 23:59:59-UTC\r\n",
                3_160_771_199,
            ),
            (
                951_782_400,
                "Tuesday, February 29, 2000 00:00:00-UTC\r\n",
                3_160_771_200,
            ),
            (
                1_795_253_589,
                "Saturday, November 21, 2026 09:33:09-UTC\r\n",
                4_004_242_389,
            ),
            (
                2_085_978_495,
                "Thursday, February 7, 2036 06:28:15-UTC\r\n",
                u32::MAX,
            ),
            (
                2_085_978_496,
                "Thursday, February 7, 2036 06:28:16-UTC\r\n",
                0,
            ),
            (
                4_107_542_400,
                "Monday, March 1, 2100 00:00:00-UTC\r\n",
                2_021_563_904,
            ),
            (
                13_574_563_200,
                "Tuesday, February 29, 2400 00:00:00-UTC\r\n",
                2_898_650_112,
            ),
        ] {
            assert_eq!(daytime(unix_s), said);
            assert_eq!(u32::from_be_bytes(time(unix_s)), since_1900, "{said}");
        }
    }

    #[test]
    fn the_quotes_are_short_enough() {
        for quote in QUOTES {
            assert!(quote.len() <= QUOTE_BYTES_MAX && quote.is_ascii());
        }
    }
}
