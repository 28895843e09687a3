//! What administrators write and other processes say, nearly right: parsers answer everything, never
//! panic, and read again what they accepted as the same.
//!
//! What the answers mean is tested where the parsers are; whole configuration files are in `config`.

#[path = "support/dice.rs"]
mod dice;
#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;
#[path = "support/mutation.rs"]
mod mutation;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use folder::Folder;
use polyport::channel::{Channel, Order, Received, Report};
use polyport::config::units::{parse_duration_ms, parse_duration_us, parse_size};
use polyport::config::{self, Sources, Surroundings};
use polyport::control::{Answer, Reply, Request, Server};
use polyport::exit;
use polyport::plan::{Address, Facts, resolve};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

// --- what administrators write -----------------------------------------------------------------

/// The address that a service would listen on, or why not.
fn endpoint(written: &str) -> Result<Address, String> {
    let facts = Facts {
        cpus: 1,
        services: "echo 7/tcp\necho 7/udp\nwww 80/tcp http # WWW\n".to_owned(),
        user: |_| Ok(None),
        group: |_| Ok(None),
        interface: |name| Ok((name == "eth0").then_some(2)),
        exists: |_| true,
    };
    // TOML's basic strings have all escapes that JSON writes.
    let quoted = serde_json::to_string(written).expect("a text");
    let text = format!("[services.it]\nplugin = \"/echo.so\"\nlisten = [{quoted}]\n");
    let sources = Sources {
        inline: Some(text.replace('\x7f', "\\u007f")),
        ..Sources::default()
    };
    let plan = resolve(config::read(&sources, &Surroundings::default()), &facts);
    match plan {
        Ok(plan) => Ok(plan.services["it"].endpoints[0].address.clone()),
        Err(complaints) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
    }
}

#[test]
fn an_endpoint_that_is_accepted_is_the_same_written_in_full() {
    let right = [
        "tcp://127.0.0.1:7007",
        "tcp://*:echo",
        "tcp://[::1]:http",
        "udp://[fe80::1%eth0]:9",
        "udp://[fe80::1%2]:0",
        "tcp://[::ffff:192.0.2.7]:65535",
        "unix:/run/polyport/echo.sock",
        "unix:@echo",
        "unixgram:/run/a b",
    ];
    let mut accepted = 0;
    mutation::each("endpoints", &right, b"0189:/[]%@*. .af", 4_000, |bytes| {
        let written = String::from_utf8_lossy(bytes);
        match endpoint(&written) {
            Ok(address) => {
                accepted += 1;
                let full = address.to_string();
                assert_eq!(endpoint(&full), Ok(address), "{written:?} as {full:?}");
            }
            Err(said) => assert!(said.contains("services.it.listen"), "{written:?}: {said}"),
        }
    });
    assert!(accepted > 500, "{accepted} are more noise than mutation");
}

#[test]
fn a_number_with_a_unit_is_the_same_in_its_smallest_unit() {
    type Parse = fn(&str) -> Result<u64, String>;
    let tables: [(&str, &str, Parse, &[&str]); 3] = [
        (
            "durations",
            "ms",
            parse_duration_ms,
            &["1d2h3m4s5ms", "0", "10s", "9223372036854775807ms"],
        ),
        (
            "short durations",
            "us",
            parse_duration_us,
            &["50us", "1m30s", "9223372036854775807us"],
        ),
        (
            "sizes",
            "B",
            parse_size,
            &["64KiB", "1MB", "0", "9223372036854775807B", "8388607TiB"],
        ),
    ];
    for (what, unit, parse, right) in tables {
        let mut accepted = 0;
        mutation::each(what, right, b"0919dhmsuBKkMi +-.", 20_000, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            match parse(&text) {
                // What is longer than the smallest unit can say is only ever cut short.
                Ok(number) if number > i64::MAX as u64 => assert_eq!(unit, "us", "{text:?}"),
                Ok(number) => {
                    accepted += 1;
                    assert_eq!(parse(&format!("{number}{unit}")), Ok(number), "{text:?}");
                }
                Err(said) => assert!(said.starts_with("expected a "), "{text:?}: {said}"),
            }
        });
        assert!(accepted > 2_000, "{what}: {accepted} are more noise");
    }
}

