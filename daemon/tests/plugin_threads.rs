//! Plugins whose functions run on threads that may block, met inside one process: the stream that a
//! handler is lent, the jobs that are taken, and who may call what from there.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;

use std::collections::BTreeMap;

use folder::Folder;
use polyport::engine::desk::Ask;
use polyport::engine::handler::{ByteStream, Halt, JobEnd};
use polyport::engine::outbox::SENDS_MAX;
use polyport::engine::piece::Piece;
use polyport::engine::protocol::Protocol;
use polyport::engine::replies::{Flow, FlowPeer};
use polyport::engine::session::{DatagramFacts, End, Facts, Party, Token};
use polyport::plan::LogLevel;
use polyport::plugin_host::{Instance, InstanceFacts, Surroundings};
use polyport::scoreboard::{BYTES, Scoreboard};
use polyport::sys::shared_memory::SharedWords;
use slotmap::SlotMap;

const FACTS: InstanceFacts<'_> = InstanceFacts {
    service: "threads",
    worker_index: 0,
    worker_count: 1,
    generation: 1,
    endpoints: &[],
    udp_ports: &[],
};

fn instance(folder: &Folder, fixture: &str) -> Instance {
    let admitted = folder.admit(fixture).expect("admitted");
    let nothing = BTreeMap::new();
    let chosen = admitted
        .choose("threads", &nothing, &BTreeMap::new())
        .expect("no options");
    let memory = SharedWords::file("board", BYTES).expect("memory");
    let board = Scoreboard::over(SharedWords::map(&memory).expect("mapped")).expect("long");
    let around = Surroundings {
        seed: 1,
        board,
        clock: || 77_000,
        log_level: LogLevel::Info,
        jobs_max: 2,
    };
    Instance::create(admitted, &chosen, &FACTS, around).expect("created")
}

/// What a peer says, and what it gets.
#[derive(Default)]
struct Line {
    said: Vec<u8>,
    halt: Option<Halt>,
    got: Vec<u8>,
}

impl ByteStream for Line {
    fn read(&mut self, buffer: &mut [u8], peek: bool) -> Result<usize, Halt> {
        let count = self.said.len().min(buffer.len());
        if count == 0 {
            return self.halt.map_or(Ok(0), Err);
        }
        buffer[..count].copy_from_slice(&self.said[..count]);
        if !peek {
            self.said.drain(..count);
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8], _: bool) -> Result<(), Halt> {
        self.got.extend_from_slice(bytes);
        Ok(())
    }

    fn set_deadline(&mut self, _: u64) {}
}

/// Serves one session on a thread of its own, as the worker would.
fn served(instance: &Instance, said: &str, halt: Option<Halt>) -> (Result<(), End>, String) {
    let handler = instance.handler().expect("it is of the blocking style");
    let mut line = Line {
        said: said.into(),
        halt,
        ..Line::default()
    };
    let party: Party = "192.0.2.7:4711"
        .parse::<std::net::SocketAddr>()
        .expect("an address")
        .into();
    let facts = Facts {
        peer: party,
        local: party,
        credentials: None,
        accepted_ms: 1,
        proxied: false,
        endpoint: "tcp://[::]:7",
    };
    let session = SlotMap::<Token, ()>::with_key().insert(());
    let thread = || handler.serve(session, &facts, &mut line).verdict;
    let verdict = std::thread::scope(|scope| scope.spawn(thread).join());
    let got = String::from_utf8(line.got).expect("UTF-8");
    (verdict.expect("no panic"), got)
}

#[test]
fn a_handler_is_lent_its_stream_and_its_answer_decides_how_the_session_ends() {
    let folder = Folder::new("serves");
    let instance = instance(&folder, "serves");
    for (said, halt, verdict, got) in [
        ("eecho", None, Ok(()), "echo"),
        ("eecho", Some(Halt::Cancelled), Err(End::Drain), "echo"),
        ("eecho", Some(Halt::TimedOut), Ok(()), "echo"),
        ("eecho", Some(Halt::Gone), Ok(()), "echo"),
        ("", Some(Halt::Cancelled), Err(End::Drain), "no order -8\n"),
        ("", Some(Halt::TimedOut), Ok(()), "no order -9\n"),
        ("", Some(Halt::Gone), Ok(()), "no order -4\n"),
        ("", None, Ok(()), "no order 0\n"),
        (
            "i",
            None,
            Ok(()),
            "96 bytes, from 192.0.2.7 on tcp://[::]:7\n",
        ),
        ("f", None, Err(End::Fault), ""),
        ("p", None, Err(End::Fault), ""),
        ("n", None, Err(End::Aborted), ""),
        ("?", None, Err(End::Aborted), ""),
        ("+", None, Ok(()), ""),
    ] {
        let expected = (verdict, got.to_owned());
        assert_eq!(
            served(&instance, said, halt),
            expected,
            "{said:?}, {halt:?}"
        );
    }
}

