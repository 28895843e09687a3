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
mod targets;

use std::fmt::Debug;

use folder::Folder;
use polyport::channel::{Order, Report};
use polyport::config::units::{parse_duration_ms, parse_duration_us, parse_size};
use polyport::control::Request;
use serde::Serialize;
use serde::de::DeserializeOwned;
use targets::{spoken, written};

// --- what administrators write -----------------------------------------------------------------

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
        accepted += u32::from(written::endpoint(bytes));
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
            accepted += u32::from(written::number(&text, unit, parse));
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
    mutation::each(
        "settings",
        &right,
        telling,
        20_000,
        |bytes| match written::settings(&plugin, bytes) {
            Some(true) => accepted += 1,
            Some(false) => refused += 1,
            None => {}
        },
    );
    assert!(accepted > 100 && refused > 100, "{accepted} and {refused}");
}

// --- what other processes say ------------------------------------------------------------------

/// One packet after another to a channel that reads messages of this kind.
fn tell<T>(what: &str, right: &[T])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let json = |message: &T| serde_json::to_string(message).expect("plain data");
    let right: Vec<String> = right.iter().map(json).collect();
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    let telling = br#"{}[]",:0 9.-\utn"#;
    let mut understood = 0;
    mutation::each(what, &right, telling, 20_000, |bytes| {
        understood += u32::from(spoken::packet::<T>(bytes));
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
            hurried: true,
        }],
    );
}

#[test]
fn a_line_on_the_control_socket_has_one_answer() {
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
        understood += u32::from(spoken::control_request(bytes));
    });
    assert!(understood > 100, "{understood} are more noise");
}
