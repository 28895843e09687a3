//! The examples in C, and fixtures of the daemon's tests, under the compiler's sanitizers and under
//! valgrind: none touches memory that is not its own, or decides by what nobody has written.
//!
//! A sanitized library needs its runtime in the process from the start, so this program starts itself
//! again with it. What leaks is found by `polyport plugins check`, which looks at the allocator.
//!
//! Invariant: what runs under them is the same test as without.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use polyport_plugin::testing::{FakeBus, FakeHost, Script, Setup, Split};

mod compiler;
mod loaded;

/// Set where this program runs for the second time: the flags that plugins are compiled with.
const FLAGS: &str = "POLYPORT_SANITIZED_FLAGS";
const CONVERSATIONS: &str = "conversations_that_end_in_every_way";

/// Below this package, with the settings of each; those of the blocking style by themselves.
const ON_THREADS: [&str; 2] = ["examples/blocking", "../daemon/tests/plugins/serves"];
const ON_THE_LOOP: [(&str, &[(&str, &str)]); 12] = [
    ("examples/carrying", &[]),
    ("examples/counting", &[]),
    ("examples/finger", &[("people", "ann: is here,bob: is not")]),
    ("examples/greeting", &[("file", "FILE")]),
    ("examples/proving", &[]),
    ("examples/sending", &[("file", "FILE")]),
    ("examples/shouting", &[]),
    ("examples/smallest", &[]),
    ("../daemon/tests/plugins/asks", &[("root", "/srv")]),
    ("../daemon/tests/plugins/breaks", &[]),
    ("../daemon/tests/plugins/carries", &[]),
    ("../daemon/tests/plugins/plays", &[]),
];

const INPUTS: [&[u8]; 4] = [
    b"\r\n",
    b"ann\r\nhello\r\nhow are you?\n",
    b"\x00\xff\xfe@@ \t\n",
    b"half a line",
];

#[test]
fn conversations_that_end_in_every_way() {
    let flags = std::env::var(FLAGS).unwrap_or_default();
    let folder = compiler::scratch(&format!("sanitized{}", flags.len()));
    let file = folder.join("file");
    fs::write(&file, "Good day\n").expect("cargo's folder for tests is writable");
    let file = file.to_str().expect("UTF-8");
    for (source, settings) in ON_THE_LOOP {
        let table = loaded::loaded(&build(source, &flags, &folder));
        let set = |setup: Setup, (name, text): &(&str, &str)| {
            setup.set(name, if *text == "FILE" { file } else { text })
        };
        let setup = settings.iter().fold(Setup::table(table), set);
        INPUTS.iter().for_each(|input| converse(&setup, input));
    }
    for source in ON_THREADS {
        let setup = Setup::table(loaded::loaded(&build(source, &flags, &folder)));
        INPUTS.iter().for_each(|input| serve(&setup, input));
    }
}

fn build(source: &str, flags: &str, folder: &Path) -> PathBuf {
    let source = compiler::folder().join(source).with_extension("c");
    let library = folder
        .join(source.file_stem().expect("a name"))
        .with_extension("so");
    let mut all = vec![
        "-std=c99",
        "-g",
        "-shared",
        "-fPIC",
        "-pthread",
        "-D_GNU_SOURCE",
        "-DCASE_none",
    ];
    all.extend(flags.split_whitespace());
    compiler::compile("cc", &all, &source, &library);
    library
}

fn converse(setup: &Setup, input: &[u8]) {
    let long = input.repeat(10);
    let middle = Split::At(input.len() / 2);
    let pieces = [
        (input, Split::EveryByte),
        (input, middle),
        (&long, Split::Whole),
    ];
    for (input, split) in pieces {
        for ending in 0..4 {
            let bus = FakeBus::new();
            // The first write of some is in `open`, which may be refused by it.
            let setup = setup.clone().bus(&bus).split(split).full_at(ending + 2);
            let mut host = setup.start().expect("it starts");
            let peer = host.connect();
            host.send(peer, input);
            rest(&mut host);
            match ending {
                _ if host.end(peer).is_some() => {}
                0 => host.peer_finishes(peer),
                1 => host.peer_vanishes(peer),
                2 => host.drain(Duration::from_secs(1)),
                _ => drop(host.carry()),
            }
            rest(&mut host);
            host.take_faults();
        }
    }
}

fn rest(host: &mut FakeHost) {
    while host.run_work() {}
    host.advance(Duration::from_millis(50));
    host.hear_bus();
}

fn serve(setup: &Setup, input: &[u8]) {
    // The fixture takes its first byte for an order: to echo.
    let said = Script::new().says(&[b"e", input].concat());
    let ways = [
        said.clone().finishes(),
        said.clone().vanishes(),
        said.clone().is_silent(),
        said.clone().takes(1),
        said.drains(),
    ];
    for way in ways {
        let mut host = setup.start().expect("it starts");
        // What comes of it is another test's.
        let _ = host.serve(way);
        host.take_faults();
    }
}

#[test]
fn no_plugin_in_c_offends_the_sanitizers() {
    let flags = "-fsanitize=address,undefined -fno-sanitize-recover=all";
    let runtime = Command::new("cc")
        .arg("-print-file-name=libasan.so")
        .output();
    let runtime = String::from_utf8(runtime.expect("cc is installed").stdout).expect("a path");
    let mut again = again(&std::env::current_exe().expect("it runs"), flags);
    again.env("LD_PRELOAD", runtime.trim());
    // Rust's own leaks are not the matter here.
    again.env("ASAN_OPTIONS", "detect_leaks=0");
    succeeds(again);
}

#[test]
fn no_plugin_in_c_offends_valgrind() {
    let mut again = again(Path::new("valgrind"), "");
    again.args(["-q", "--error-exitcode=9"]);
    succeeds(again);
}

fn again(program: &Path, flags: &str) -> Command {
    let mut command = Command::new(program);
    command.env(FLAGS, flags);
    command
}

fn succeeds(mut command: Command) {
    if command.get_program() != std::env::current_exe().expect("it runs") {
        command.arg(std::env::current_exe().expect("it runs"));
    }
    let output = command.args(["--exact", CONVERSATIONS]).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