#[test]
fn wrong_arguments_of_a_stream_are_answered_and_none_is_believed() {
    let folder = Folder::new("stream-arguments");
    let instance = instance(&folder, "serves");
    let (verdict, got) = served(&instance, "w", None);
    assert_eq!(verdict, Ok(()));
    assert_eq!(
        got,
        "read null -2\nread nothing -2\nread flags -2\nread uncounted -2\nread nowhere -2 99\n\
         write null -2\nwrite flags -2\nwrite nowhere -2\ndeadline nowhere -2\n"
    );
}

#[test]
fn a_handler_may_log_and_report_a_fault_and_nothing_else() {
    let folder = Folder::new("handler-calls");
    let instance = instance(&folder, "serves");
    let (verdict, got) = served(&instance, "h", None);
    assert_eq!(verdict, Ok(()));
    assert_eq!(
        got,
        "level 1\nnow 0\nwrite -10\nclose -10\nqueued -10\ntimer -10\nextension 1\n"
    );
}

#[test]
fn a_handler_limit_of_the_plugin_is_known_and_nobody_is_served_after_the_end() {
    let folder = Folder::new("retired");
    let instance = instance(&folder, "serves");
    let handler = instance.handler().expect("it is of the blocking style");
    assert_eq!(handler.parallel_max(), 3);
    drop(instance);
    let facts = Facts {
        peer: Party::Unix,
        local: Party::Unix,
        credentials: None,
        accepted_ms: 1,
        proxied: false,
        endpoint: "",
    };
    let session = SlotMap::<Token, ()>::with_key().insert(());
    let mut line = Line::default();
    let served = handler.serve(session, &facts, &mut line);
    assert_eq!((served.verdict, line.got.len()), (Err(End::Drain), 0));
}

#[test]
fn a_datagram_is_served_on_a_thread_and_its_replies_leave_from_the_loop() {
    let folder = Folder::new("serves-datagrams");
    let mut instance = instance(&folder, "serves");
    for (payload, replies, faults) in [
        (&b"echo"[..], 1, None),
        (b"", 1, None),
        // As many as leave in one batch; more than a datagram holds is none.
        (b"w", SENDS_MAX, None),
        (b"n", 0, None),
        (b"f", 0, Some("a datagram's fault")),
        (b"p", 0, Some("serve_datagram answered PP_E_PANIC")),
    ] {
        let reply = noted(&mut instance);
        let facts = DatagramFacts {
            peer: Party::Unix,
            local: Party::Unix,
            to_many: false,
            reply,
            endpoint: "udp://[::]:7",
        };
        assert!(instance.datagram(&facts, payload));
        assert!(
            instance.desk().outbox.sends().is_empty(),
            "nothing from the loop"
        );
        run_jobs(&mut instance, None);
        let outbox = &mut instance.desk().outbox;
        let sends = outbox.sends().to_vec();
        assert_eq!(sends.len(), replies, "{payload:?}");
        for send in &sends {
            assert_eq!((send.reply, send.to), (reply, None));
        }
        if replies == 1 {
            assert_eq!(outbox.bytes(&sends[0].piece, &[]), payload);
        }
        outbox.clear();
        let told = instance.desk().take_faults();
        assert_eq!(told, Vec::from_iter(faults), "{payload:?}");
    }
}

