//! One event as text: for people, for programs, for a syslog daemon, for the journal.
//!
//! Pure: what comes in is an event and the name of the process, what goes out are bytes. Whoever a
//! piece of it came from, no control character of theirs is in any of these forms.
//!
//! Invariant: one event is one line, or one datagram whose texts are cut to a length.

use std::fmt::{self, Write};

use tracing::Level;
use tracing::field::{Field, Visit};

use crate::plan::Facility;

/// What of one text goes into a datagram; the rest is cut.
pub(super) const DATAGRAM_BYTES_MAX: usize = 16 * 1024;
/// What the journal takes as the name of a field.
const FIELD_NAME_BYTES_MAX: usize = 64;

/// An event, and the process that it is of.
pub(super) struct Entry<'a> {
    pub(super) level: Level,
    pub(super) who: &'a str,
    pub(super) parts: &'a Parts,
}

#[derive(Default)]
pub(super) struct Parts {
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Entry<'_> {
    /// With the time, for people.
    pub(super) fn text(&self, time: &str) -> String {
        format!("{time} {:<7} {}\n", severity(self.level), self.said())
    }

    /// With the time, for programs.
    pub(super) fn json(&self, time: &str) -> String {
        let mut line = self.document(Some(time));
        line.push('\n');
        line
    }

    /// As syslog(3) sends it to the daemon of this machine, but for the time: that daemon has a clock
    /// too, and the time zone that the classic form is in.
    pub(super) fn syslog(&self, facility: Facility, pid: u32, json: bool) -> String {
        let said = match json {
            true => self.document(None),
            false => self.said(),
        };
        let priority = facility as u8 * 8 + priority(self.level);
        format!("<{priority}>polyport[{pid}]: {}", cut(&said))
    }

    /// In the journal's native protocol. Nothing here has a line end in it, so every field has its
    /// short form.
    pub(super) fn journal(&self) -> String {
        let mut text = format!(
            "MESSAGE={}\nPRIORITY={}\nSYSLOG_FACILITY={}\nSYSLOG_IDENTIFIER=polyport\n\
             POLYPORT_PROCESS={}\n",
            cut(&self.said()),
            priority(self.level),
            Facility::Daemon as u8,
            escape(self.who),
        );
        let fields = self.parts.fields.iter();
        let named = fields.clone().any(|(name, _)| *name == "service");
        if let Some((service, _)) = self.who.split_once('/').filter(|_| !named) {
            let _ = writeln!(text, "POLYPORT_SERVICE={}", escape(service));
        }
        for (name, value) in fields {
            let _ = writeln!(text, "{}={}", field_name(name), cut(&escape(value)));
        }
        text
    }

    fn said(&self) -> String {
        let mut line = format!("{}: {}", self.who, escape(&self.parts.message));
        for (name, value) in &self.parts.fields {
            let bare = !value.is_empty() && !value.contains([' ', '"', '=']);
            let _ = if bare {
                write!(line, " {name}={}", escape(value))
            } else {
                write!(line, " {name}=\"{}\"", escape(value).replace('"', "\\\""))
            };
        }
        line
    }

    fn document(&self, time: Option<&str>) -> String {
        let mut object = serde_json::Map::new();
        let time = time.map(|time| ("time", time));
        let known = [("severity", severity(self.level)), ("who", self.who)];
        for (name, value) in time.into_iter().chain(known) {
            object.insert(name.into(), value.into());
        }
        object.insert("message".into(), self.parts.message.as_str().into());
        for (name, value) in &self.parts.fields {
            object.insert((*name).into(), value.as_str().into());
        }
        // JSON escapes C0; the rest of the control characters must not reach a terminal either.
        let line = serde_json::Value::from(object).to_string();
        line.replace(char::is_control, "\u{fffd}")
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// As syslog(3) numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn field_name(name: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    let name = "POLYPORT_".chars().chain(name.chars().map(plain));
    name.take(FIELD_NAME_BYTES_MAX).collect()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(DATAGRAM_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Text that is safe on a terminal; line ends become visible, so that one event stays one line.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_control() => _ = write!(escaped, "\\x{:02x}", c as u32),
            c => escaped.push(c),
        }
    }
    escaped
}

/// RFC 3339 in UTC.
pub fn timestamp(seconds: u64, millis: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The date of a day counted from 1970-01-01, by the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    let mut left = days;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_795_247_999, "2026-11-21T07:59:59.007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(timestamp(seconds, 7), text);
        }
    }

    fn entry<'a>(who: &'a str, parts: &'a Parts) -> Entry<'a> {
        let level = Level::INFO;
        Entry { level, who, parts }
    }

    #[test]
    fn what_a_peer_sent_cannot_command_a_terminal_or_fake_a_line() {
        let parts = Parts {
            message: "said \x1b[2J\nfake".into(),
            fields: vec![("peer", "\u{9b}1m \"x\"".into()), ("port", "7".into())],
        };
        let entry = entry("w", &parts);
        let said = "w: said \\x1b[2J\\nfake peer=\"\\x9b1m \\\"x\\\"\" port=7";
        assert_eq!(entry.text("T"), format!("T info    {said}\n"));
        assert_eq!(
            entry.syslog(Facility::Daemon, 9, false),
            format!("<30>polyport[9]: {said}")
        );
        for json in [entry.json("T"), entry.syslog(Facility::Daemon, 9, true)] {
            assert!(!json.trim_end().contains(char::is_control), "{json:?}");
            let document = json.strip_prefix("<30>polyport[9]: ").unwrap_or(&json);
            assert!(serde_json::from_str::<serde_json::Value>(document).is_ok());
        }
        let journal = entry.journal();
        let names: Vec<&str> = journal
            .lines()
            .filter_map(|l| l.split('=').next())
            .collect();
        let expected = [
            "MESSAGE",
            "PRIORITY",
            "SYSLOG_FACILITY",
            "SYSLOG_IDENTIFIER",
            "POLYPORT_PROCESS",
            "POLYPORT_PEER",
            "POLYPORT_PORT",
        ];
        assert_eq!(names, expected, "{journal}");
        assert!(journal.contains(&format!("MESSAGE={said}\n")), "{journal}");
        assert!(!journal.replace('\n', "").contains(char::is_control));
    }

    #[test]
    fn the_journal_can_be_asked_for_a_service() {
        let parts = Parts::default();
        assert!(
            entry("chat/2", &parts)
                .journal()
                .contains("\nPOLYPORT_SERVICE=chat\n")
        );
        let parts = Parts {
            message: "hello".into(),
            fields: vec![("service", "chat".into())],
        };
        let text = entry("chat/2", &parts).journal();
        assert_eq!(text.matches("POLYPORT_SERVICE=chat\n").count(), 1, "{text}");
    }

    #[test]
    fn a_text_without_end_is_cut_at_a_character() {
        let parts = Parts {
            message: "ä".repeat(DATAGRAM_BYTES_MAX),
            fields: Vec::new(),
        };
        let text = entry("w", &parts).syslog(Facility::User, 1, false);
        assert!(text.len() <= DATAGRAM_BYTES_MAX + 32 && text.ends_with('ä'));
    }
}
