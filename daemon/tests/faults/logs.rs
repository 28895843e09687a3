//! Where the log goes, and what happens when nobody takes it: the journal gets fields from every
//! process, a file may be moved away, and whoever is not there is not waited for.
//!
//! The journal is a datagram socket of the test, in a namespace in which nothing else is at its place.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::scene::{Peer, good_service};
use crate::support::daemon::{Daemon, Directory, PATIENCE, polyport};
use crate::support::namespace;
use crate::support::program::program;

const JOURNAL: &str = "/run/systemd/journal/socket";

struct Journal(UnixDatagram);

impl Journal {
    fn begin() -> Journal {
        let _ = fs::remove_file(JOURNAL);
        let socket = UnixDatagram::bind(JOURNAL).expect("its place is ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Journal(socket)
    }

    /// The next event whose fields have all of these lines.
    fn hears(&self, lines: &[&str]) -> String {
        let mut bytes = vec![0; 64 << 10];
        let mut heard = String::new();
        loop {
            match self.0.recv(&mut bytes) {
                Ok(length) => {
                    let event = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    let has = |line: &&str| event.lines().any(|own| own.starts_with(*line));
                    if lines.iter().all(has) {
                        return event;
                    }
                    heard += &event;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{lines:?} do not come ({error}), but:\n{heard}"),
            }
        }
    }
}

/// Nothing of the machine's is in `/run` from here on.
fn own_run() {
    let mount = program("mount", "mount")
        .args(["-t", "tmpfs", "-o", "mode=755", "polyport-test", "/run"])
        .status();
    assert!(mount.expect("mount runs").success());
    fs::create_dir_all(Path::new(JOURNAL).parent().expect("a folder")).expect("made");
}

#[test]
fn the_journal_gets_fields_and_is_found_again_when_it_comes_back() {
    const NAME: &str = "logs::the_journal_gets_fields_and_is_found_again_when_it_comes_back";
    if !namespace::is_inside() {
        return namespace::play(NAME);
    }
    own_run();
    let text = "[daemon]\nlog.target = \"journal\"\nlog.level = \"debug\"\n".to_owned();
    let text = text + &good_service();
    // At the start nobody is there: it serves all the same, and says so once.
    let daemon = Daemon::start("logs-nobody", &text);
    let away =
        daemon.wait_log("error   supervisor: daemon.log.target: nobody takes the log at /run/");
    assert!(away.contains("choose another target"), "{away}");
    Peer::connect(daemon.address("good", 0)).echoes("served\n");
    daemon.finish(&["nobody takes the log at".to_owned()]);

    let mut journal = Journal::begin();
    let daemon = Daemon::start("logs-journal", &text);
    let address = daemon.address("good", 0);
    for _ in 0..2 {
        let mut peer = Peer::connect(address);
        peer.echoes("for a line of the worker\n");
        let event = journal.hears(&[
            "MESSAGE=good/1: connection opened",
            "PRIORITY=7",
            "SYSLOG_IDENTIFIER=polyport",
            "POLYPORT_PROCESS=good/1",
            "POLYPORT_SERVICE=good",
            "POLYPORT_PEER=127.0.0.1:",
        ]);
        assert!(event.contains("POLYPORT_SESSION="), "{event}");
        drop(peer);
        drop(journal);
        fs::remove_file(JOURNAL).expect("it was there");
        // The worker notices first, as nobody else has anything to say.
        Peer::connect(address).echoes("to nobody\n");
        daemon.wait_log("good/1: connection opened");
        daemon.wait_log("nobody takes the log at");
        journal = Journal::begin();
        journal.hears(&[
            "MESSAGE=supervisor: the log reaches its target again",
            "PRIORITY=6",
        ]);
    }
    let metrics = String::from_utf8(daemon.operate(&["metrics"]).stdout).expect("text");
    for name in [
        "polyport_log_lost_total{service=\"good\"}",
        "polyport_supervisor_log_lost_total",
    ] {
        let row = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let lost: u64 = row.and_then(|count| count.parse().ok()).expect("a count");
        assert!(lost > 0, "{name}:\n{metrics}");
    }
    daemon.finish(&["nobody takes the log at".to_owned()]);
}

#[test]
fn standard_error_that_leads_to_the_journal_has_fields_there() {
    const NAME: &str = "logs::standard_error_that_leads_to_the_journal_has_fields_there";
    if !namespace::is_inside() {
        return namespace::play(NAME);
    }
    own_run();
    let journal = Journal::begin();
    let directory = Directory::new("logs-stream");
    let own = |name: &str| directory.path().join(name);
    let text = format!(
        "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\n{}",
        own("run"),
        own("state"),
        good_service()
    );
    fs::write(own("polyport.toml"), text).expect("written");
    for connected in [true, false] {
        let stderr = File::create(own("stderr")).expect("made");
        let facts = stderr.metadata().expect("an open file");
        let (device, mut inode) = (facts.dev(), facts.ino());
        // What systemd says of a parent's standard error does not hold for one that was redirected.
        inode += u64::from(!connected);
        let mut command = polyport();
        command.arg("run").arg("-c").arg(own("polyport.toml"));
        command.env("JOURNAL_STREAM", format!("{device}:{inode}"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let mut child = command.spawn().expect("the daemon");
        if connected {
            journal.hears(&["MESSAGE=supervisor: good/1", "POLYPORT_PROCESS=supervisor"]);
        } else {
            wait_for_text(&own("stderr"), "supervisor: good/1");
        }
        end(&mut child);
        let written = fs::read_to_string(own("stderr")).expect("it is there");
        assert_eq!(written.is_empty(), connected, "{written}");
    }
}

#[test]
fn a_log_file_that_was_moved_away_is_left_by_all_at_sigusr1() {
    let directory = Arc::new(Directory::new("logs-moved"));
    let (file, moved) = (directory.path().join("log"), directory.path().join("log.1"));
    let lines = format!("log.target = \"file\"\nlog.file = {file:?}\nlog.level = \"debug\"\n");
    let daemon = Daemon::start_in(directory, &format!("[daemon]\n{lines}{}", good_service()));
    fs::rename(&file, &moved).expect("moved");
    daemon.signal(daemon.pid(), Signal::SIGUSR1);
    wait_for_text(&file, "the log was reopened");
    Peer::connect(daemon.address("good", 0)).echoes("for a line of the worker\n");
    wait_for_text(&file, "good/1: connection opened");
    let before = fs::read_to_string(&moved).expect("it is there");
    assert!(!before.contains("connection opened"), "{before}");
    daemon.finish(&[]);
}

fn wait_for_text(file: &Path, text: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = fs::read_to_string(file).unwrap_or_default();
        if found.contains(text) {
            return;
        }
        assert!(
            Instant::now() < until,
            "no {text:?} in {}:\n{found}",
            file.display()
        );
        crate::support::looking::again();
    }
}

fn end(child: &mut Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("it lives");
    assert!(child.wait().expect("our child").success());
}
