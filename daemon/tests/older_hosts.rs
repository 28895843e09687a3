//! Today's plugins on a host of ABI 1.0 that offers less: its table ends where 1.0's did, and its
//! extensions are absent one by one. A plugin works, or refuses in words; it never crashes.
//!
//! The host is the testing kit's, and the plugins are the libraries that the daemon would load, so what
//! is shown is what their table and their SDK really do.

mod support;

#[path = "../../plugin-api/tests/loaded/mod.rs"]
mod loaded;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use polyport_plugin::Address;
use polyport_plugin::abi::{EXT_BUS, EXT_FILE, EXT_METRICS, EXT_WORK, HostApi, Published};
use polyport_plugin::testing::{Script, Setup};

use support::fixtures::{build, build_fixture};
use support::plugins;

enum Style {
    Stream,
    Thread,
    Datagram,
}

/// A plugin, what is said to it, and a part of the answer.
struct Row {
    plugin: PathBuf,
    settings: Vec<(&'static str, String)>,
    style: Style,
    said: &'static [u8],
    awaited: &'static str,
    /// Where an extension is absent and that shows: what is answered, or the reason of the refusal.
    without: &'static [(&'static str, Result<&'static str, &'static str>)],
}

fn rows() -> Vec<Row> {
    let shipped = |name: &str| plugins::folder().join(format!("libpolyport_{name}.so"));
    let row = |plugin, said, awaited| Row {
        plugin,
        settings: Vec::new(),
        style: Style::Stream,
        said,
        awaited,
        without: &[],
    };
    let hole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/gopher");
    let hole = hole.canonicalize().expect("the example comes along");
    let root = ("root", hole.display().to_string());
    let counting = Path::new("../plugin-api/examples/counting.c");
    vec![
        row(shipped("echo"), b"one\n", "one\n"),
        Row {
            settings: vec![root],
            without: &[
                (EXT_WORK, Ok("3The server is busy")),
                (
                    EXT_METRICS,
                    Err("its metrics cannot be defined: not supported by this host"),
                ),
            ],
            ..row(shipped("gopher"), b"\r\n", "Writing a plugin")
        },
        Row {
            style: Style::Datagram,
            ..row(shipped("udp_echo"), b"one\n", "one\n")
        },
        Row {
            without: &[
                (
                    EXT_BUS,
                    Err("the bus cannot be used: not supported by this host"),
                ),
                (
                    EXT_METRICS,
                    Err("its metrics cannot be defined: not supported by this host"),
                ),
            ],
            ..row(shipped("line_chat"), b"ann\n", "you are in #lobby")
        },
        Row {
            style: Style::Thread,
            ..row(plugins::example("blocking"), b"one\n\n", "ONE\n")
        },
        row(plugins::smallest(), b"one\n", "one\n"),
        Row {
            // It gives no reason, only PP_E_UNSUPPORTED.
            without: &[(EXT_METRICS, Err("refused with status -3"))],
            ..row(build("counting", counting, "none"), b"one\n", "one\n")
        },
        Row {
            without: &[(
                EXT_METRICS,
                Err("the plugin requires \"polyport.metrics/1\", which this host has not"),
            )],
            ..row(build_fixture("table-requires_metrics"), b"one\n", "")
        },
    ]
}

/// What one exchange comes to.
fn exchange(row: &Row, setup: &Setup) -> Result<String, String> {
    let mut host = setup.start()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(match row.style {
        Style::Stream => {
            let peer = host.connect();
            host.send(peer, row.said);
            host.peer_finishes(peer);
            while host.run_work() {}
            text(host.received(peer))
        }
        Style::Thread => text(&host.serve(Script::new().says(row.said)).received),
        Style::Datagram => {
            let from: SocketAddr = "127.0.0.1:5000".parse().expect("an address");
            host.datagram(Address::Ip(from), row.said)
                .map_err(|error| error.to_string())?;
            host.take_sent()
                .iter()
                .map(|sent| text(&sent.payload))
                .collect()
        }
    })
}

#[test]
fn todays_plugins_serve_or_refuse_in_words_on_a_host_of_1_0() {
    for row in rows() {
        let table = loaded::loaded(&row.plugin);
        let setup = Setup::table(table).host_table_bytes(HostApi::BYTES_MIN);
        let setup = row
            .settings
            .iter()
            .fold(setup, |setup, (name, text)| setup.set(name, text));
        for absent in ["", EXT_WORK, EXT_FILE, EXT_BUS, EXT_METRICS] {
            let name = row.plugin.file_name().expect("a file").display();
            let answer = exchange(&row, &setup.clone().without(absent));
            let special = row.without.iter().find(|(id, _)| *id == absent);
            let expected = special.map_or(Ok(row.awaited), |(_, answer)| *answer);
            let fits = match (&answer, expected) {
                (Ok(answer), Ok(part)) => answer.contains(part),
                (Err(why), Err(part)) => why == part,
                _ => false,
            };
            assert!(fits, "{name} without {absent:?}: {answer:?}");
        }
    }
}