#[test]
fn settings_are_accepted_or_each_refusal_has_its_place() {
    let folder = Folder::new("mutations");
    let plugin = folder.admit("asks").unwrap_or_else(|e| panic!("{e}"));
    let right = [
        r#"{"root": "/srv", "length": 80, "loud": true, "pause": "1m", "most": "4KiB"}"#,
        r#"{"root": "/", "names": ["ann", "bob"]}"#,
        r#"{"root": "", "length": 1, "names": []}"#,
    ];
    let telling = br#"{}[]",:0 9.-tfnloue"#;
    let (mut accepted, mut refused) = (0, 0);
    mutation::each("settings", &right, telling, 20_000, |bytes| {
        // An object is what a configuration can hold.
        let Ok(settings) = serde_json::from_slice::<BTreeMap<String, Value>>(bytes) else {
            return;
        };
        match plugin.choose("it", &settings, &BTreeMap::new()) {
            Ok(_) => {
                accepted += 1;
                // Nothing in it depends on anything else but what has no default.
                for name in settings.keys().filter(|name| *name != "root") {
                    let mut fewer = settings.clone();
                    fewer.remove(name);
                    let chosen = plugin.choose("it", &fewer, &BTreeMap::new());
                    assert!(chosen.is_ok(), "{settings:?} without {name}");
                }
            }
            Err(error) => {
                refused += 1;
                let said = error.to_string();
                assert!(said.contains("services.it.settings"), "{said}");
            }
        }
    });
    assert!(accepted > 100 && refused > 100, "{accepted} and {refused}");
}

// --- what other processes say ------------------------------------------------------------------

/// One packet after another to a channel that reads messages of this kind.
fn tell<T>(what: &str, right: &[T])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let (ours, theirs) = Channel::pair().expect("a socket pair");
    let raw = UnixStream::from(theirs.try_clone().expect("cloned"));
    let theirs = Channel::adopt(theirs).expect("one of a pair");
    let json = |message: &T| serde_json::to_string(message).expect("plain data");
    let right: Vec<String> = right.iter().map(json).collect();
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    let telling = br#"{}[]",:0 9.-\utn"#;
    let mut understood = 0;
    mutation::each(what, &right, telling, 20_000, |bytes| {
        if bytes.is_empty() {
            return;
        }
        (&raw).write_all(bytes).expect("one packet");
        match ours.receive::<T>() {
            Received::Message(message) => {
                understood += 1;
                theirs.send(&message).expect("sent");
                assert_eq!(ours.receive(), Received::Message(message));
            }
            Received::Garbled(why) => assert!(!why.is_empty()),
            other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
        }
        assert_eq!(ours.receive::<T>(), Received::Empty, "one packet each");
    });
    assert!(understood > 500, "{what}: {understood} are more noise");
}

#[test]
fn a_packet_on_the_channel_is_a_message_or_garbled() {
    tell(
        "reports",
        &[
            Report::Resolved { bytes: 4096 },
            Report::Rejected { bytes: 1 },
            Report::Admitted { bytes: u64::MAX },
            Report::refused("it \"fails\"\n\u{1F980} \\".to_owned()),
            Report::Ready {
                sandbox: "landlock, seccomp".to_owned(),
            },
        ],
    );
    tell(
        "orders",
        &[Order::Drain {
            grace_ms: 30_000,
            leaving: vec!["tcp://[::]:7".to_owned()],
        }],
    );
}

#[test]
fn a_line_on_the_control_socket_has_one_answer() {
    let folder = Folder::new("mutated-control");
    let path = folder.0.join("control.sock");
    let mut server = Server::bind(&path).expect("bound");
    let requests = [
        Request::Status,
        Request::SocketOptions {
            service: Some("echo".to_owned()),
        },
        Request::SocketOptions { service: None },
        Request::Stop { fast: true },
    ];
    let json = |request: &Request| serde_json::to_string(request).expect("plain data");
    let right: Vec<String> = requests.iter().map(json).collect();
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    let telling = br#"{}[]",:0 tfn-\"#;
    let mut understood = 0;
    mutation::each("requests", &right, telling, 4_000, |bytes| {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
        let mut caller = UnixStream::connect(&path).expect("connected");
        caller.write_all(&[line, b"\n"].concat()).expect("asked");
        let mut asked = None;
        server.turn(0, |request, _| {
            asked = Some(request.clone());
            Answer::Now(Reply::done(json!(request)))
        });
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("answered");
        assert_eq!(answer.matches('\n').count(), 1, "{answer}");
        let reply: Reply = serde_json::from_str(&answer).expect("a reply");
        match asked {
            Some(request) => {
                understood += 1;
                let again = serde_json::from_value::<Request>(reply.answer);
                assert_eq!(again.expect("a request"), request);
            }
            None => {
                assert_eq!(reply.exit, exit::USAGE);
                assert!(reply.error.is_some_and(|error| !error.is_empty()));
            }
        }
    });
    assert!(understood > 100, "{understood} are more noise");
}
