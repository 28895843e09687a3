//! The mistakes that `docs/writing-plugins.md` lists, made: each message in the table is what one sees.
//!
//! A row is looked up by the first words that it quotes. Invariant: each row of the table is made here,
//! and nothing is made that is in no row.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::daemon::{Daemon, Directory, polyport, run_to_end};
use support::fixtures::{build, build_fixture};
use support::plugins::{folder, smallest};

/// Says what one sees.
type Mistake = fn() -> String;

const MISTAKES: [(&str, Mistake); 15] = [
    (
        "others than its owner can write it (mode 0775)",
        writable_by_others,
    ),
    ("it does not export `polyport_plugin_v1`", || {
        check(&build_fixture("table-no_symbol"), &[])
    }),
    (
        "it has neither `feed` nor `datagram`, so nothing can reach it",
        || check(&build_fixture("table-no_way_in"), &[]),
    ),
    (
        "it does not export `polyport_plugin_v1`, but `polyport_plugin_v0`",
        || check(&build_fixture("table-before_the_freeze"), &[]),
    ),
    ("its table starts with", || {
        check(&build_fixture("table-bad_magic"), &[])
    }),
    ("does not speak streams, which come to tcp://", || {
        operate(&["try"], &build_fixture("table-datagrams_only"), &[])
    }),
    (
        "connections closed at a limit: unread input above limits.input",
        unread,
    ),
    (
        "the peer is answered otherwise when the input came as At(1)",
        || check(&build_fixture("breaks-pieces"), &[]),
    ),
    (
        "the peer is answered otherwise when write 1 was answered PP_E_FULL",
        || check(&build_fixture("breaks-full"), &[]),
    ),
    ("bytes more are allocated after each 60 sessions", || {
        check(&build_fixture("breaks-memory"), &[])
    }),
    ("worker died: in feed for", waits),
    ("the plugin reported a fault: ", || {
        let panics = folder().join("libpolyport_fixture_panics.so");
        check(&panics, &["--set", "where=feed"])
    }),
    ("write was called from another thread", || {
        check(&build_fixture("breaks-foreign"), &[])
    }),
    ("the sandbox has refused", || {
        operate(&["try"], &build_fixture("starts-create_reads"), &[])
    }),
    ("unknown option, did you mean", || {
        let settings = ["--set", "root=/", "--set", "lenght=7"];
        check(&build_fixture("asks"), &settings)
    }),
];

#[test]
fn each_message_in_the_table_of_mistakes_is_what_one_sees() {
    let mut made: BTreeMap<&str, Mistake> = MISTAKES.into();
    for quoted in table() {
        let mistake = made.remove(quoted[0].as_str());
        let mistake = mistake.unwrap_or_else(|| panic!("nobody makes the mistake {quoted:?}"));
        let seen = mistake();
        for words in &quoted {
            assert!(seen.contains(words), "{words:?} is not in:\n{seen}");
        }
    }
    let others: Vec<_> = made.keys().collect();
    assert!(others.is_empty(), "in no row: {others:?}");
}

/// What each row of the table quotes in its first cell.
fn table() -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/writing-plugins.md");
    let text = fs::read_to_string(path).expect("it is in the tree");
    let (_, section) = text
        .split_once("\n## Common mistakes\n")
        .expect("it is there");
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let quoted = rows
        .skip(1)
        .map(|row| quotes(row.split(" | ").next().unwrap_or_default()));
    let quoted: Vec<_> = quoted.filter(|quoted| !quoted.is_empty()).collect();
    assert!(quoted.len() > 10, "the table was read: {quoted:?}");
    quoted
}

/// Between backticks, or between two of them where one is quoted.
fn quotes(cell: &str) -> Vec<String> {
    if let Some((_, rest)) = cell.split_once("`` ").or_else(|| cell.split_once("``")) {
        let quoted = rest.split_once("``").map_or(rest, |(quoted, _)| quoted);
        return vec![quoted.trim().to_owned()];
    }
    let parts = cell.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

// --- mistakes ----------------------------------------------------------------------------------

fn check(plugin: &Path, words: &[&str]) -> String {
    operate(&["plugins", "check"], plugin, words)
}

fn operate(verb: &[&str], plugin: &Path, words: &[&str]) -> String {
    let mut command = polyport();
    command.args(verb).arg(plugin).args(words);
    let output = run_to_end(command);
    assert!(!output.status.success(), "{verb:?} {}", plugin.display());
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn writable_by_others() -> String {
    let place = Directory::new("mistakes");
    let plugin = place.path().join("mine.so");
    fs::copy(smallest(), &plugin).expect("copied");
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o775)).expect("changed");
    check(&plugin, &[])
}

/// A service of a plugin, and what comes of saying this to it.
fn served(
    name: &str,
    daemon: &str,
    plugin: &Path,
    limits: &str,
    said: &[u8],
    seen: &str,
) -> String {
    let config = format!(
        "[daemon]\n{daemon}\n[services.mine]\nplugin = {plugin:?}\nworkers = 1\n\
         listen = [\"tcp://127.0.0.1:0\"]\n{limits}\n"
    );
    let daemon = Daemon::start(name, &config);
    let mut peer = TcpStream::connect(daemon.address("mine", 0)).expect("it listens");
    // It may be thrown out before it has said all.
    let _ = peer.write_all(said);
    let line = daemon.wait_log(seen);
    daemon.finish(&["died".to_owned()]);
    line
}

/// Lines that never end, for a plugin that waits for their end.
fn unread() -> String {
    let source = Path::new("../plugin-api/examples/carrying.c");
    let plugin = build("example-carrying", source, "none");
    let said = [b'x'; 300_000];
    let limit = "limits.input = \"1KiB\"";
    served(
        "mistakes-unread",
        "",
        &plugin,
        limit,
        &said,
        "closed at a limit",
    )
}

fn waits() -> String {
    let plugin: PathBuf = build_fixture("rude-loop");
    let timeout = "hang_timeout = \"300ms\"";
    served(
        "mistakes-waits",
        timeout,
        &plugin,
        "",
        b"!",
        "worker died: in feed",
    )
}
