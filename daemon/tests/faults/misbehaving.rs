//! A plugin that was taken over: what it would try first is denied, while it is only looked at and
//! while it serves, and the daemon says so.
//!
//! What a check and the hub are denied, in which no plugin runs, is tried beside the sandbox itself.

use std::thread;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use super::scene::{Peer, Scene, config, good_service, service_table};
use crate::support::daemon::Daemon;
use crate::support::fixtures::build_fixture;

/// How a closed process answers.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Refused,
    Killed,
}
use Answer::{Killed, Refused};

/// What is tried, the answer, and the call that the log names.
const ATTEMPTS: [(&str, Answer, &str); 18] = [
    ("setuid", Refused, "setuid"),
    ("bind", Refused, "socket"),
    ("execve", Refused, "execve"),
    ("ptrace", Killed, ""),
    ("kill", Refused, "kill"),
    ("open", Refused, "openat"),
    ("connect", Refused, "socket"),
    ("write_code", Refused, "mmap"),
    ("raw_socket", Refused, "socket"),
    ("bpf", Killed, ""),
    ("mount", Killed, ""),
    ("unshare", Killed, ""),
    ("code_later", Refused, "mprotect"),
    ("code_in_a_file", Refused, "mmap"),
    ("fork", Refused, "clone"),
    // The same by side doors.
    ("fast_open", Refused, "sendto"),
    ("owner", Refused, "fcntl"),
    ("say_to_a_path", Refused, "socketpair"),
];

#[test]
fn a_probed_plugin_is_denied_what_it_does_not_need() {
    let plugin = build_fixture("misbehaves");
    let tables = ATTEMPTS.iter().map(|(what, _, _)| {
        let settings = format!("[services.{what}.settings]\ntry = \"{what}\"\n");
        service_table(what, &plugin, &settings)
    });
    let text = format!("[daemon]\n{}{}", good_service(), tables.collect::<String>());
    let scene = Scene::of(Daemon::start("misbehaving-probes", &text));
    let status = scene.daemon.status();
    for (what, answer, call) in ATTEMPTS {
        let failure = status["services"][what]["failure"].as_str();
        let failure = failure.unwrap_or_else(|| panic!("{what}: it serves"));
        let told = match answer {
            Refused => format!("{what}: Operation not permitted"),
            Killed => "ended its probe (signal 31 (SIGSYS)".to_owned(),
        };
        assert!(failure.contains(&told), "{what}: {failure}");
        if answer == Refused {
            let reason = format!("the sandbox has refused {call}: ");
            assert!(failure.contains(&reason), "{what}: {failure}");
        }
    }
    scene.finish(&["failed, and stays so"]);
}

/// On a kernel that has Landlock and on one that has not: the list of calls does it alone.
#[test]
fn a_serving_plugin_is_denied_what_it_does_not_need() {
    let plugin = build_fixture("misbehaves");
    let tables = ATTEMPTS
        .iter()
        .map(|(what, _, _)| service_table(what, &plugin, ""));
    let text = format!("[daemon]\n{}{}", good_service(), tables.collect::<String>());
    denies(Scene::of(Daemon::start("misbehaving-workers", &text)));
    let daemon = without_landlock(|| Daemon::start("misbehaving-no-landlock", &text));
    let level = daemon.status()["services"]["open"]["sandbox"].clone();
    assert_eq!(level, "seccomp, no landlock");
    denies(Scene::of(daemon));
}

fn denies(scene: Scene) {
    for (what, answer, call) in ATTEMPTS {
        let mut peer = Peer::connect(scene.daemon.address(what, 0));
        peer.say(&format!("{what}\n"));
        match answer {
            Killed => {
                peer.is_dropped();
                scene.daemon.wait_for("the death to be known", |status| {
                    let death = &status["services"][what]["workers"][0]["last_death"];
                    death
                        .as_str()
                        .is_some_and(|death| death.contains("signal 31 (SIGSYS) in feed"))
                });
            }
            Refused => {
                peer.hears(&format!("{what}: Operation not permitted\n"));
                let line = scene
                    .daemon
                    .wait_log(&format!("{what}/1: the sandbox has refused a system call"));
                assert!(line.ends_with(&format!("call={call}")), "{what}: {line}");
            }
        }
    }
    // One of them has shut its own listener.
    scene.finish(&["worker died", "accept failed"]);
}

