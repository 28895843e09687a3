//! What `crashes` answers: the record of a worker's death, for scripts and for people.
//!
//! The same document lies on disk and goes over the control socket. Everything in it that came from
//! the dead worker is a number, or text that was bounded and stripped before.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The deaths on record, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashList {
    pub crashes: Vec<CrashSummary>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashSummary {
    pub id: u64,
    /// In UTC.
    pub when: String,
    pub service: String,
    /// From 1.
    pub worker: u16,
    pub pid: i32,
    pub generation: u32,
    /// How the process ended: "signal 11 (SIGSEGV)".
    pub ended: String,
    /// Name and version as it gives them itself.
    pub plugin: String,
    /// `None` is nobody, or nobody who can be named.
    pub blame: Option<CrashBlame>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashBlame {
    /// `None`: on a thread of the plugin's own.
    pub callback: Option<String>,
    /// The slot of its thread; 0 is the event loop's.
    pub thread: Option<usize>,
    pub connection: Option<u64>,
    /// Whom it served: an IPv4 address or an IPv6 /64.
    pub source: Option<IpNet>,
    /// "certain" or "likely".
    pub confidence: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    #[serde(flatten)]
    pub summary: CrashSummary,
    /// The plugin's file in the store, and the hash of its content.
    pub code: String,
    pub hash: String,
    /// What the worker wrote down itself.
    pub record: Option<RecordedCrash>,
    /// What followed from it.
    pub decided: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCrash {
    pub signal: i32,
    /// `si_code` of sigaction(2).
    pub code: i32,
    /// In hexadecimal, as all addresses.
    pub address: String,
    pub stack_overflow: bool,
    /// Name and content.
    pub registers: Vec<(String, String)>,
    /// Innermost first.
    pub frames: Vec<Frame>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub address: String,
    /// Where the code came from, if that is known, and how far behind its beginning.
    pub file: Option<String>,
    pub offset: Option<String>,
}

impl CrashSummary {
    fn blamed(&self) -> String {
        match &self.blame {
            None => "nobody".to_owned(),
            Some(blame) => match &blame.callback {
                Some(callback) => format!("{} in {callback}", self.plugin),
                None => format!("{} on a thread of its own", self.plugin),
            },
        }
    }
}

impl fmt::Display for CrashList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.crashes.is_empty() {
            return writeln!(f, "no worker has crashed");
        }
        for crash in &self.crashes {
            let worker = format!("{}/{}", crash.service, crash.worker);
            let blamed = crash.blamed();
            let CrashSummary {
                id, when, ended, ..
            } = crash;
            writeln!(f, "{id:>6}  {when}  {worker:<16} {ended:<22} {blamed}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrashSummary {
            id,
            when,
            service,
            worker,
            pid,
            generation,
            ended,
            plugin,
            blame,
        } = &self.summary;
        writeln!(f, "crash {id}, {when}")?;
        writeln!(
            f,
            "worker      {service}/{worker}, pid {pid}, generation {generation}"
        )?;
        writeln!(f, "ended by    {ended}")?;
        writeln!(f, "plugin      {plugin}")?;
        writeln!(f, "            {}", self.code)?;
        writeln!(f, "            sha256 {}", self.hash)?;
        writeln!(f, "blamed      {}", self.summary.blamed())?;
        if let Some(blame) = blame {
            writeln!(f, "            {}", blame.confidence)?;
            if let Some(thread) = blame.thread {
                let of = if thread == 0 { " (the event loop)" } else { "" };
                writeln!(f, "thread      {thread}{of}")?;
            }
            if let Some(connection) = blame.connection {
                writeln!(f, "connection  {connection}")?;
            }
            if let Some(source) = blame.source {
                writeln!(f, "source      {source}")?;
            }
        }
        for (nth, text) in self.decided.iter().enumerate() {
            writeln!(f, "{:<11} {text}", if nth == 0 { "decided" } else { "" })?;
        }
        match &self.record {
            Some(record) => record.fmt(f),
            None => writeln!(f, "\nThe worker wrote nothing down."),
        }
    }
}

impl fmt::Display for RecordedCrash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overflow = if self.stack_overflow {
            ", a stack overflow"
        } else {
            ""
        };
        let RecordedCrash {
            signal,
            code,
            address,
            ..
        } = self;
        writeln!(
            f,
            "fault       signal {signal}, code {code}, address {address}{overflow}"
        )?;
        writeln!(f, "\nFrames, innermost first (addr2line -Cfe FILE OFFSET):")?;
        for frame in &self.frames {
            match (&frame.file, &frame.offset) {
                (Some(file), Some(offset)) => writeln!(f, "  {file} {offset}")?,
                (_, _) => writeln!(f, "  ? {}", frame.address)?,
            }
        }
        writeln!(f, "\nRegisters:")?;
        for row in self.registers.chunks(4) {
            let cells = row
                .iter()
                .map(|(name, held)| format!("{name:>7} {held:<18}"));
            let line: Vec<String> = cells.collect();
            writeln!(f, "{}", line.join(" ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(blame: Option<CrashBlame>, record: Option<RecordedCrash>) -> CrashReport {
        CrashReport {
            summary: CrashSummary {
                id: 7,
                when: "2026-11-21T10:00:00.000Z".to_owned(),
                service: "chat".to_owned(),
                worker: 2,
                pid: 4711,
                generation: 1,
                ended: "signal 11 (SIGSEGV)".to_owned(),
                plugin: "chat 1.2".to_owned(),
                blame,
            },
            code: "/var/lib/polyport/plugins/chat-ab.so".to_owned(),
            hash: "ab".to_owned(),
            record,
            decided: vec!["192.0.2.7/32 is kept out for 90 s".to_owned()],
        }
    }

    #[test]
    fn a_report_reads_as_a_page_and_a_list_as_lines() {
        let blame = CrashBlame {
            callback: Some("feed".to_owned()),
            thread: Some(0),
            connection: Some(9),
            source: Some("192.0.2.7/32".parse().expect("a network")),
            confidence: "certain".to_owned(),
        };
        let frame = |file: Option<&str>, address: &str| Frame {
            address: address.to_owned(),
            file: file.map(str::to_owned),
            offset: file.map(|_| "0x1234".to_owned()),
        };
        let record = RecordedCrash {
            signal: 11,
            code: 1,
            address: "0x0".to_owned(),
            stack_overflow: false,
            registers: vec![("rip".to_owned(), "0x55".to_owned())],
            frames: vec![frame(Some("/x.so"), "0x55"), frame(None, "0x66")],
        };
        let whole = report(Some(blame), Some(record));
        assert_eq!(
            whole.to_string(),
            "\
crash 7, 2026-11-21T10:00:00.000Z
worker      chat/2, pid 4711, generation 1
ended by    signal 11 (SIGSEGV)
plugin      chat 1.2
            /var/lib/polyport/plugins/chat-ab.so
            sha256 ab
blamed      chat 1.2 in feed
            certain
thread      0 (the event loop)
connection  9
source      192.0.2.7/32
decided     192.0.2.7/32 is kept out for 90 s
fault       signal 11, code 1, address 0x0

Frames, innermost first (addr2line -Cfe FILE OFFSET):
  /x.so 0x1234
  ? 0x66

Registers:
    rip 0x55
"
        );
        let text = serde_json::to_string(&whole).expect("plain data");
        let again: CrashReport = serde_json::from_str(&text).expect("the same document");
        assert_eq!(again, whole);
        let bare = report(None, None);
        assert!(
            bare.to_string()
                .ends_with("\nThe worker wrote nothing down.\n")
        );
        let list = CrashList {
            crashes: vec![bare.summary],
        };
        assert_eq!(
            list.to_string(),
            "     7  2026-11-21T10:00:00.000Z  chat/2           signal 11 (SIGSEGV)    nobody\n"
        );
        let none = CrashList {
            crashes: Vec::new(),
        };
        assert_eq!(none.to_string(), "no worker has crashed\n");
    }
}