#[test]
fn datagrams_for_which_no_thread_has_room_are_lost_and_counted() {
    let folder = Folder::new("serves-flood");
    let mut instance = instance(&folder, "serves");
    for _ in 0..5 {
        let facts = DatagramFacts {
            peer: Party::Unix,
            local: Party::Unix,
            to_many: false,
            reply: noted(&mut instance),
            endpoint: "",
        };
        assert!(instance.datagram(&facts, b"x"));
    }
    assert_eq!(instance.desk().take_jobs_refused(), 3, "two may wait");
    run_jobs(&mut instance, Some(JobEnd::Cancelled));
    assert!(instance.desk().outbox.sends().is_empty());
}

/// The token of a datagram that has just come.
fn noted(instance: &mut Instance) -> u64 {
    let flow = Flow {
        listener: 0,
        interface: 0,
        local: None,
        peer: FlowPeer::Internet("192.0.2.7:4711".parse().expect("an address")),
    };
    instance.desk().outbox.replies.note(flow, b"")
}

/// Feeds one session, runs what was submitted, and returns what was written before and after.
fn worked(instance: &mut Instance, input: &[u8], end: Option<JobEnd>) -> (String, String) {
    let mut tokens = SlotMap::<Token, ()>::with_key();
    let session = tokens.insert(());
    let facts = Facts {
        peer: Party::Unix,
        local: Party::Unix,
        credentials: None,
        accepted_ms: 1,
        proxied: false,
        endpoint: "",
    };
    instance.desk().opened(session, 1 << 20);
    let state = instance.open(session, &facts).expect("opened");
    instance.feed(session, state, input);
    let before = said(instance);
    run_jobs(instance, end);
    (before, said(instance))
}

/// Each on a thread, or not at all if its end is known already.
fn run_jobs(instance: &mut Instance, end: Option<JobEnd>) {
    for job in instance.desk().take_jobs() {
        let end = end.clone().unwrap_or_else(|| {
            let thread = std::thread::spawn(job.run);
            thread.join().expect("no panic")
        });
        instance.desk().job_over(job.token);
        instance.worked(job.token, end);
    }
}

fn said(instance: &mut Instance) -> String {
    let desk = instance.desk();
    let mut said = Vec::new();
    for ask in desk.asks() {
        if let Ask::Write {
            piece: Piece::Copied(range),
            ..
        } = ask
        {
            said.extend_from_slice(&desk.bytes()[range.clone()]);
        }
    }
    desk.clear();
    String::from_utf8(said).expect("UTF-8")
}

#[test]
fn a_job_runs_elsewhere_and_comes_back_to_the_loop() {
    let folder = Folder::new("works");
    let mut instance = instance(&folder, "works");
    let (before, after) = worked(&mut instance, b"al", None);
    assert_eq!(before, "");
    assert_eq!(
        after,
        "1 0 a ran, elsewhere 1, write -10\n2 0 l ran, elsewhere 1, write -10\n"
    );
}

#[test]
fn jobs_beyond_the_limit_and_without_a_function_are_refused() {
    let folder = Folder::new("works-many");
    let mut instance = instance(&folder, "works");
    let (before, after) = worked(&mut instance, b"a0bc", None);
    assert_eq!(before, "2 refused -2\n4 refused -11\n");
    assert_eq!(after.lines().count(), 2, "{after}");
    instance.desk().close_jobs();
    let (before, after) = worked(&mut instance, b"d", None);
    assert_eq!((&*before, &*after), ("1 refused -8\n", ""));
}

#[test]
fn a_cancelled_job_is_given_back_and_a_fault_of_a_job_counts() {
    let folder = Folder::new("works-ends");
    let mut instance = instance(&folder, "works");
    let (_, after) = worked(&mut instance, b"a", Some(JobEnd::Cancelled));
    assert_eq!(after, "1 -8 never ran\n");
    assert_eq!(instance.desk().take_faults(), Vec::<String>::new());
    let (_, after) = worked(&mut instance, b"f", None);
    assert_eq!(after, "1 0 f ran, elsewhere 1, write -10\n");
    assert_eq!(instance.desk().take_faults(), ["a job's fault"]);
}

#[test]
fn a_plugin_that_cannot_be_told_of_a_job_may_submit_none() {
    let folder = Folder::new("works-deaf");
    let mut instance = instance(&folder, "works-deaf");
    let (before, after) = worked(&mut instance, b"a", None);
    assert_eq!((&*before, &*after), ("1 refused -3\n", ""));
}
