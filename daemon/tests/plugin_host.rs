//! Admitted plugins met inside one process: what they are told, what they can ask for, and what
//! their rudeness costs. What ends the process is tested with a daemon around.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use folder::Folder;
use polyport::engine::desk::Ask;
use polyport::engine::piece::Piece;
use polyport::engine::protocol::Protocol;
use polyport::engine::replies::{Flow, FlowPeer};
use polyport::engine::session::{Closing, DatagramFacts, End, Facts, Fed, Party, Token};
use polyport::plan::{LogLevel, Needs};
use polyport::plugin_host::{Admitted, Instance, InstanceFacts, LoadError, Surroundings};
use polyport::scoreboard::{BYTES, Callback, Counter, Scoreboard};
use polyport::sys::shared_memory::SharedWords;
use serde_json::json;
use slotmap::SlotMap;

// --- surroundings ------------------------------------------------------------------------------

const FACTS: InstanceFacts<'_> = InstanceFacts {
    endpoints: &[],
    udp_ports: &[],
    service: "echo",
    worker_index: 1,
    worker_count: 4,
    generation: 9,
};

/// An instance, and what an engine would keep for it.
struct Served {
    instance: Instance,
    board: Scoreboard,
    tokens: SlotMap<Token, ()>,
}

impl Served {
    fn new(admitted: Admitted, settings: serde_json::Value) -> Result<Served, LoadError> {
        let settings = serde_json::from_value(settings).expect("an object");
        let chosen = admitted.choose("echo", &settings, &BTreeMap::new())?;
        let memory = SharedWords::file("board", BYTES).expect("memory");
        let board = Scoreboard::over(SharedWords::map(&memory).expect("mapped")).expect("long");
        let around = Surroundings {
            seed: 1,
            board: board.clone(),
            clock: || 77_000,
            log_level: LogLevel::Info,
            jobs_max: 2,
        };
        let instance = Instance::create(admitted, &chosen, &FACTS, around)?;
        Ok(Served {
            instance,
            board,
            tokens: SlotMap::with_key(),
        })
    }

    fn open(&mut self) -> (Token, <Instance as Protocol>::State) {
        let token = self.tokens.insert(());
        let facts = Facts {
            peer: address("[::ffff:192.0.2.7]:4711"),
            local: address("192.0.2.1:7"),
            credentials: None,
            accepted_ms: 76_999,
            proxied: false,
            endpoint: "tcp://[::]:7",
        };
        self.instance.desk().opened(token, 1 << 20);
        let state = self.instance.open(token, &facts).expect("opened");
        (token, state)
    }

    /// All that was written since the desk was last cleared, and clears it.
    fn said(&mut self, input: &[u8]) -> String {
        let desk = self.instance.desk();
        let mut said = Vec::new();
        for ask in desk.asks() {
            if let Ask::Write { piece, .. } = ask {
                said.extend_from_slice(match piece {
                    Piece::Lent(range) => &input[range.clone()],
                    Piece::Copied(range) => &desk.bytes()[range.clone()],
                });
            }
        }
        desk.clear();
        String::from_utf8(said).expect("UTF-8")
    }

    fn feed(&mut self, input: &[u8]) -> (Fed, String) {
        let (session, state) = self.open();
        self.instance.desk().clear();
        let fed = self.instance.feed(session, state, input);
        (fed, self.said(input))
    }
}

fn instance(folder: &Folder, fixture: &str, settings: serde_json::Value) -> Served {
    Served::new(folder.admit(fixture).expect("admitted"), settings).expect("created")
}

// --- settings ----------------------------------------------------------------------------------

#[test]
fn a_plugin_reads_its_settings_as_they_were_chosen() {
    let folder = Folder::new("settings");
    let settings = json!({"root": "/srv", "pause": "2s", "loud": true});
    let mut served = instance(&folder, "asks", settings);
    let (fed, said) = served.feed(b"s");
    assert_eq!(fed, Fed::Took(1));
    assert_eq!(
        said,
        "root:1=0,/srv\nlength:0=80,\nloud:1=1,\npause:1=2000,\nmost:0=4096,\n\
         names:0=0,[ann][bob]\necho 1/4 9 {\"loud\":true,\"pause\":\"2s\",\"root\":\"/srv\"}\n"
    );
}

