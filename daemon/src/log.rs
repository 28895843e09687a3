//! The log: one line an event, for the administrator at night.
//!
//! A line is time, severity, the administrator's name for the thing, what happened, and fields. Each
//! goes out in one write, so lines of several processes do not mix. Control characters never reach
//! the target unescaped, whoever they came from. A target that cannot be written to (a full disk, a
//! pipe that nobody reads) costs the line and nothing else.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use crate::plan::{LogFormat, LogLevel, LogPlan, LogTarget};

/// How it is before any plan is known.
pub fn early() -> LogPlan {
    LogPlan {
        target: LogTarget::Stderr,
        level: LogLevel::Info,
        format: LogFormat::Text,
    }
}

/// Sends this process's events to the plan's target. `who` stands before each line: "supervisor",
/// "gopher/1". Later calls in the same process change nothing.
pub fn begin(plan: &LogPlan, who: &str) -> io::Result<()> {
    let file = match &plan.target {
        LogTarget::Stderr => None,
        LogTarget::File(path) => Some(open(path)?),
    };
    let file = FILE.get_or_init(|| file.map(RwLock::new)).as_ref();
    let lines = Lines {
        who: who.to_owned(),
        format: plan.format,
        file,
    };
    let (filter, handle) = reload::Layer::new(filter(plan.level));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = LEVEL.set(handle);
    }
    Ok(())
}

/// The file at this path, made if it is missing; the text of an error names the key.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).mode(0o640).open(path);
    opened.map_err(|error| {
        let path = path.display();
        io::Error::other(format!("daemon.log.file: cannot open {path}: {error}"))
    })
}

/// Lines go to this file from now on, if they went to a file before.
pub fn write_to(file: File) {
    if let Some(Some(kept)) = FILE.get() {
        *kept.write().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

/// The file of the log that has begun.
static FILE: OnceLock<Option<RwLock<File>>> = OnceLock::new();

/// The filter of the log that has begun.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// What is less severe than this is not written from now on.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // The handle fails only once its subscriber is gone, and the global one stays.
        let _ = handle.modify(|now| *now = filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

#[derive(Debug)]
struct Lines {
    who: String,
    format: LogFormat,
    file: Option<&'static RwLock<File>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // What the hub's client of NATS says of itself, the hub says in an administrator's words.
        if event.metadata().target().starts_with("async_nats") {
            return;
        }
        let mut parts = Parts::default();
        event.record(&mut parts);
        let severity = severity(*event.metadata().level());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = timestamp(now.as_secs(), now.subsec_millis());
        let line = match self.format {
            LogFormat::Text => text_line(&time, severity, &self.who, &parts),
            LogFormat::Json => json_line(&time, severity, &self.who, &parts),
        };
        // A log that cannot be written must not stop a daemon that serves.
        match &self.file {
            Some(file) => {
                let file = file.read().unwrap_or_else(PoisonError::into_inner);
                let _ = (&*file).write_all(line.as_bytes());
            }
            None => self.to_stderr(&line),
        }
    }
}

impl Lines {
    /// Whoever reads standard error may have stopped reading. A pipe that is ready takes this much
    /// without waiting (pipe(7)); what it does not take is lost, and counted.
    fn to_stderr(&self, line: &str) {
        const PIPE_BUF: usize = 4096;
        let lost = LOST.swap(0, Relaxed);
        let notice = format!(
            "{}: {lost} lines of this log were lost: nobody read them\n",
            self.who
        );
        let notice = if lost > 0 { notice.as_bytes() } else { b"" };
        for piece in notice
            .chunks(PIPE_BUF)
            .chain(line.as_bytes().chunks(PIPE_BUF))
        {
            let mut stderr = io::stderr();
            let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut fds, PollTimeout::ZERO) != Ok(1) {
                LOST.fetch_add(lost + 1, Relaxed);
                return;
            }
            let _ = stderr.write_all(piece);
        }
    }
}

/// Lines that found standard error full.
static LOST: AtomicU64 = AtomicU64::new(0);

fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
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

fn text_line(time: &str, severity: &str, who: &str, parts: &Parts) -> String {
    let mut line = format!("{time} {severity:<7} {who}: {}", escape(&parts.message));
    for (name, value) in &parts.fields {
        let bare = !value.is_empty() && !value.contains([' ', '"', '=']);
        let _ = if bare {
            write!(line, " {name}={}", escape(value))
        } else {
            write!(line, " {name}=\"{}\"", escape(value).replace('"', "\\\""))
        };
    }
    line.push('\n');
    line
}

fn json_line(time: &str, severity: &str, who: &str, parts: &Parts) -> String {
    let mut object = serde_json::Map::new();
    for (name, value) in [("time", time), ("severity", severity), ("who", who)] {
        object.insert(name.into(), value.into());
    }
    object.insert("message".into(), parts.message.as_str().into());
    for (name, value) in &parts.fields {
        object.insert((*name).into(), value.as_str().into());
    }
    // JSON escapes C0; the rest of the control characters must not reach a terminal either.
    let mut line = serde_json::Value::from(object).to_string();
    if line.contains(|c: char| c.is_control()) {
        line = line
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
    }
    line.push('\n');
    line
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

    #[test]
    fn what_a_peer_sent_cannot_command_a_terminal_or_fake_a_line() {
        let parts = Parts {
            message: "said \x1b[2J\nfake".into(),
            fields: vec![("peer", "\u{9b}1m \"x\"".into()), ("port", "7".into())],
        };
        let line = text_line("T", "info", "w", &parts);
        assert_eq!(
            line,
            "T info    w: said \\x1b[2J\\nfake peer=\"\\x9b1m \\\"x\\\"\" port=7\n"
        );
        let json = json_line("T", "info", "w", &parts);
        assert!(!json.trim_end().contains(char::is_control), "{json:?}");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
