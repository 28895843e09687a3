//! Two plugins of strangers, made where there are none of Polyport's sources: one in C, of a file and the
//! installed header; one in Rust, as `new-plugin` makes it. Both are found to keep the rules, serve, and
//! have their peers go on through a reload with new code and through another program below them.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use support::daemon::{Daemon, Directory, OWN_PROGRAM, PATIENCE, family_of, polyport, run_to_end};

#[test]
fn plugins_of_strangers_keep_the_rules_and_their_peers_through_a_reload_and_an_upgrade() {
    let place = Arc::new(Directory::new("strangers"));
    let (in_c, in_rust) = (written_in_c(place.path()), made_in_rust(place.path()));
    for plugin in [&in_c, &in_rust] {
        let mut check = polyport();
        check.args(["plugins", "check"]).arg(plugin);
        let output = run_to_end(check);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {said}", plugin.display());
    }

    copy(&built(), &place.path().join(OWN_PROGRAM));
    let service = |name: &str, plugin: &Path| {
        let listen = "listen = [\"tcp://127.0.0.1:0\"]\nworkers = 1";
        format!("[services.{name}]\nplugin = {plugin:?}\n{listen}\n")
    };
    let config = service("in-c", &in_c) + &service("in-rust", &in_rust);
    let daemon = Daemon::start_in(place, &config);
    let mut ann = Peer::connect(&daemon, "in-c");
    let mut bob = Peer::connect(&daemon, "in-rust");
    bob.hears("Hello\r\n");
    ann.says("one\n", "1\n");
    bob.says("one\n", "ONE\n");

    // The same code with bytes behind its end is new code.
    let first = workers(&daemon);
    for plugin in [&in_c, &in_rust] {
        let mut bytes = fs::read(plugin).expect("it was built");
        bytes.extend_from_slice(b"another");
        let new = plugin.with_extension("new");
        fs::write(&new, bytes).expect("written");
        fs::rename(new, plugin).expect("renamed");
    }
    succeeds(&daemon, &["reload", "--wait"]);
    gone(&daemon, &first);
    ann.says("two\n", "2\n");
    bob.says("two\n", "TWO\n");

    // Another program takes over, and starts all workers anew.
    let second = workers(&daemon);
    let mut bytes = fs::read(built()).expect("the program under test");
    bytes.extend_from_slice(b"another");
    let (draft, new) = (
        daemon.directory().join("draft"),
        daemon.directory().join("new"),
    );
    fs::write(&draft, bytes).expect("written");
    copy(&draft, &new);
    fs::rename(&new, daemon.directory().join(OWN_PROGRAM)).expect("renamed");
    succeeds(&daemon, &["upgrade", "--wait"]);
    gone(&daemon, &second);
    ann.says("three\n", "3\n");
    bob.says("three\n\n", "THREE\n3 lines. Bye.\r\n");
    drop((ann, bob));
    daemon.finish(&[]);
}

/// A source and the header, as they lie on a machine where Polyport is installed.
fn written_in_c(place: &Path) -> PathBuf {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-api");
    let folder = place.join("in-c");
    fs::create_dir(&folder).expect("made");
    for file in ["examples/carrying.c", "include/polyport_plugin.h"] {
        let name = Path::new(file).file_name().expect("a file");
        fs::copy(sdk.join(file), folder.join(name)).expect("copied");
    }
    let mut cc = Command::new("cc");
    cc.args([
        "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I.",
    ]);
    cc.args(["carrying.c", "-o", "carrying.so"]);
    passes(cc.current_dir(&folder));
    let library = folder.join("carrying.so");
    // Whatever the umask of whoever runs this.
    fs::set_permissions(&library, fs::Permissions::from_mode(0o755)).expect("set");
    library
}

fn made_in_rust(place: &Path) -> PathBuf {
    let mut begin = polyport();
    begin.args(["new-plugin", "in-rust"]).current_dir(place);
    passes(&mut begin);
    let folder = place.join("in-rust");
    let mut make = Command::new("make");
    make.current_dir(&folder);
    // Tests are built by whoever runs these, with variables that are not the author's.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") || text.starts_with("MAKE") || text.starts_with("POLYPORT_") {
            make.env_remove(&name);
        }
    }
    passes(make.env("CARGO_HOME", place.join("cargo")));
    folder.join("build/in-rust.so")
}

fn built() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_polyport"))
}

/// By a process of its own: what this one had open for writing, its children could hold busy.
fn copy(from: &Path, to: &Path) {
    passes(Command::new("cp").args([from, to]));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("set");
}

fn passes(command: &mut Command) {
    let output = command.output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}

fn succeeds(daemon: &Daemon, verb: &[&str]) {
    let output = daemon.operate(verb);
    assert!(output.status.success(), "{output:?}\n{}", daemon.log());
}

fn workers(daemon: &Daemon) -> Vec<u32> {
    let of = |service| daemon.worker_pids(service);
    [of("in-c"), of("in-rust")].concat()
}

/// Who is served after that is served by others.
fn gone(daemon: &Daemon, workers: &[u32]) {
    let until = Instant::now() + PATIENCE;
    while family_of(daemon.pid())
        .iter()
        .any(|pid| workers.contains(pid))
    {
        assert!(Instant::now() < until, "not drained:\n{}", daemon.log());
        std::thread::yield_now();
    }
}

struct Peer(TcpStream);

impl Peer {
    fn connect(daemon: &Daemon, service: &str) -> Peer {
        let stream = TcpStream::connect(daemon.address(service, 0)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Peer(stream)
    }

    fn says(&mut self, said: &str, heard: &str) {
        self.0.write_all(said.as_bytes()).expect("sent");
        self.hears(heard);
    }

    fn hears(&mut self, awaited: &str) {
        let mut heard = vec![0; awaited.len()];
        self.0.read_exact(&mut heard).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&heard), awaited);
    }
}
