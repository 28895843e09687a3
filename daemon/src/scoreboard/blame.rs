//! Who brought a worker down: a judgement from what it left behind, in the order in which evidence is
//! worth believing.
//!
//! A process has one plugin, so that is who is blamed if anybody is; what is found out is the
//! callback, and for whom it was called. A wrong name is worse than none: where two threads were in the
//! plugin and neither wrote a record, nothing is said. What the dead worker wrote is taken as
//! numbers, and a plugin that forges it blames itself, at worst in another callback.
//!
//! Invariant: the rules are asked in order and the first that applies decides.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::crash::CrashRecord;
use super::{Callback, Glance};
use crate::sys::reap::End;

/// All that is known of a death.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub end: End,
    /// The process that died.
    pub pid: i32,
    /// It was killed for breaking the rules of its channel.
    pub convicted: bool,
    /// It was ended because the thread with this slot did not return.
    pub hung: Option<usize>,
    /// The kernel says that it ran out of memory.
    pub out_of_memory: bool,
    pub record: Option<&'a CrashRecord>,
    /// What each slot said at the end.
    pub slots: &'a [Glance],
}

/// What a plugin is blamed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// `None`: its code crashed on a thread that the daemon does not know.
    pub callback: Option<Callback>,
    /// The slot of the thread.
    pub thread: Option<usize>,
    /// The connection, or 0.
    pub session: u64,
    /// The peer, or 0; see the engine's `Party::source`.
    pub source: u64,
    pub confidence: Confidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The thread wrote it down itself, or was seen not to return.
    Certain,
    /// It was the only one in the plugin.
    Likely,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Certain => "certain",
            Confidence::Likely => "likely",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.callback {
            Some(callback) => write!(f, "in {}", callback.name()),
            None => write!(f, "on a thread of its plugin's own"),
        }
    }
}

// Signals have these numbers wherever the daemon is built for (signal(7)).
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
/// What a fault of the code ends with; everything else is sent by somebody.
const FAULTS: [i32; 7] = [4, 5, SIGABRT, 7, 8, 11, 31];

/// The callback that is to blame for a death; `None` is nobody, or nobody who can be named.
/// `is_plugin` says whether an address lies in the plugin's code.
pub fn blame(evidence: &Evidence<'_>, is_plugin: impl Fn(u64) -> bool) -> Option<Blame> {
    let Evidence { end, slots, .. } = *evidence;
    // 1. It was killed for what it said, which no callback can be shown to have done.
    if evidence.convicted {
        return None;
    }
    // 2. It did not return. It is asked by SIGABRT, whose record is that of whichever thread took it.
    if let Some(thread) = evidence.hung {
        return inside(thread, slots).map(|glance| named(glance, thread, Confidence::Certain));
    }
    let likely = || {
        let mut busy = (0..).zip(slots).filter(|(_, glance)| glance.inside());
        let (thread, glance) = busy.next()?;
        let alone = busy.next().is_none();
        alone.then(|| named(glance, thread, Confidence::Likely))
    };
    match end {
        // 3. It left of its own accord: only the plugin would, from within a callback.
        End::Code(_) => likely(),
        // 4. The kernel took it because memory ran out; nobody is blamed for any other SIGKILL.
        End::Signal(SIGKILL) if evidence.out_of_memory => likely(),
        End::Signal(SIGKILL) => None,
        End::Signal(signal) => match evidence.record.filter(|record| record.signal == signal) {
            Some(record) => recorded(record, evidence, &likely, is_plugin),
            // 7. A fault without a record: the plugin has a handler of its own, the filter of system
            // calls struck, or the record itself failed. Other signals nobody sends but on purpose,
            // and if nobody but the plugin was running, the plugin did.
            None if FAULTS.contains(&signal) => likely(),
            None => likely().filter(|_| is_realtime(signal)),
        },
    }
}

