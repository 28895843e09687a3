//! The control socket under people who mean no good: whoever asks in order is answered all the same.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use support::daemon::{Daemon, run_to_end};
use support::namespace;

const SERVED: &str = "[services.echo]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                      workers = 1\n";

fn call(daemon: &Daemon) -> UnixStream {
    UnixStream::connect(daemon.socket()).expect("the control socket")
}

fn is_answered(daemon: &Daemon) {
    assert_eq!(daemon.status()["healthy"], true, "{}", daemon.log());
}

#[test]
fn garbage_silence_and_slow_readers_keep_nobody_out() {
    let daemon = Daemon::start("control-garbage", SERVED);
    let frames = [
        &b"\n"[..],
        b"\xff\xfe\x00\n",
        b"{\"verb\":\"fly\"}\n",
        b"[[[[[[[[\n",
        b"{\"verb\":\"scale\",\"service\":1}\n",
    ];
    for round in 0..10_000 {
        let mut caller = call(&daemon);
        // Who is sent away meanwhile has nobody to write to.
        let _ = caller.write_all(frames[round % frames.len()]);
        let mut reply = String::new();
        let _ = caller.read_to_string(&mut reply);
        assert!(!reply.contains("\"exit\":0"), "{reply}");
        if round % 1_000 == 0 {
            is_answered(&daemon);
        }
    }
    let half: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut caller = call(&daemon);
            let _ = caller.write_all(b"{\"verb\":\"sta");
            caller
        })
        .collect();
    is_answered(&daemon);
    let slow: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut caller = call(&daemon);
            let _ = caller.write_all(b"{\"verb\":\"metrics\"}\n");
            caller
        })
        .collect();
    is_answered(&daemon);
    let mut silent = Vec::new();
    for nth in 0..1_000 {
        silent.push(call(&daemon));
        if nth % 100 == 0 {
            is_answered(&daemon);
        }
    }
    is_answered(&daemon);
    drop((half, slow, silent));
    daemon.finish(&[]);
}

#[test]
fn who_asks_decides_what_may_be_asked() {
    if !namespace::is_root() {
        // Nobody else can become somebody else; the rule itself has a test beside it.
        return;
    }
    const SOMEBODY: u32 = 65_534;
    let closed = Daemon::start("control-closed", SERVED);
    let open = "[daemon]\ncontrol.operators = [\"root\"]\n";
    let open = Daemon::start("control-open", &format!("{open}{SERVED}"));
    let operators = "[daemon]\ncontrol.operators = [\"nobody\"]\n";
    let operated = Daemon::start("control-operated", &format!("{operators}{SERVED}"));
    for (daemon, verb, code, part) in [
        (&closed, "status", 4, "no permission"),
        (
            &open,
            "status",
            4,
            "you are uid 65534, with the role nobody",
        ),
        (&open, "stop", 4, "is for root and the daemon's own user"),
        (&operated, "status", 0, "healthy"),
        (&operated, "log-level debug", 0, "the log level is debug"),
        (&operated, "stop", 4, "with the role operate"),
    ] {
        // Whoever this is may not be able to reach the folder of the build.
        let program = daemon.directory().join("polyport");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_polyport"), &program).expect("copied");
        }
        let mut command = Command::new(program);
        command
            .args(verb.split_whitespace())
            .arg("--socket")
            .arg(daemon.socket());
        command.current_dir("/").uid(SOMEBODY).gid(SOMEBODY);
        let output = run_to_end(command);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{verb}: {said}");
        assert!(said.contains(part), "{verb}: {said}");
    }
    nobody_holds_places(&open, SOMEBODY);
    let line = operated.wait_log("`log-level` was asked by uid 65534");
    for part in ["gid=65534", "comm=polyport", "role=operate", "result=done"] {
        assert!(line.contains(part), "{part} is missing from {line}");
    }
    let line = operated.wait_log("`stop` was asked by uid 65534");
    assert!(line.contains("exit 4"), "{line}");
    for daemon in [closed, open, operated] {
        daemon.finish(&[]);
    }
}

/// A crowd without a role that says nothing, as one that stays and one that comes again and again.
fn nobody_holds_places(daemon: &Daemon, uid: u32) {
    let script = "import socket, sys\n\
                  calls = []\n\
                  for n in range(2000):\n\
                  \x20   call = socket.socket(socket.AF_UNIX)\n\
                  \x20   call.connect(sys.argv[1])\n\
                  \x20   calls.append(call)\n\
                  \x20   if n > 500: calls.pop(0).close()\n\
                  \x20   if n == 500: print('crowded', flush=True)\n\
                  print('done', flush=True)\n\
                  sys.stdin.read()\n";
    // Where Debian puts it; another one may lie where only whoever runs the tests can go.
    let mut command = Command::new("/usr/bin/python3");
    let before = descriptors(daemon);
    command.args(["-c", script]).arg(daemon.socket());
    command.current_dir("/").uid(uid).gid(uid);
    let mut crowd = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sudo apt-get install -y python3");
    let mut said = BufReader::new(crowd.stdout.take().expect("piped")).lines();
    for wanted in ["crowded", "done"] {
        assert_eq!(said.next().expect("a line").expect("text"), wanted);
        for _ in 0..100 {
            is_answered(daemon);
        }
        let held = descriptors(daemon) - before;
        assert!(held <= 4, "{held} of its descriptors are the crowd's");
    }
    drop(crowd.stdin.take());
    assert!(crowd.wait().expect("our child").success());
}

/// Of the supervisor, who is between two callers when it has answered one.
fn descriptors(daemon: &Daemon) -> i64 {
    is_answered(daemon);
    let fds = fs::read_dir(format!("/proc/{}/fd", daemon.pid()));
    fds.expect("it lives").count() as i64
}
