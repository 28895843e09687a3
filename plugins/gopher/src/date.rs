//! Moments as people and Gopher+ clients read them, in UTC.
//!
//! Pure arithmetic on the civil calendar; no clock and no time zone.

/// A moment taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    weekday: usize,
}

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Date {
    pub(crate) fn of(unix_s: i64) -> Date {
        let days = unix_s.div_euclid(86_400);
        let second = unix_s.rem_euclid(86_400);
        // Years that begin in March, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        Date {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            weekday: days.rem_euclid(7) as usize,
        }
    }

    /// `2026-11-21 10:30`.
    pub(crate) fn short(&self) -> String {
        let Date {
            year,
            month,
            day,
            hour,
            minute,
            ..
        } = self;
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }

    /// As Gopher+ has it: for people, and behind it for programs.
    pub(crate) fn gopher_plus(&self) -> String {
        let Date {
            year,
            month,
            day,
            hour,
            minute,
            second,
            weekday,
        } = self;
        let (weekday, name) = (WEEKDAYS[*weekday], MONTHS[*month as usize - 1]);
        format!(
            "{weekday} {name} {day:2} {hour:02}:{minute:02}:{second:02} {year} \
             <{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_said_in_both_forms() {
        for (unix_s, short, long) in [
            (
                0,
                "1970-01-01 00:00",
                "Thu Jan  1 00:00:00 1970 <19700101000000>",
            ),
            (
                951_782_399,
                "2000-02-28 23:59",
                "Mon Feb 28 23:59:59 2000 <20000228235959>",
            ),
            (
                951_782_400,
                "2000-02-29 00:00",
                "Tue Feb 29 00:00:00 2000 <20000229000000>",
            ),
            (
                1_795_253_589,
                "2026-11-21 09:33",
                "Sat Nov 21 09:33:09 2026 <20261121093309>",
            ),
            (
                -1,
                "1969-12-31 23:59",
                "Wed Dec 31 23:59:59 1969 <19691231235959>",
            ),
        ] {
            let date = Date::of(unix_s);
            assert_eq!(
                (date.short().as_str(), date.gopher_plus().as_str()),
                (short, long)
            );
        }
    }
}
