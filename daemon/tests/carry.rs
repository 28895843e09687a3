//! The shipped plugin's sessions on their way from one instance to another, through its C table.

#[path = "support/folder.rs"]
#[allow(dead_code, reason = "it installs fixtures too")]
mod folder;
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use folder::{Folder, set_mode};
use polyport::engine::carried::Carried;
use polyport::engine::session::{Facts, Party, Token};
use polyport::engine::{NotTaken, Streams};
use polyport::plan::{Limits, LogLevel};
use polyport::plugin_host::{Admitted, Instance, InstanceFacts, Surroundings, load};
use polyport::scoreboard::{BYTES, Scoreboard};
use polyport::sys::shared_memory::SharedWords;
use serde_json::json;
use support::{fixtures, plugins};

/// An engine with an instance of `echo` in this mode.
fn echo(folder: &Folder, mode: &str) -> Streams<Instance> {
    let installed = folder.0.join("echo.so");
    if !installed.exists() {
        let built = plugins::folder().join("libpolyport_echo.so");
        std::fs::copy(built, &installed).expect("installed");
        set_mode(&installed, 0o644);
    }
    let code = folder.take(&installed).expect("taken into the store");
    let admitted = load(&code, None).expect("admitted");
    streams(admitted, &json!({ "mode": mode }))
}

/// An engine with an instance of this plugin.
fn streams(admitted: Admitted, settings: &serde_json::Value) -> Streams<Instance> {
    let settings = serde_json::from_value(settings.clone()).expect("an object");
    let chosen = admitted.choose("echo", &settings, &BTreeMap::new());
    let facts = InstanceFacts {
        service: "echo",
        worker_index: 0,
        worker_count: 1,
        generation: 1,
        endpoints: &[],
        udp_ports: &[],
    };
    let memory = SharedWords::file("board", BYTES).expect("memory");
    let board = Scoreboard::over(SharedWords::map(&memory).expect("mapped")).expect("long");
    let around = Surroundings {
        seed: 1,
        board,
        clock: || 77_000,
        log_level: LogLevel::Info,
        jobs_max: 0,
    };
    let instance = Instance::create(admitted, &chosen.expect("settings"), &facts, around);
    let limits = Limits {
        input_bytes_max: 1 << 16,
        output_bytes_max: 1 << 16,
        ..Limits::default()
    };
    Streams::new(instance.expect("an instance"), &limits)
}

fn party(text: &str) -> Party {
    text.parse::<SocketAddr>().expect("an address").into()
}

fn feed(streams: &mut Streams<Instance>, session: Token, bytes: &[u8]) {
    streams.space(session)[..bytes.len()].copy_from_slice(bytes);
    streams.received(session, bytes.len(), 2_000);
}

/// All that is to be sent, which the socket takes whole.
fn said(streams: &mut Streams<Instance>, session: Token) -> Vec<u8> {
    let pieces = streams.pieces(session);
    let bytes: Vec<u8> = pieces.as_slice().iter().flat_map(|p| p.to_vec()).collect();
    streams.sent(session, bytes.len(), 2_000);
    bytes
}

#[test]
fn a_line_that_began_in_one_instance_ends_in_another() {
    let folder = Folder::new("carry");
    let mut giver = echo(&folder, "line");
    let facts = Facts {
        peer: party("192.0.2.7:4711"),
        local: party("192.0.2.1:7"),
        credentials: None,
        accepted_ms: 1_000,
        proxied: true,
        endpoint: "tcp://[::]:7",
    };
    let session = giver.open(&facts, 1_000).expect("opened");
    feed(&mut giver, session, b"one\ntw");
    let carried = giver.give(session, 3_000).expect("it can be carried");
    assert_eq!(
        (&carried.input[..], &carried.output[..]),
        (&b"tw"[..], &b"one\n"[..])
    );
    assert_eq!(carried.facts.age_ms, 2_000);
    assert!(giver.pieces(session).is_empty(), "it is frozen");
    let mut bytes = Vec::new();
    carried.write(&mut bytes);
    let carried = Carried::read(&bytes).expect("it was written so");

    let mut other = echo(&folder, "stream");
    let refused = other.take(&carried, 3_000);
    assert_eq!(
        refused,
        Err(NotTaken::Refused(
            "the mode of the service is another now".to_owned()
        ))
    );
    assert!(other.is_empty(), "nothing is left of it");

    let mut taker = echo(&folder, "line");
    let taken = taker.take(&carried, 3_000).expect("taken");
    giver.given(session, 3_000);
    assert!(giver.is_empty(), "it is gone from there");
    assert!(taker.pieces(taken).is_empty(), "it has not arrived yet");
    taker.stay(taken);
    assert_eq!(said(&mut taker, taken), b"one\n");
    feed(&mut taker, taken, b"o\nthree\n");
    assert_eq!(said(&mut taker, taken), b"two\nthree\n");
}

#[test]
fn what_a_plugin_says_wrongly_of_a_session_is_not_believed() {
    let folder = Folder::new("carry-lies");
    let engine = |fixture: &str| streams(folder.admit(fixture).expect("admitted"), &json!({}));
    let facts = Facts {
        peer: party("192.0.2.7:4711"),
        local: party("192.0.2.1:7"),
        credentials: None,
        accepted_ms: 1_000,
        proxied: false,
        endpoint: "tcp://[::]:7",
    };
    // To refuse is a plugin's right. To have written where there is no room is a fault.
    for (case, stays) in [("too_much", false), ("endless", false), ("not", true)] {
        let mut giver = engine(&format!("carries-exports_{case}"));
        let session = giver.open(&facts, 1_000).expect("opened");
        assert!(giver.give(session, 2_000).is_none(), "{case}");
        assert_eq!(giver.is_open(session), stays, "{case}");
        if stays {
            feed(&mut giver, session, b"still");
            assert_eq!(said(&mut giver, session), b"still", "{case}");
        }
    }
    let mut giver = engine("carries");
    let session = giver.open(&facts, 1_000).expect("opened");
    let carried = giver.give(session, 2_000).expect("it can be carried");
    for (case, expected) in [
        ("not", Some("")),
        ("with_a_long_reason", Some("xxx")),
        ("strangely", None),
    ] {
        let mut taker = engine(&format!("carries-imports_{case}"));
        match (taker.take(&carried, 3_000), expected) {
            (Err(NotTaken::Refused(why)), Some(part)) => {
                assert!(why.contains(part) && why.len() < 8192, "{case}: {why}");
                assert!(taker.is_empty(), "{case}");
            }
            (Ok(_), None) => {}
            (other, _) => panic!("{case}: {other:?}"),
        }
    }
}
