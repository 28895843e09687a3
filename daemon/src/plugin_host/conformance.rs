//! Trials of a loaded plugin against the rules of the header, on the SDK's own fake host: no socket, no
//! clock, and the same each time.
//!
//! What a plugin ought to answer nobody here knows. So it is compared with itself: what its peer got
//! of an undisturbed session with what it gets of a disturbed one, if it answers alike twice. Runs in a
//! probe, which is thrown away, for a plugin that breaks a rule may have broken the process as well.
//!
//! Invariant: a trial answers with the first thing that went wrong, in words for the plugin's author.

mod calls;
mod leaks;
mod options;

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Arc;
use std::time::Duration;

use polyport_plugin::testing::{FakeHost, Peer, Script, Setup, Split};
use polyport_plugin::{Address, Error, Table};

use super::admit::Admitted;
use crate::channel::{Rule, Trial, what_happened_last};
use crate::plan::OptionFacts;

/// Places at which a conversation is cut, at most.
const CUTS_MAX: usize = 24;
/// Writes of one conversation that are refused, one after the other.
const REFUSALS_MAX: usize = 200;
/// Jobs run behind one event; more than that is a plugin that never comes to rest.
const JOBS_MAX: usize = 1_000;
/// Bytes that a peer reads before it stops: some protocols never end by themselves.
const APPETITE_BYTES: usize = 16 * 1024;

pub(super) fn run(
    admitted: &Admitted,
    settings: &BTreeMap<String, serde_json::Value>,
    trial: &Trial,
    diary: Option<File>,
) -> Result<(), String> {
    let mut subject = Subject::new(admitted, settings);
    subject.diary = diary.map(Arc::new);
    let each = |test: fn(&Subject, &[u8]) -> Result<(), String>| {
        trial
            .inputs
            .iter()
            .try_for_each(|input| test(&subject, input))
    };
    in_words(|| match trial.rule {
        Rule::Pieces => each(Subject::pieces),
        Rule::Full => each(Subject::full),
        Rule::Ends => each(Subject::ends),
        Rule::Drain => each(Subject::drain),
        Rule::Noise => subject.noise(),
        Rule::Calls => each(Subject::calls),
        Rule::Options => each(Subject::options),
        Rule::Threads => each(Subject::threads),
        Rule::Leaks => each(Subject::leaks),
    })
}

/// A rule that the fake host sees broken is a panic, whose text is the verdict.
pub(super) fn in_words<T>(talk: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let verdict = catch_unwind(AssertUnwindSafe(talk));
    set_hook(hook);
    verdict.unwrap_or_else(|panic| Err(text_of(&*panic)))
}

/// The plugin on trial.
pub(super) struct Subject {
    table: Table,
    settings: Vec<(String, String)>,
    options: Vec<OptionFacts>,
    /// Where what happens is written down, for the case that the plugin ends this process.
    diary: Option<Arc<File>>,
    pub(super) streams: bool,
    pub(super) blocking: bool,
    datagrams: bool,
}

/// What peers were told in one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// In the order of the ways in that the plugin has: its stream, its thread, its datagrams.
    Bytes(Vec<Vec<u8>>),
    /// The session was refused.
    Nothing,
}

impl Subject {
    pub(super) fn new(
        admitted: &Admitted,
        settings: &BTreeMap<String, serde_json::Value>,
    ) -> Subject {
        let table = admitted.table.0;
        let serves = |test: fn(&super::admit::Blocking) -> bool| {
            admitted.blocking.as_ref().is_some_and(test)
        };
        let mut copy = table;
        // The copy has our length, whatever the plugin's was.
        copy.size = size_of_val(&table) as u32;
        // A few hundred bytes of a process that ends with this trial.
        let raw = Box::leak(Box::new(copy));
        Subject {
            // SAFETY: it was leaked just now, and its functions are those of a library that stays
            // loaded, which passed the handshake.
            table: unsafe { Table::from_raw(raw) },
            settings: settings
                .iter()
                .map(|(name, value)| (name.clone(), as_written(value)))
                .collect(),
            options: admitted.option_facts(),
            diary: None,
            streams: table.feed.is_some(),
            blocking: serves(|table| table.serve.is_some()),
            datagrams: table.datagram.is_some() || serves(|table| table.serve_datagram.is_some()),
        }
    }

    fn setup(&self) -> Setup {
        let setup = self.setup_of_whole_answers().appetite(APPETITE_BYTES);
        match self.streams || self.blocking {
            true => setup,
            false => setup.endpoints(&["udp://127.0.0.1:7"]),
        }
    }

    pub(super) fn setup_of_whole_answers(&self) -> Setup {
        let settings = self.settings.iter();
        let setup = Setup::table(self.table);
        let setup = match &self.diary {
            Some(diary) => setup.diary(diary),
            None => setup,
        };
        settings.fold(setup, |setup, (name, text)| setup.set(name, text))
    }

    // --- rules ---------------------------------------------------------------------------------

