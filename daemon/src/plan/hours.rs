//! Hours at which a service is open: "08:00-18:00", "Mon-Fri 08:00-18:00", "Sat,Sun 22:00-06:00".
//!
//! They are in UTC: workers may not read the files that local time is made from, and an hour that
//! comes twice or never in a year would open and close doors by surprise. Hours that end before
//! they begin last into the next day, and belong to the day on which they begin.
//!
//! Invariant: there is at least one minute of the week in them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Fault, shown};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MINUTES: u16 = 24 * 60;
/// 1970-01-01 was a Thursday.
const FIRST_DAY: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes after midnight; `until` is not part of it any more.
    from: u16,
    until: u16,
}

impl Hours {
    pub fn parse(text: &str) -> Result<Hours, Fault> {
        let wrong = |why: &str| {
            let found = shown(text);
            Fault::new(format!(
                "expected hours such as \"08:00-18:00\" or \"Mon-Fri 08:00-18:00\" (in UTC), \
                 found \"{found}\"{why}"
            ))
        };
        let (days, span) = match text.split_once(' ') {
            None => (0x7f, text),
            Some((days, span)) => {
                let days = parse_days(days);
                let known = wrong(" (the days are Mon, Tue, Wed, Thu, Fri, Sat and Sun)");
                (days.ok_or(known)?, span)
            }
        };
        let (from, until) = span.split_once('-').ok_or_else(|| wrong(""))?;
        let times = parse_minute(from).zip(parse_minute(until));
        let (from, until) = times.ok_or_else(|| wrong(" (times go from 00:00 to 24:00)"))?;
        if from == until || from == DAY_MINUTES {
            return Err(wrong(" (no time is in it)").hint("for whole days write \"00:00-24:00\""));
        }
        Ok(Hours { days, from, until })
    }

    /// Whether they are open so many seconds after 1970-01-01 00:00 UTC.
    pub fn contain(&self, seconds: u64) -> bool {
        let minute = (seconds / 60 % u64::from(DAY_MINUTES)) as u16;
        let today = (seconds / 86_400 + FIRST_DAY) % 7;
        let begins = |day: u64| self.days & (1 << day) != 0;
        if self.from < self.until {
            return begins(today) && (self.from..self.until).contains(&minute);
        }
        let yesterday = (today + 6) % 7;
        (begins(today) && minute >= self.from) || (begins(yesterday) && minute < self.until)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != 0x7f {
            let named = DAYS.iter().enumerate();
            let days = named.filter(|(nth, _)| self.days & (1 << nth) != 0);
            let days: Vec<&str> = days.map(|(_, name)| *name).collect();
            write!(f, "{} ", days.join(","))?;
        }
        let [from, until] = [self.from, self.until].map(|at| (at / 60, at % 60));
        let ((from_h, from_m), (until_h, until_m)) = (from, until);
        write!(f, "{from_h:02}:{from_m:02}-{until_h:02}:{until_m:02}")
    }
}

/// "Mon", "Mon-Fri", "Sat-Mon", "Mon,Wed,Fri-Sun".
fn parse_days(text: &str) -> Option<u8> {
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (parse_day(first)?, parse_day(last)?);
        days |= 1 << day;
        while day != last {
            day = (day + 1) % 7;
            days |= 1 << day;
        }
    }
    Some(days)
}

fn parse_day(name: &str) -> Option<usize> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(name))
}

fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let [hour, minute] = [hour, minute].map(|digits| {
        let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| two)
    });
    let (hour, minute) = (hour?, minute?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= DAY_MINUTES).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds after 1970 of a day of the week beginning on Monday, 2026-11-16.
    fn at(day: u64, hour: u64, minute: u64) -> u64 {
        1_794_787_200 + day * 86_400 + hour * 3_600 + minute * 60
    }

    #[test]
    fn hours_are_open_from_their_first_minute_to_before_their_last() {
        let (mon, fri, sat, sun) = (0, 4, 5, 6);
        for (text, when, open) in [
            ("08:00-18:00", at(sun, 7, 59), false),
            ("08:00-18:00", at(sun, 8, 0), true),
            ("08:00-18:00", at(mon, 17, 59) + 59, true),
            ("08:00-18:00", at(mon, 18, 0), false),
            ("00:00-24:00", at(sat, 0, 0), true),
            ("00:00-24:00", at(sat, 23, 59) + 59, true),
            ("Mon-Fri 08:00-18:00", at(fri, 9, 0), true),
            ("Mon-Fri 08:00-18:00", at(sat, 9, 0), false),
            ("fri-mon 08:00-18:00", at(mon, 9, 0), true),
            ("Fri-Mon 08:00-18:00", at(1, 9, 0), false),
            ("Mon,Sat 08:00-18:00", at(sat, 9, 0), true),
            ("Mon,Sat 08:00-18:00", at(fri, 9, 0), false),
            ("22:00-06:00", at(mon, 23, 0), true),
            ("22:00-06:00", at(mon, 5, 59), true),
            ("22:00-06:00", at(mon, 6, 0), false),
            ("Sun 22:00-06:00", at(mon, 5, 0), true),
            ("Sun 22:00-06:00", at(sun, 5, 0), false),
            ("Sun 22:00-06:00", at(sun, 22, 0), true),
            ("Sun 22:00-00:00", at(sun, 23, 59), true),
            ("Sun 22:00-00:00", at(mon, 0, 0), false),
        ] {
            let hours = Hours::parse(text).expect(text);
            assert_eq!(hours.contain(when), open, "{text} at {when}");
            assert_eq!(Hours::parse(&hours.to_string()).ok(), Some(hours), "{text}");
        }
    }

    #[test]
    fn refused_hours_say_what_would_do() {
        for (text, reason) in [
            ("", "such as"),
            ("08:00", "such as"),
            ("8:00-18:00", "from 00:00 to 24:00"),
            ("08:00-24:01", "from 00:00 to 24:00"),
            ("08:60-18:00", "from 00:00 to 24:00"),
            ("+8:00-18:00", "from 00:00 to 24:00"),
            ("08:00-18:00-19:00", "from 00:00 to 24:00"),
            ("08:00-08:00", "00:00-24:00"),
            ("24:00-06:00", "00:00-24:00"),
            ("Mo 08:00-18:00", "the days are"),
            ("Mon- 08:00-18:00", "the days are"),
            ("Mon-Tue-Wed 08:00-18:00", "the days are"),
            (",Mon 08:00-18:00", "the days are"),
            (" 08:00-18:00", "the days are"),
            ("Mon  08:00-18:00", "from 00:00 to 24:00"),
        ] {
            let fault = Hours::parse(text).expect_err(text);
            let said = format!("{}; {}", fault.problem, fault.hint.unwrap_or_default());
            assert!(said.contains(reason), "{text:?}: {said}");
        }
    }
}