#[test]
fn a_kernel_without_landlock_serves_nothing_that_requires_all_of_the_sandbox() {
    let text = format!("[daemon]\nsandbox = \"required\"\n{}", good_service());
    let daemon = without_landlock(|| Daemon::start("misbehaving-required", &text));
    let status = daemon.wait_for("the service to fail", |status| {
        status["services"]["good"]["failure"].is_string()
    });
    let failure = status["services"]["good"]["failure"].as_str();
    let told = "the sandbox cannot be closed: landlock: not in this kernel\n  fix: use Linux 6.12 or newer";
    assert!(
        failure.is_some_and(|failure| failure.contains(told)),
        "{status}"
    );
    assert_eq!(daemon.operate(&["status"]).status.code(), Some(7));
    daemon.finish(&["the sandbox cannot be closed".to_owned()]);
}

/// What the daemon's own thread and its children see is a kernel that was built without it.
fn without_landlock<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let filter = SeccompFilter::new(
        [(libc::SYS_landlock_create_ruleset, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        std::env::consts::ARCH.try_into().expect("it is known"),
    );
    let program = BpfProgram::try_from(filter.expect("a filter")).expect("it fits");
    thread::scope(|scope| {
        let started = scope.spawn(|| {
            apply_filter(&program).expect("closed");
            start()
        });
        started.join().expect("no panic")
    })
}

/// What is declared is granted, is shown, and is all that is granted.
#[test]
fn a_plugin_is_granted_what_it_declares() {
    let refused = "Operation not permitted";
    for (case, needs, rows) in [
        (
            "reads",
            "read /usr/include",
            [
                ("own", "done"),
                ("write", refused),
                ("connect", refused),
                ("fork", refused),
            ],
        ),
        (
            "connects",
            "connect",
            [
                ("connect", "Connection refused"),
                ("bind", refused),
                ("raw_socket", refused),
                ("open", refused),
            ],
        ),
    ] {
        let plugin = build_fixture(&format!("misbehaves-{case}"));
        let scene = Scene::start(&format!("misbehaving-{case}"), "", &plugin, "");
        let status = scene.daemon.status();
        assert_eq!(status["services"]["bad"]["needs"][0], needs, "{status}");
        for (what, answer) in rows {
            let mut peer = scene.bad();
            peer.say(&format!("{what}\n"));
            peer.hears(&format!("{what}: {answer}\n"));
        }
        // A foreign file is Landlock's to refuse, where the kernel has it.
        let level = status["services"]["bad"]["sandbox"]
            .as_str()
            .expect("a level");
        if case == "reads" {
            let answer = match level.contains("no landlock") {
                true => "done",
                false => "Permission denied",
            };
            let mut peer = scene.bad();
            peer.say("open\n");
            peer.hears(&format!("open: {answer}\n"));
        }
        scene.finish(&[]);
    }
}

/// For whoever writes a plugin: all of it works, and the log says what would not.
#[test]
fn a_watched_plugin_may_do_all_and_is_told_of() {
    let plugin = build_fixture("misbehaves");
    let text = config("sandbox = \"log\"\n", &plugin, "");
    let scene = Scene::of(Daemon::start("misbehaving-watched", &text));
    for (what, answer, call, need) in [
        ("open", "done", "openat", "files_read or files_write"),
        ("connect", "Connection refused", "socket", "connect"),
        ("write_code", "done", "mmap", "exec or jit"),
    ] {
        let mut peer = scene.bad();
        peer.say(&format!("{what}\n"));
        peer.hears(&format!("{what}: {answer}\n"));
        let line = scene.daemon.wait_log(&format!("call={call}"));
        let told = format!("would refuse a system call: the plugin's needs have to declare {need}");
        assert!(line.contains(&told), "{what}: {line}");
    }
    let status = scene.daemon.status();
    assert_eq!(status["services"]["bad"]["sandbox"], "open, and logged");
    scene.finish(&[]);
}
