//! Places that are not as the daemon needs them: read-only, full, or taken by something else; and what
//! a service manager says that makes no sense.
//!
//! Each start either serves or says what is wrong and where, with the exit code that keeps a service
//! manager from trying again or not; nothing that was there is lost.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use super::scene::{Peer, good_service};
use crate::support::daemon::{Daemon, Directory, polyport};
use crate::support::namespace;
use crate::support::program::program;

const SYSTEM: i32 = 71;

fn mount(folder: &Path, options: &str) {
    fs::create_dir_all(folder).expect("a folder");
    let status = program("mount", "mount")
        .args(["-t", "tmpfs", "-o", options, "polyport-test"])
        .arg(folder)
        .status();
    assert!(status.expect("mount runs").success());
}

#[test]
fn a_directory_that_is_read_only_or_full_is_named_with_the_remedy() {
    const NAME: &str = "places::a_directory_that_is_read_only_or_full_is_named_with_the_remedy";
    if !namespace::is_inside() {
        return namespace::play(NAME);
    }
    let text = format!("[daemon]\n{}", good_service());
    for (place, options, wanted) in [
        (
            "run",
            "mode=755,ro",
            ["daemon.run_dir: cannot lock ", "ead-only file system"],
        ),
        (
            "state",
            "mode=755,ro",
            ["daemon.state_dir: cannot make ", "ead-only file system"],
        ),
        // Room for folders and for no lock, no socket and no plugin.
        (
            "run",
            "mode=755,nr_inodes=1",
            ["daemon.run_dir: cannot lock ", "o space left"],
        ),
        (
            "state",
            "mode=755,nr_inodes=1",
            ["daemon.state_dir: cannot make ", "o space left"],
        ),
    ] {
        let directory = Directory::new("places-shut");
        mount(&directory.path().join(place), options);
        let (code, said) = Daemon::refuse_in(&directory, &text);
        assert_eq!(code, SYSTEM, "{place}, {options}: {said}");
        for part in wanted {
            assert!(
                said.contains(part),
                "{place}, {options}: {part} is missing from: {said}"
            );
        }
        unmount(&directory.path().join(place));
    }

    // The folders are there from before, and nothing can be written in them any more.
    let directory = Directory::new("places-turned");
    let state = directory.path().join("state");
    mount(&state, "mode=755");
    fs::create_dir(state.join("plugins")).expect("made");
    let remount = program("mount", "mount")
        .args(["-o", "remount,ro"])
        .arg(&state)
        .status();
    assert!(remount.expect("mount runs").success());
    let (code, said) = Daemon::refuse_in(&directory, &text);
    assert_eq!(code, SYSTEM, "{said}");
    assert!(
        said.contains("daemon.state_dir: cannot write in ")
            && said.contains("ead-only file system"),
        "{said}"
    );
    unmount(&state);

    // Folders are there, but no room for a copy of the plugin: its service fails and says so.
    let directory = Arc::new(Directory::new("places-full"));
    mount(&directory.path().join("state"), "mode=755,size=8k");
    let mut daemon = Daemon::start_in(directory.clone(), &text);
    let status = daemon.status();
    let failure = status["services"]["good"]["failure"]
        .as_str()
        .expect("a failure");
    assert!(
        failure.contains("o space left") && failure.contains("state"),
        "{failure}"
    );
    assert_eq!(daemon.operate(&["status"]).status.code(), Some(7));
    // Once there is room, a reload is all it takes.
    let remount = program("mount", "mount")
        .args(["-o", "remount,size=64m"])
        .arg(directory.path().join("state"))
        .status();
    assert!(remount.expect("mount runs").success());
    let reload = daemon.operate(&["reload", "--wait"]);
    assert!(
        reload.status.success(),
        "{}",
        String::from_utf8_lossy(&reload.stderr)
    );
    let listen = daemon.status()["services"]["good"]["listen"][0].clone();
    let address = listen
        .as_str()
        .and_then(|url| url.strip_prefix("tcp://")?.parse().ok());
    Peer::connect(address.expect("an address")).echoes("served after all\n");
    // It has more open than at its start, rightly; the next one has not.
    daemon.restart(&text);
    daemon.finish(&[]);
}

fn unmount(folder: &Path) {
    let status = program("umount", "mount").arg(folder).status();
    assert!(status.expect("umount runs").success());
}

/// A socket that nobody listens on any more, one that somebody else does, and what is no socket.
#[test]
fn what_lies_at_the_control_sockets_place_is_replaced_or_named() {
    for stale in [true, false] {
        let directory = Arc::new(Directory::new("places-socket"));
        let place = directory.path().join("run/control.sock");
        fs::create_dir_all(directory.path().join("run")).expect("made");
        let other = UnixListener::bind(&place).expect("bound");
        let kept = (!stale).then_some(other);
        let daemon = Daemon::start_in(directory, &format!("[daemon]\n{}", good_service()));
        assert_eq!(daemon.status()["services"]["good"]["state"], "serving");
        drop(kept);
        daemon.finish(&[]);
    }
    let directory = Directory::new("places-folder");
    fs::create_dir_all(directory.path().join("run/control.sock/mine")).expect("made");
    let (code, said) = Daemon::refuse_in(&directory, &format!("[daemon]\n{}", good_service()));
    assert_eq!(code, SYSTEM, "{said}");
    assert!(
        said.contains("daemon.run_dir: cannot make ") && said.contains("control.sock"),
        "{said}"
    );
    assert!(
        directory.path().join("run/control.sock/mine").exists(),
        "it was not ours"
    );
}

/// Rows of variables; what belongs to somebody else, or is none, leaves a start as it would have been.
#[test]
fn a_service_manager_that_makes_no_sense_is_no_reason_not_to_serve() {
    let rows: [&[(&str, &str)]; 5] = [
        &[
            ("NOTIFY_SOCKET", "/nowhere/notify"),
            ("WATCHDOG_USEC", "soon"),
        ],
        &[("NOTIFY_SOCKET", "no path"), ("WATCHDOG_USEC", "0")],
        &[("LISTEN_FDS", "many"), ("LISTEN_PID", "1")],
        &[
            ("LISTEN_FDS", "2"),
            ("LISTEN_PID", "1"),
            ("LISTEN_FDNAMES", "a:b"),
        ],
        &[("JOURNAL_STREAM", "journal"), ("WATCHDOG_PID", "-1")],
    ];
    for row in rows {
        let directory = Arc::new(Directory::new("places-variables"));
        let text = format!(
            "[daemon]\nrun_dir = {:?}\nstate_dir = {:?}\n{}",
            directory.path().join("run"),
            directory.path().join("state"),
            good_service()
        );
        fs::write(directory.path().join("polyport.toml"), text).expect("written");
        let mut command = polyport();
        command
            .args(["run", "--json", "-c"])
            .arg(directory.path().join("polyport.toml"));
        command.envs(row.iter().copied());
        let daemon = Daemon::spawned(command, directory);
        Peer::connect(daemon.address("good", 0)).echoes("served\n");
        assert_eq!(
            daemon.status()["services"]["good"]["state"],
            "serving",
            "{row:?}"
        );
        daemon.finish(&[]);
    }
}