#[test]
fn needs_are_told_with_the_values_of_their_options() {
    let folder = Folder::new("needs");
    let admitted = folder.admit("asks").expect("admitted");
    let settings = BTreeMap::from([("root".to_owned(), json!("/srv"))]);
    let chosen = admitted
        .choose("echo", &settings, &BTreeMap::new())
        .expect("chosen");
    let needs = admitted.needs(&chosen);
    let files = ["/srv", "ann", "bob", "/etc/motd"].map(str::to_owned);
    assert_eq!(
        needs,
        Needs {
            files_read: files.into(),
            connect: true,
            ..Needs::default()
        }
    );

    let descriptor = admitted.descriptor(needs);
    let shown = (
        &*descriptor.name,
        &*descriptor.version,
        &*descriptor.build_info,
    );
    assert_eq!(shown, ("asks", "1.2.3", "by hand"));
    assert_eq!(descriptor.revision, "1.0");
    assert_eq!(
        (
            descriptor.streams,
            descriptor.datagrams,
            descriptor.peer_first
        ),
        (true, true, true)
    );
    let names: Vec<&str> = descriptor
        .options
        .iter()
        .map(|option| &*option.name)
        .collect();
    assert_eq!(names, ["root", "length", "loud", "pause", "most", "names"]);
}

#[test]
fn a_plugin_that_refuses_is_quoted_harmlessly() {
    let rows = [
        (
            "check_refuses",
            "it refuses its settings: `root` is \\u{1b}[31mno folder\n",
        ),
        (
            "check_says_nothing",
            "it refuses its settings: it gives no reason, only PP_E_UNSUPPORTED\n",
        ),
        (
            "create_refuses",
            "it refuses to start: the database is away\n",
        ),
    ];
    let folder = Folder::new("refusals");
    for (case, expected) in rows {
        let admitted = folder.admit(&format!("starts-{case}")).expect("admitted");
        let chosen = admitted
            .choose("echo", &BTreeMap::new(), &BTreeMap::new())
            .expect("chosen");
        let refused = admitted
            .check(&chosen, &FACTS)
            .and_then(|()| Served::new(admitted, json!({})).map(|_| ()));
        let error = refused.expect_err(case).to_string();
        assert!(error.starts_with(expected), "{case}: {error}");
    }
    let liar = folder
        .admit("starts-check_lies_about_length")
        .expect("admitted");
    let chosen = liar
        .choose("echo", &BTreeMap::new(), &BTreeMap::new())
        .expect("chosen");
    match liar.check(&chosen, &FACTS) {
        Err(LoadError::CheckRefused { text }) => {
            assert!(text.starts_with('x') && text.len() < 8192)
        }
        other => panic!("expected a refusal, not {other:?}"),
    }
}

// --- instances ---------------------------------------------------------------------------------

#[test]
fn an_echo_is_sent_from_the_lent_input() {
    let folder = Folder::new("echo");
    let mut served = instance(&folder, "rude", json!({}));
    let (session, state) = served.open();
    assert_eq!(
        served.instance.feed(session, state, b"hello\n"),
        Fed::Took(6)
    );
    let whole = Ask::Write {
        session,
        piece: Piece::Lent(0..6),
    };
    assert_eq!(served.instance.desk().asks(), [whole]);
    assert!(!served.board.glance(0).inside());
    assert_eq!(served.board.glance(0).source, 1 << 32 | 0xc000_0207);
    served.instance.closed(session, state, End::Finished);
}

#[test]
fn what_a_rude_callback_does_ends_its_session_as_the_header_says() {
    let rows = [
        ("overconsume", Fed::Failed(End::Fault)),
        ("panic", Fed::Failed(End::Fault)),
        ("fault", Fed::Failed(End::Fault)),
        ("fail", Fed::Failed(End::Aborted)),
        ("strange_status", Fed::Took(5)),
        ("full", Fed::Full),
    ];
    let folder = Folder::new("rude");
    for (case, expected) in rows {
        let mut served = instance(&folder, &format!("rude-{case}"), json!({}));
        assert_eq!(served.feed(b"!rude").0, expected, "{case}");
        assert_eq!(served.feed(b"polite").0, Fed::Took(6), "{case}: it goes on");
        let told = served.instance.desk().take_faults();
        let expected: &[&str] = match case {
            "overconsume" => &["it consumed 6 of 5 bytes"],
            "panic" => &["it answered PP_E_PANIC"],
            "fault" => &["caught \\u{1b}[1ma panic"],
            _ => &[],
        };
        assert_eq!(told, expected, "{case}: what counts as a fault");
    }
}

