//! Each kind of new plugin, as a newcomer would meet it: made, built and tested where there is nothing
//! but a compiler, then served and spoken to.
//!
//! Cargo is told to stay offline by the made Makefile; its home here is an empty folder, so that what
//! lies on this machine cannot help either.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::daemon::{Directory, PATIENCE, polyport, run_to_end};
use support::program::program;

#[test]
fn a_new_plugin_in_rust_builds_passes_its_test_and_serves() {
    for style in ["event", "blocking", "datagram"] {
        begin_and_try("rust", style);
    }
}

#[test]
fn a_new_plugin_in_c_builds_passes_its_test_and_serves() {
    for style in ["event", "blocking", "datagram"] {
        let place = begin_and_try("c", style);
        touches_no_wrong_memory(&place.path().join(format!("my-{style}")), style);
    }
}

#[test]
fn the_tutorial_can_be_followed_in_c() {
    let place = Directory::new("new-plugin-tutorial");
    let mut begin = polyport();
    begin.args(["new-plugin", "finger", "--lang", "c"]);
    begin.current_dir(place.path());
    succeeds(begin);
    let folder = place.path().join("finger");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api/examples/finger.c");
    std::fs::copy(ours, folder.join("finger.c")).expect("copied");
    std::fs::remove_file(folder.join("test.c")).expect("it was made");
    let mut make = Command::new("make");
    make.arg("test").current_dir(&folder);
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(name);
    }
    succeeds(make);
    let service = folder.join("finger.toml");
    let text = std::fs::read_to_string(&service).expect("it was made");
    let changed = text.replace("greeting = \"Hello\"", "people = [\"ann: Ann Smith\"]");
    assert_ne!(changed, text);
    std::fs::write(&service, changed).expect("written");
    let mut check = polyport();
    check.args(["check", "-c", "finger.toml", "--set"]);
    check.arg(format!(
        "daemon.plugin_dir={}",
        folder.join("build").display()
    ));
    check.current_dir(&folder);
    succeeds(check);
}

#[test]
fn what_is_there_is_left_alone() {
    let place = Directory::new("new-plugin-there");
    std::fs::write(place.path().join("mine"), "precious").expect("written");
    let mut command = polyport();
    command
        .args(["new-plugin", "mine"])
        .current_dir(place.path());
    let output = run_to_end(command);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("mine is there already"), "{text}");
    let entries: Vec<_> = std::fs::read_dir(place.path()).expect("listed").collect();
    assert_eq!(entries.len(), 1, "nothing was left behind: {entries:?}");
}

/// Nobody can make one there, root included.
#[test]
fn where_nothing_can_be_made_the_remedy_is_told() {
    let mut command = polyport();
    command.args(["new-plugin", "mine"]).current_dir("/proc");
    let output = run_to_end(command);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot make .mine."), "{text}");
    assert!(text.contains("go to a folder"), "{text}");
}

fn begin_and_try(lang: &str, style: &str) -> Directory {
    let place = Directory::new(&format!("new-plugin-{lang}-{style}"));
    let name = format!("my-{style}");
    let mut begin = polyport();
    begin.args(["new-plugin", &name, "--lang", lang, "--style", style]);
    begin.current_dir(place.path());
    succeeds(begin);
    let folder = place.path().join(&name);
    let mut make = Command::new("make");
    make.arg("test").current_dir(&folder);
    // Tests are built by whoever runs these, with variables that are not the newcomer's.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") || text.starts_with("MAKE") || text.starts_with("POLYPORT_") {
            make.env_remove(&name);
        }
    }
    make.env("CARGO_HOME", place.path().join("cargo"));
    // Some have all that they build in one place.
    make.env("CARGO_TARGET_DIR", place.path().join("elsewhere"));
    // The compiler takes the time it takes, and then ends.
    passed(
        &format!("{make:?}"),
        &make.output().expect("make is installed"),
    );
    let mut check = polyport();
    check.args(["check", "-c", &format!("{name}.toml"), "--set"]);
    check.arg(format!(
        "daemon.plugin_dir={}",
        folder.join("build").display()
    ));
    check.current_dir(&folder);
    succeeds(check);
    let library = folder.join("build").join(format!("{name}.so"));
    let transport = if style == "datagram" { "udp" } else { "tcp" };
    let served = Served::start(&library, &format!("{transport}://127.0.0.1:0"));
    match style {
        "datagram" => assert_eq!(served.exchange("one"), "ONE"),
        _ => assert_eq!(
            served.converse("one\ntwo\r\n\n"),
            "Hello\r\nONE\nTWO\r\n2 lines. Bye.\r\n"
        ),
    }
    drop(served);
    place
}

/// The plugin and its test under the compiler's sanitizers, and under valgrind, leaks included.
fn touches_no_wrong_memory(folder: &Path, style: &str) {
    let plugin = format!("my-{style}.c");
    let compile = |flags: &[&str], to: &str| {
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-g", "-Iinclude"]).args(flags);
        cc.args([&plugin, "test.c", "-o", to]).current_dir(folder);
        succeeds(cc);
    };
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    compile(&sanitizers, "build/sanitized");
    succeeds(Command::new(folder.join("build/sanitized")));
    compile(&[], "build/plain");
    let mut valgrind = program("valgrind", "valgrind");
    valgrind.args(["-q", "--error-exitcode=9", "--leak-check=full"]);
    valgrind.args(["--show-leak-kinds=all", "--errors-for-leak-kinds=all"]);
    valgrind.arg(folder.join("build/plain"));
    succeeds(valgrind);
}

fn succeeds(command: Command) {
    let words = format!("{command:?}");
    passed(&words, &run_to_end(command));
}

fn passed(words: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{words}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A plugin served by `polyport try`.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(library: &Path, listen: &str) -> Served {
        let mut command = polyport();
        command
            .arg("try")
            .arg(library)
            .args(["--json", "--listen", listen]);
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary under test");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("it announces itself");
        let announced: Value = serde_json::from_str(&line).expect("one document");
        let url = find_url(&announced).expect("an endpoint");
        let address = url.split("//").nth(1).expect("a URL").to_owned();
        Served { child, address }
    }

    fn converse(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let bounded = stream.set_read_timeout(Some(PATIENCE));
        bounded.expect("not zero");
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        read.expect("the session ends in order");
        answer
    }

    fn exchange(&self, text: &str) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let bounded = socket.set_read_timeout(Some(PATIENCE));
        bounded.expect("not zero");
        let sent = socket.send_to(text.as_bytes(), &self.address);
        sent.expect("sent");
        let mut answer = [0; 512];
        let count = socket.recv(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT);
        let _ = self.child.wait();
    }
}

/// The first URL with a port in the document of `status --json`.
fn find_url(document: &Value) -> Option<String> {
    match document {
        Value::String(text) if text.contains("://127.0.0.1:") && !text.ends_with(":0") => {
            Some(text.clone())
        }
        Value::Array(parts) => parts.iter().find_map(find_url),
        Value::Object(parts) => parts.values().find_map(find_url),
        _ => None,
    }
}
