//! Starts that fail, and one that follows a supervisor's sudden death: the code and the text say
//! what to do, and nothing is half started.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use super::scene::{Peer, Scene, config, good_service};
use crate::support::daemon::{
    Daemon, Directory, family_of, polyport, run_to_end, wait_busy, wait_gone,
};
use crate::support::fixtures::build_fixture;
use crate::support::plugins::smallest;

const SYSTEM: i32 = 71;

/// One address of two is another daemon's: the other one is not kept either.
#[test]
fn a_port_in_use_stops_the_whole_start() {
    let other = Scene::start("start-port-other", "", &smallest(), "");
    let taken = other.daemon.address("bad", 0);
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("an address");
    let text = config("", &smallest(), "")
        .replacen("127.0.0.1:0", &free.to_string(), 1)
        .replacen("127.0.0.1:0", &taken.to_string(), 1);
    let directory = Directory::new("start-port");
    let (code, said) = Daemon::refuse_in(&directory, &text);
    assert_eq!(code, SYSTEM, "{said}");
    let expected =
        format!("services.bad.listen: cannot listen on tcp://{taken}: the address is in use");
    assert!(said.contains(&expected), "{said}");
    TcpListener::bind(free).expect("nobody holds the address of the other service");
    assert!(!directory.path().join("run/control.sock").exists());
    other.finish(&[]);
}

#[test]
fn a_second_daemon_in_the_same_directory_is_refused() {
    let scene = Scene::start("start-lock", "", &smallest(), "");
    let output = scene.daemon.operate(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(SYSTEM), "{said}");
    let pid = scene.daemon.pid();
    assert!(
        said.contains(&format!("another daemon (pid {pid}) already uses ")),
        "{said}"
    );
    assert!(said.contains("polyport stop"), "{said}");
    scene.finish(&[]);
}

/// Rows of what is in the way, as a file where a folder is to be, and whose key is named.
#[test]
fn a_directory_that_cannot_be_made_stops_the_start() {
    for (in_the_way, key) in [
        ("run", "daemon.run_dir: cannot make "),
        ("state", "daemon.state_dir: cannot make "),
    ] {
        let directory = Directory::new(&format!("start-{in_the_way}"));
        fs::write(directory.path().join(in_the_way), "").expect("written");
        let (code, said) = Daemon::refuse_in(&directory, &config("", &smallest(), ""));
        assert_eq!(code, SYSTEM, "{said}");
        assert!(said.contains(key), "{said}");
        assert!(said.contains("choose another"), "{said}");
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_stops_the_start() {
    let lines = "log.target = \"file\"\nlog.file = \"/proc/nowhere/log\"\n";
    let (code, said) = Daemon::refuse("start-log", &config(lines, &smallest(), ""));
    assert_eq!(code, SYSTEM, "{said}");
    assert!(
        said.contains("daemon.log.file: cannot open /proc/nowhere/log: "),
        "{said}"
    );
}

#[test]
fn a_log_file_on_a_full_disk_costs_the_log_and_nothing_else() {
    let lines = "log.target = \"file\"\nlog.file = \"/dev/full\"\n";
    let scene = Scene::start("start-full", lines, &smallest(), "");
    scene.bad().echoes("nobody writes this down\n");
    scene.finish(&[]);
}

#[test]
fn a_variable_that_is_no_text_is_nobodys_business() {
    let directory = Directory::new("start-environment");
    let file = directory.path().join("polyport.toml");
    let state = format!(
        "[daemon]\nrun_dir = {0:?}\nstate_dir = {0:?}\n",
        directory.path()
    );
    fs::write(&file, state + &good_service()).expect("written");
    let mut command = polyport();
    command.args(["check", "-c"]).arg(&file);
    command.env("SOMEBODY_ELSES", OsStr::from_bytes(b"\xff\xfe"));
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// Its workers let go of what is open one by one, over half of the time to drain, and then go
/// themselves; a new daemon need not wait for them.
#[test]
fn a_killed_supervisor_leaves_no_connection_in_the_lurch_and_no_process() {
    let text = format!("[daemon]\ndrain_timeout = \"1h\"\n{}", good_service());
    let mut daemon = Daemon::start("start-killed", &text);
    let address = daemon.address("good", 0);
    // One after the other, so that the worker knows them in this order.
    let connected = || {
        let mut peer = Peer::connect(address);
        peer.echoes("before\n");
        peer
    };
    let mut open: Vec<Peer> = (0..4).map(|_| connected()).collect();
    let family = family_of(daemon.pid());
    assert_eq!(family.len(), 1);
    daemon.signal(daemon.pid(), Signal::SIGKILL);
    assert_eq!(daemon.wait(), -1, "ended by a signal");
    assert!(daemon.socket().exists(), "nobody could remove it");

    let successor = daemon.succeed(&text);
    Peer::connect(successor.address("good", 0)).echoes("from the new one\n");
    open.remove(0).is_dropped();
    for peer in &mut open {
        peer.echoes("still\n");
        peer.finishes();
        peer.is_dropped();
    }
    for pid in family {
        wait_gone(pid);
    }
    successor.finish(&[]);
}

/// A plugin that holds its worker's thread holds up nobody but its own service, and not for ever.
#[test]
fn a_worker_stuck_in_its_plugin_does_not_outlive_its_supervisor_for_long() {
    let daemon_keys = "hang_timeout = \"1s\"\ndrain_timeout = \"100ms\"\n";
    let text = config(daemon_keys, &build_fixture("rude-loop"), "");
    let mut daemon = Daemon::start("start-stuck", &text);
    let pid = daemon.worker_pids("bad")[0];
    Peer::connect(daemon.address("bad", 0)).say("!");
    wait_busy(pid);
    daemon.signal(daemon.pid(), Signal::SIGKILL);
    assert_eq!(daemon.wait(), -1, "ended by a signal");
    wait_gone(pid);
}

/// Somebody without privileges, and a port that needs one.
#[test]
fn a_port_that_needs_a_privilege_is_refused_with_the_way_to_it() {
    const NOBODY: u32 = 65_534;
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim() == "0") {
        // Containers are often set up so that no port needs one; the text has a test of its own.
        return;
    }
    let directory = Directory::new("start-privilege");
    let path = |name: &str| directory.path().join(name);
    // Where the tests are built need not be open to others.
    fs::copy(env!("CARGO_BIN_EXE_polyport"), path("polyport")).expect("copied");
    fs::copy(smallest(), path("low.so")).expect("copied");
    let text = format!(
        "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\n[services.low]\nplugin = {:?}\n\
         listen = [\"tcp://127.0.0.1:1\"]\n",
        path("run"),
        path("state"),
        path("low.so")
    );
    fs::write(path("polyport.toml"), text).expect("written");
    let mut command = Command::new(path("polyport"));
    command.arg("run").arg("-c").arg(path("polyport.toml"));
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("given");
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = run_to_end(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(SYSTEM), "{said}");
    for part in ["services.low.listen", "127.0.0.1:1", "CAP_NET_BIND_SERVICE"] {
        assert!(said.contains(part), "{part} is missing from: {said}");
    }
}