    fn pieces(&self, input: &[u8]) -> Result<(), String> {
        let whole = self.converse(self.setup(), input)?;
        let is_steady = self.converse(self.setup(), input)? == whole;
        let cuts = cuts(input.len()).map(Split::At);
        for split in cuts.chain([Split::EveryByte]) {
            let told = self.converse(self.setup().split(split), input)?;
            if is_steady && told != whole {
                let what = format!("the input came as {split:?}");
                return Err(format!(
                    "{}\n  fix: what `feed` gets may be several messages, or half of one: answer all that \
                     are whole, and consume no others",
                    differs(&what, &whole, &told)
                ));
            }
        }
        Ok(())
    }

    fn full(&self, input: &[u8]) -> Result<(), String> {
        let calm = self.converse(self.setup(), input)?;
        let is_steady = self.converse(self.setup(), input)? == calm;
        let writes = self.writes(input)?.min(REFUSALS_MAX);
        for split in [Split::Whole, Split::EveryByte] {
            for n in 1..=writes {
                let told = self.converse(self.setup().split(split).full_at(n), input)?;
                if is_steady && told != calm && told != Told::Nothing {
                    let what = format!("write {n} was answered PP_E_FULL ({split:?})");
                    return Err(format!(
                        "{}\n  fix: give what `write` answered back as the answer of `feed`, which is made \
                         again; change nothing that is remembered before the last write",
                        differs(&what, &calm, &told)
                    ));
                }
            }
        }
        // No datagram fits either.
        self.converse(self.setup().sends_max(0), input).map(drop)
    }

    fn ends(&self, input: &[u8]) -> Result<(), String> {
        for cut in cuts(input.len()).chain([0, input.len()]) {
            let said = &input[..cut];
            self.with_peer(self.setup(), said, |host, peer| host.peer_vanishes(peer))?;
            self.with_peer(self.setup(), said, |host, peer| {
                host.peer_finishes(peer);
                run_jobs(host);
            })?;
            // Its session is open when the instance is destroyed.
            self.with_peer(self.setup(), said, |_, _| {})?;
            self.with_peer(self.setup().appetite(1), said, |host, peer| {
                host.peer_vanishes(peer);
            })?;
            let script = Script::new().says(said);
            let ways = [
                script.clone().vanishes(),
                script.clone().is_silent(),
                script.clone().takes(1),
                script.finishes(),
            ];
            for way in ways {
                self.serve(self.setup(), way)?;
            }
        }
        Ok(())
    }

    fn drain(&self, input: &[u8]) -> Result<(), String> {
        const GRACE: Duration = Duration::from_secs(1);
        for cut in cuts(input.len()).chain([0, input.len()]) {
            let said = &input[..cut];
            self.with_peer(self.setup(), said, |host, peer| {
                host.drain(GRACE);
                if host.end(peer).is_none() {
                    host.peer_finishes(peer);
                }
                run_jobs(host);
            })?;
            // Those that stay are ended when the grace is over.
            self.with_peer(self.setup(), said, |host, _| host.drain(GRACE))?;
            self.with_peer(self.setup(), said, |host, _| {
                host.advance(Duration::from_secs(6 * 3600));
            })?;
            self.serve(self.setup(), Script::new().says(said).drains())?;
        }
        if self.datagrams {
            let mut host = self.start(self.setup())?;
            datagrams(&mut host, input);
            host.drain(GRACE);
        }
        Ok(())
    }

    fn noise(&self) -> Result<(), String> {
        const MARKS: &[u8] = b"\r\n\t :/?%.=09aZ-";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut inputs = vec![
            vec![0; 4096],
            vec![b'A'; 40_000],
            vec![b'\n'; 2000],
            vec![0xff; 999],
        ];
        for _ in 0..48 {
            let length = random() % 600;
            let narrow = random() % 2 == 0;
            let byte = |_| match random() as u8 {
                // What protocols are made of makes parsers go deeper than bytes of all kinds.
                byte if narrow => MARKS[usize::from(byte) % MARKS.len()],
                byte => byte,
            };
            inputs.push((0..length).map(byte).collect());
        }
        inputs.iter().try_for_each(|input| {
            let setup = self.setup().output_bytes_max(4096);
            self.converse(setup.split(Split::At(input.len() / 2)), input)
                .map(drop)
        })
    }

    /// All of an instance on another thread than the one that loaded the plugin and asked it before.
    fn threads(&self, input: &[u8]) -> Result<(), String> {
        let here = self.converse(self.setup(), input)?;
        let is_steady = self.converse(self.setup(), input)? == here;
        let there = std::thread::scope(|scope| {
            let thread = scope.spawn(|| self.converse(self.setup(), input));
            thread.join().unwrap_or_else(|panic| Err(text_of(&*panic)))
        })?;
        match is_steady && here != there {
            true => Err(format!(
                "{}\n  fix: remember nothing in memory of a thread",
                differs("it ran on another thread", &here, &there)
            )),
            false => Ok(()),
        }
    }

    // --- conversations -------------------------------------------------------------------------