fn recorded(
    record: &CrashRecord,
    evidence: &Evidence<'_>,
    likely: &dyn Fn() -> Option<Blame>,
    is_plugin: impl Fn(u64) -> bool,
) -> Option<Blame> {
    // 5. Sent by a process: by another one, and nobody here is to blame; by this one, to any thread.
    let sent = record.code <= 0 && record.code != SI_TKILL;
    if sent {
        return if record.sender == evidence.pid {
            likely()
        } else {
            None
        };
    }
    // 6. The thread's own record.
    match record.thread {
        Some(thread) if record.inside => Some(Blame {
            callback: Some(record.callback),
            thread: Some(thread),
            session: record.session,
            source: record.source,
            confidence: Confidence::Certain,
        }),
        // The daemon's own code, between callbacks.
        Some(_) => None,
        None => record
            .frames
            .iter()
            .any(|at| is_plugin(*at))
            .then_some(Blame {
                callback: None,
                thread: None,
                session: 0,
                source: 0,
                confidence: Confidence::Certain,
            }),
    }
}

/// Sent by tgkill(2) to one thread, as raise(3) and abort(3) do.
const SI_TKILL: i32 = -6;

/// No operator and no system sends one of these.
fn is_realtime(signal: i32) -> bool {
    signal >= 32
}

fn inside(thread: usize, slots: &[Glance]) -> Option<&Glance> {
    slots.get(thread).filter(|glance| glance.inside())
}

fn named(glance: &Glance, thread: usize, confidence: Confidence) -> Blame {
    Blame {
        callback: Some(glance.callback),
        thread: Some(thread),
        session: glance.session,
        source: glance.source,
        confidence,
    }
}