#[test]
fn a_stale_handle_is_gone_and_misdirects_nothing() {
    let folder = Folder::new("stale");
    let mut served = instance(&folder, "rude-stale", json!({}));
    let (session, state) = served.open();
    served.instance.closed(session, state, End::Lost);
    served.instance.desk().closed(session);
    served.tokens.remove(session);
    // The slot is used again by another session, with another epoch.
    assert_eq!(served.feed(b"!"), (Fed::Took(1), "gone\n".to_owned()));
}

#[test]
fn a_flood_ends_at_the_output_limit() {
    let folder = Folder::new("flood");
    let mut served = instance(&folder, "rude-flood", json!({}));
    let (fed, said) = served.feed(b"!");
    assert_eq!((fed, said.len()), (Fed::Took(1), 1 << 20));
}

#[test]
fn every_wrong_argument_is_answered_and_none_is_believed() {
    let folder = Folder::new("arguments");
    let mut served = instance(&folder, "asks", json!({"root": ""}));
    let (fed, said) = served.feed(b"w");
    assert_eq!(fed, Fed::Took(1));
    assert_eq!(
        said,
        "write null -2\nwrite empty 0\nwrite endless -2\nwrite flags -2\nwrite none -4\n\
         write never -4\nclose how -2\nclose why -2\npause -2\nqueued null -2\n\
         queued never -4 99\nidle never -4\nsend -4\ntimer null -2\ntimer never -4\n\
         timer 0 cancel 0 again -4\nwaker null -2 -2\nextension 1\nhost null -2\n"
    );
}

#[test]
fn metrics_are_defined_in_create_and_only_as_the_header_says() {
    let folder = Folder::new("metrics");
    let mut served = instance(&folder, "counts", json!({}));
    let expected = "null -2\nno place -2\nno host -2\nshort -2\nnull name -2\nendless name -2\n\
         endless bounds -2\nbad name -2\ntaken ending -2\nbad help -2\nbad kind -2\nnull bounds -2\n\
         falling -2\ntwice -2\nuntouched 99\n";
    assert_eq!(served.feed(b"d").1, expected);
    let wrong = "late -10 99, add -2 -2 -2, change -2, set -2, record -2, host -2\n";
    assert_eq!(served.feed(b"w").1, wrong);
    assert_eq!(served.feed(b"t").1, "thread -10\n");
    served.feed(b"abc");
    let values = |served: &Served| {
        let metrics = served.board.metrics();
        let values = metrics.into_iter().map(|metric| metric.values);
        values.collect::<Vec<_>>()
    };
    assert_eq!(
        values(&served),
        [vec![3], vec![4], vec![0, 1, 0, 3]],
        "four sessions, and nothing by a wrong number"
    );
    let mut many = instance(&folder, "counts-many", json!({}));
    assert_eq!(many.feed(b"d").1, "64 defined, then -5\n");
}

#[test]
fn a_datagram_is_answered_by_its_token_from_where_it_lies() {
    let folder = Folder::new("datagram");
    let mut served = instance(&folder, "asks", json!({"root": ""}));
    let other = Some("192.0.2.9:5000".parse().expect("an address"));
    let cases: [(&[u8], bool, &str, _, bool); 5] = [
        (b"ehello", true, "hello", None, true),
        (b"e", true, "", None, false),
        (b"f", true, "4 4711 192.255 udp://[::]:7", None, false),
        (b"w", true, "-4 -2 -2 -2 -2", other, false),
        (b"", false, "", None, false),
    ];
    for (payload, taken, said, to, lent) in cases {
        let peer = FlowPeer::Internet("[::ffff:192.0.2.7]:4711".parse().expect("an address"));
        let flow = Flow {
            listener: 0,
            interface: 1,
            local: None,
            peer,
        };
        let outbox = &mut served.instance.desk().outbox;
        let reply = outbox.replies.note(flow, b"");
        outbox.lend(100, 0);
        let facts = DatagramFacts {
            peer: address("[::ffff:192.0.2.7]:4711"),
            local: address("192.0.2.255:7"),
            to_many: true,
            reply,
            endpoint: "udp://[::]:7",
        };
        assert_eq!(served.instance.datagram(&facts, payload), taken);
        let outbox = &mut served.instance.desk().outbox;
        outbox.unlend();
        let batch = [&[0; 100], payload].concat();
        let sent: Vec<_> = outbox.sends().to_vec();
        assert_eq!(sent.len(), usize::from(taken), "{payload:?}");
        for send in sent {
            assert_eq!((send.reply, send.to), (reply, to));
            assert_eq!(outbox.bytes(&send.piece, &batch), said.as_bytes());
            assert_eq!(matches!(send.piece, Piece::Lent(_)), lent, "{payload:?}");
        }
        outbox.clear();
    }
    assert_eq!(served.board.glance(0).callback, Callback::Datagram);
    assert_eq!(served.board.glance(0).source, 1 << 32 | 0xc000_0207);
}