    /// One session a way in, from its first byte to its last.
    fn converse(&self, setup: Setup, input: &[u8]) -> Result<Told, String> {
        let mut told = Vec::new();
        if self.streams {
            let mut host = self.start(setup.clone())?;
            let Ok(peer) = host.try_connect(peer_address()) else {
                return Ok(Told::Nothing);
            };
            host.send(peer, input);
            run_jobs(&mut host);
            if host.end(peer).is_none() {
                host.peer_finishes(peer);
                run_jobs(&mut host);
            }
            told.push(host.received(peer).to_vec());
            finish(host)?;
        }
        if self.blocking {
            told.push(self.serve(setup.clone(), Script::new().says(input))?);
        }
        if self.datagrams {
            let mut host = self.start(setup)?;
            told.push(datagrams(&mut host, input));
            finish(host)?;
        }
        Ok(Told::Bytes(told))
    }

    /// A session of the event style that has said this much, and what is then done to it.
    fn with_peer(
        &self,
        setup: Setup,
        said: &[u8],
        then: impl FnOnce(&mut FakeHost, Peer),
    ) -> Result<(), String> {
        if !self.streams {
            return Ok(());
        }
        let mut host = self.start(setup)?;
        if let Ok(peer) = host.try_connect(peer_address()) {
            host.send(peer, said);
            run_jobs(&mut host);
            then(&mut host, peer);
        }
        finish(host)
    }

    /// A session of the blocking style; what its peer got.
    fn serve(&self, setup: Setup, script: Script) -> Result<Vec<u8>, String> {
        if !self.blocking {
            return Ok(Vec::new());
        }
        let mut host = self.start(setup)?;
        let served = host.serve(script);
        if served.answer == Err(Error::Panicked) {
            return Err(told(&host.take_faults(), &host));
        }
        finish(host)?;
        Ok(served.received)
    }

    /// How often a calm conversation writes.
    fn writes(&self, input: &[u8]) -> Result<usize, String> {
        if !self.streams {
            return Ok(0);
        }
        let mut writes = 0;
        self.with_peer(self.setup().split(Split::EveryByte), input, |host, peer| {
            if host.end(peer).is_none() {
                host.peer_finishes(peer);
            }
            run_jobs(host);
            let transcript = host.transcript();
            let lines = transcript.lines();
            writes = lines.filter(|line| line.contains("  write ")).count();
        })?;
        Ok(writes)
    }

    pub(super) fn start(&self, setup: Setup) -> Result<FakeHost, String> {
        setup
            .start()
            .map_err(|error| format!("it refuses to start: {error}"))
    }
}

/// Ends the world, which checks what is left behind; a panic of the plugin's is a fault.
pub(super) fn finish(mut host: FakeHost) -> Result<(), String> {
    host.destroy();
    without_fault(&mut host)
}

/// Takes what was reported, or dropping the host would be a panic.
fn without_fault(host: &mut FakeHost) -> Result<(), String> {
    let faults = host.take_faults();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(told(&faults, host)),
    }
}

/// The transcript ends with what led to it.
fn told(faults: &[String], host: &FakeHost) -> String {
    format!(
        "the plugin reported a fault: {}\n  what happened last:{}",
        faults.join("; "),
        what_happened_last(&host.transcript())
    )
}

fn run_jobs(host: &mut FakeHost) {
    for _ in 0..JOBS_MAX {
        if !host.run_work() {
            return;
        }
    }
}

/// Each line of the input by itself, and an empty one; what came back, one behind the other.
fn datagrams(host: &mut FakeHost, input: &[u8]) -> Vec<u8> {
    for payload in input
        .split_inclusive(|byte| *byte == b'\n')
        .chain([&b""[..]])
    {
        // An error is counted by the daemon and changes nothing else.
        let _ = host.datagram(peer_address(), payload);
        run_jobs(host);
    }
    let sent = host.take_sent().into_iter();
    sent.flat_map(|sent| sent.payload).collect()
}

pub(super) fn peer_address() -> Address {
    Address::Ip(([127, 0, 0, 1], 50_001).into())
}

/// Places inside `length` bytes, spread evenly.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let step = length.div_ceil(CUTS_MAX).max(1);
    (1..length).step_by(step)
}

/// As an administrator would write it, for the fake host's own reader of options.
fn as_written(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(as_written).collect();
            items.join(",")
        }
        other => other.to_string(),
    }
}

fn differs(what: &str, calm: &Told, told: &Told) -> String {
    format!(
        "the peer is answered otherwise when {what}\n  undisturbed: {}\n  then:        {}",
        shown(calm),
        shown(told)
    )
}

fn shown(told: &Told) -> String {
    const SHOWN_BYTES: usize = 200;
    let Told::Bytes(parts) = told else {
        return "the session was refused".to_owned();
    };
    let part = |bytes: &Vec<u8>| {
        let cut = &bytes[..bytes.len().min(SHOWN_BYTES)];
        let count = bytes.len();
        format!("{count} bytes, \"{}\"", cut.escape_ascii())
    };
    parts.iter().map(part).collect::<Vec<_>>().join("; ")
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the trial stopped without a word")
        .to_owned()
}