/// Whom a source stands for: an IPv4 address, an IPv6 /64, or nobody in particular.
pub fn network_of(source: u64) -> Option<IpNet> {
    let network = match (source, source >> 32) {
        (0, _) => return None,
        (_, 1) => IpNet::new(Ipv4Addr::from(source as u32).into(), 32),
        (_, _) => IpNet::new(Ipv6Addr::from(u128::from(source) << 64).into(), 64),
    };
    Some(network.expect("no prefix is longer than its address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: i32 = 100;

    fn slots(busy: &[usize]) -> Vec<Glance> {
        (0..4)
            .map(|number| Glance {
                sequence: if busy.contains(&number) { 7 } else { 8 },
                callback: Callback::Feed,
                session: number as u64,
                source: 50 + number as u64,
            })
            .collect()
    }

    fn record(thread: Option<usize>, signal: i32, code: i32, sender: i32) -> CrashRecord {
        CrashRecord {
            thread,
            signal,
            code,
            address: 0,
            sender,
            inside: thread.is_some_and(|number| number != 3),
            callback: Callback::Timer,
            session: 9,
            source: 59,
            overflow: false,
            registers: Vec::new(),
            frames: vec![0x10, 0x20],
        }
    }

    fn evidence<'a>(end: End, slots: &'a [Glance]) -> Evidence<'a> {
        Evidence {
            end,
            pid: PID,
            convicted: false,
            hung: None,
            out_of_memory: false,
            record: None,
            slots,
        }
    }

    /// Callback, thread and confidence.
    type Told = Option<(Option<Callback>, Option<usize>, Confidence)>;

    fn told(evidence: &Evidence<'_>) -> Told {
        let blame = blame(evidence, |address| address == 0x20)?;
        Some((blame.callback, blame.thread, blame.confidence))
    }

    const FEED: fn(usize) -> Told =
        |thread| Some((Some(Callback::Feed), Some(thread), Confidence::Likely));
    const TIMER: Told = Some((Some(Callback::Timer), Some(1), Confidence::Certain));

    /// Rows of the end, who was in the plugin, and who is blamed if nothing was recorded.
    #[test]
    fn without_a_record_only_whoever_was_alone_is_blamed() {
        for (end, busy, expected) in [
            (End::Signal(11), &[1][..], FEED(1)),
            (End::Signal(11), &[0, 1], None),
            (End::Signal(11), &[], None),
            (End::Signal(31), &[0], FEED(0)),
            (End::Signal(31), &[0, 2], None),
            (End::Signal(34), &[0], FEED(0)),
            (End::Signal(15), &[0], None),
            (End::Signal(1), &[0], None),
            (End::Signal(9), &[0], None),
            (End::Code(0), &[2], FEED(2)),
            (End::Code(1), &[], None),
            (End::Code(1), &[0, 1], None),
        ] {
            let slots = slots(busy);
            assert_eq!(told(&evidence(end, &slots)), expected, "{end:?} {busy:?}");
        }
    }

    /// Rows of a record of signal 11, who was in the plugin, and who is blamed.
    #[test]
    fn a_record_names_its_thread_whoever_else_was_busy() {
        let plugins_own = Some((None, None, Confidence::Certain));
        for (written, busy, expected) in [
            (record(Some(1), 11, 1, 0), &[0, 1][..], TIMER),
            (record(Some(1), 11, SI_TKILL, PID), &[0, 1], TIMER),
            (record(Some(3), 11, 1, 0), &[0, 1], None),
            (record(None, 11, 1, 0), &[0], plugins_own),
            // From outside: whichever thread took it did nothing.
            (record(Some(1), 11, 0, 1), &[1], None),
            // From within: the kernel chose the thread.
            (record(Some(1), 11, 0, PID), &[2], FEED(2)),
            (record(Some(1), 11, 0, PID), &[1, 2], None),
            // Of another signal: it was forged, or handled and survived.
            (record(Some(1), 6, 1, 0), &[2], FEED(2)),
            (record(Some(1), 6, 1, 0), &[1, 2], None),
        ] {
            let slots = slots(busy);
            let evidence = Evidence {
                record: Some(&written),
                ..evidence(End::Signal(11), &slots)
            };
            assert_eq!(told(&evidence), expected, "{written:?} {busy:?}");
        }
        let mut elsewhere = record(None, 11, 1, 0);
        elsewhere.frames = vec![0x10];
        let slots = slots(&[0]);
        let evidence = Evidence {
            record: Some(&elsewhere),
            ..evidence(End::Signal(11), &slots)
        };
        assert_eq!(
            told(&evidence),
            None,
            "a thread of nobody's, in nobody's code"
        );
    }

    #[test]
    fn what_the_supervisor_did_itself_comes_before_what_the_worker_says() {
        let both = slots(&[0, 1]);
        let written = record(Some(1), 6, 0, 1);
        let base = Evidence {
            record: Some(&written),
            ..evidence(End::Signal(6), &both)
        };
        let hung = |thread| Evidence {
            hung: Some(thread),
            ..base
        };
        let certain = Some((Some(Callback::Feed), Some(0), Confidence::Certain));
        assert_eq!(told(&hung(0)), certain);
        assert_eq!(told(&hung(2)), None, "it has returned meanwhile");
        assert_eq!(told(&hung(usize::MAX)), None);
        let killed = Evidence {
            end: End::Signal(9),
            ..hung(0)
        };
        assert_eq!(told(&killed), certain);
        let convicted = Evidence {
            convicted: true,
            ..base
        };
        assert_eq!(told(&convicted), None);
    }

    #[test]
    fn out_of_memory_is_blamed_on_whoever_was_alone() {
        for (busy, expected) in [(&[1][..], FEED(1)), (&[0, 1], None), (&[], None)] {
            let slots = slots(busy);
            let evidence = Evidence {
                out_of_memory: true,
                ..evidence(End::Signal(9), &slots)
            };
            assert_eq!(told(&evidence), expected, "{busy:?}");
        }
    }

    #[test]
    fn a_source_is_an_address_a_network_or_nobody() {
        for (source, expected) in [
            (0, None),
            (1 << 32 | 0xc000_0207, Some("192.0.2.7/32")),
            (0x2001_0db8_0000_0001, Some("2001:db8:0:1::/64")),
            (1, Some("0:0:0:1::/64")),
            (u64::MAX, Some("ffff:ffff:ffff:ffff::/64")),
        ] {
            let expected = expected.map(|text| text.parse().expect("a network"));
            assert_eq!(network_of(source), expected, "{source:x}");
        }
    }

    #[test]
    fn a_blame_reads_like_a_place() {
        let slots = slots(&[0]);
        let blamed = blame(&evidence(End::Signal(11), &slots), |_| false).expect("blamed");
        assert_eq!(blamed.to_string(), "in feed");
        assert_eq!((blamed.session, blamed.source), (0, 50));
    }
}