#[test]
fn what_is_asked_rightly_lands_on_the_desk_in_order() {
    let folder = Folder::new("asks");
    let mut served = instance(&folder, "asks", json!({"root": ""}));
    let (session, state) = served.open();
    let opened = served.said(b"");
    assert_eq!(opened, "open 192.0.2.7:4711 at 76999 on tcp://[::]:7\n");
    served.instance.feed(session, state, b"r");
    let asks = served.instance.desk().asks().to_vec();
    let queued = format!("queued {}", opened.len());
    let [
        Ask::Pause { on: true, .. },
        Ask::Idle { idle_ms: 5000, .. },
        Ask::TimerSet {
            timer,
            delay_ms: 250,
        },
        Ask::Write {
            piece: Piece::Copied(range),
            ..
        },
        Ask::Close {
            way: Closing::Finish,
            ..
        },
    ] = &asks[..]
    else {
        panic!("{asks:?}");
    };
    assert_eq!(
        &served.instance.desk().bytes()[range.clone()],
        queued.as_bytes()
    );
    assert_eq!(served.instance.desk().timer_fired(*timer), Some(42));
}

#[test]
fn a_part_of_the_input_is_sent_from_where_it_is() {
    let folder = Folder::new("part");
    let mut served = instance(&folder, "asks", json!({"root": ""}));
    let (session, state) = served.open();
    served.instance.desk().clear();
    assert_eq!(served.instance.feed(session, state, b"nine"), Fed::Took(4));
    let asks = [
        Ask::Write {
            session,
            piece: Piece::Lent(1..4),
        },
        Ask::FinishWriting { session },
    ];
    assert_eq!(served.instance.desk().asks(), asks);
}

#[test]
fn another_thread_may_wake_and_nothing_else() {
    let folder = Folder::new("thread");
    let mut served = instance(&folder, "asks", json!({"root": ""}));
    assert_eq!(served.feed(b"t"), (Fed::Took(1), String::new()));
    assert_eq!(
        served.instance.wakes().take(),
        [7],
        "8 means that a call got through"
    );
    assert_eq!(served.instance.desk().take_faults(), Vec::<String>::new());
}

#[test]
fn what_is_over_is_gone_for_the_plugin_that_goes_on_using_it() {
    let folder = Folder::new("late");
    let mut first = instance(&folder, "late", json!({}));
    let (session, state) = first.open();
    first.instance.desk().closed(session);
    first.instance.closed(session, state, End::Lost);
    drop(first);
    let mut second = instance(&folder, "late", json!({}));
    assert_eq!(
        second.feed(b"?").1,
        "closed: write -4\nclosed: close -4\nclosed: pause -4\nclosed: idle -4\n\
         closed: queued -4\ndestroy: write -4\ndestroy: timer 0\ngone: write -4\n\
         gone: living session -4\ngone: timer -4\ngone: waker -4\ngone: wake -4\n\
         thread: write -10\nthread: wake -4\nthread: fault -10\n"
    );
    assert_eq!(second.instance.desk().take_faults(), Vec::<String>::new());
}

#[test]
fn a_flood_of_log_lines_is_cut_and_counted() {
    let folder = Folder::new("lines");
    let mut served = instance(&folder, "asks", json!({"root": ""}));
    assert_eq!(served.feed(b"l").0, Fed::Took(1));
    assert_eq!(served.board.read(Counter::LogDropped), 800);
}

fn address(text: &str) -> Party {
    let address: SocketAddr = text.parse().expect("an address");
    address.into()
}
