//! Changes that fail, at every step on their way: what serves afterwards is what served before.
//!
//! State is compared whole: every key in force, and generation and pid of every worker. What a row
//! breaks is chosen so that it breaks every time; where a child has to be caught in the act, it is
//! one that waits, or the change is asked for again until one was caught.

#[cfg(target_arch = "x86_64")]
#[path = "support/injection.rs"]
mod injection;
#[path = "support/mutation.rs"]
mod mutation;
mod support;

use support::dice;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use support::daemon::{Daemon, Directory, PATIENCE};
use support::fixtures::build_fixture;

const DONE: u64 = 0;
const FAILED: u64 = 1;
const REJECTED: u64 = 5;

const SERVED: &str = "[services.echo]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                      workers = 2\nlimits.idle = \"5m\"\nlimits.connections = 100\n\
                      access.deny = [\"192.0.2.0/24\"]\nsettings.mode = \"stream\"\n";

/// A question on its way to the daemon.
struct Asked(UnixStream);

impl Asked {
    fn of(daemon: &Daemon, request: &Value) -> Asked {
        let mut stream = UnixStream::connect(daemon.socket()).expect("the control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        writeln!(stream, "{request}").expect("asked");
        Asked(stream)
    }

    fn has_answer(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(1)
    }

    /// The exit code, and the document or the complaint.
    fn answer(self) -> (u64, Value) {
        self.heard().expect("an answer")
    }

    /// None if it was sent away without an answer.
    fn heard(self) -> Option<(u64, Value)> {
        let mut line = String::new();
        let read = BufReader::new(self.0).read_line(&mut line);
        if read.expect("heard of in time") == 0 {
            return None;
        }
        let mut reply: Value = serde_json::from_str(&line).expect("JSON");
        let code = reply["exit"].as_u64().expect("a code");
        Some(match reply["error"].take() {
            Value::Null => (code, reply["answer"].take()),
            text => (code, text),
        })
    }
}

fn reload(daemon: &Daemon) -> Asked {
    let request = json!({ "verb": "reload", "wait": true, "dry_run": false });
    Asked::of(daemon, &request)
}

/// At every address, whichever worker a connection goes to.
fn serves(state: &Value) {
    let services = state["services"].as_object().expect("services");
    for url in services.values().filter_map(|it| it["listen"][0].as_str()) {
        let address = url.strip_prefix("tcp://").expect("a port");
        for _ in 0..8 {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.set_read_timeout(Some(PATIENCE)).expect("set");
            stream.write_all(b"served\n").expect("sent");
            stream.read_exact(&mut [0; 7]).expect("echoed");
        }
    }
}

/// Code and text of the last change.
fn last_reload(daemon: &Daemon) -> (u64, Value) {
    let (code, mut outcome) = Asked::of(daemon, &json!({ "verb": "last-reload" })).answer();
    assert_eq!(code, DONE, "{outcome}");
    (
        outcome["exit"].as_u64().expect("a code"),
        outcome["text"].take(),
    )
}

/// Writes the services of the configuration anew; the daemon's own keys stay.
fn write(daemon: &Daemon, services: &[u8]) {
    let path = daemon.directory().join("polyport.toml");
    let text = fs::read(&path).expect("the configuration");
    let text = String::from_utf8_lossy(&text);
    let own = text.lines().take(4).collect::<Vec<_>>().join("\n");
    let whole = [own.as_bytes(), b"\n", services].concat();
    fs::write(path, whole).expect("written");
}

fn keys(daemon: &Daemon) -> Value {
    let (code, answer) = Asked::of(daemon, &json!({ "verb": "show-config" })).answer();
    assert_eq!(code, DONE, "{answer}");
    answer["keys"].clone()
}

/// Everything that a change would change.
fn state(daemon: &Daemon) -> Value {
    // What was tried in vain ends in its own time.
    let is_calm = |status: &Value| {
        let services = status["services"].as_object().expect("services");
        let one = |service: &Value| service["generations"].as_array().map(Vec::len) == Some(1);
        status["healthy"] == true && status["removed"] == json!({}) && services.values().all(one)
    };
    let status = daemon.wait_for("calm", is_calm);
    let mut services = status["services"].clone();
    for (_, service) in services.as_object_mut().expect("services") {
        let workers = service["workers"].as_array().expect("workers");
        let workers: Vec<Value> = workers
            .iter()
            .map(|worker| json!([worker["pid"], worker["generation"], worker["state"]]))
            .collect();
        *service = json!({ "listen": service["listen"], "workers": workers });
    }
    json!({ "keys": keys(daemon), "services": services })
}

/// A child of the supervisor in that role, once there is one.
fn wait_child(daemon: &Daemon, role: &str) -> i32 {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(pid) = child(daemon, role) {
            return pid;
        }
        assert!(Instant::now() < until, "no {role}:\n{}", daemon.log());
        support::looking::again();
    }
}

fn child(daemon: &Daemon, role: &str) -> Option<i32> {
    let pid = daemon.pid();
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).expect("the supervisor lives");
    let is_it = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').nth(2) == Some(role)
    };
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(is_it)
}

fn end(pid: i32) {
    // Gone already is as good.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

fn service(plugin: &str, port: u16) -> String {
    format!(
        "[services.new]\nplugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:{port}\"]\n\
             workers = 1\n"
    )
}

fn with(fixture: &str) -> String {
    let plugin = build_fixture(fixture);
    let changed = SERVED.replace("\"5m\"", "\"6m\"").replace("stream", "line");
    changed + &service(plugin.to_str().expect("a path"), 0)
}

#[test]
fn whatever_breaks_a_change_leaves_what_served() {
    let daemon = Daemon::start("reload-broken", SERVED);
    let before = state(&daemon);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    for (what, services, reason) in [
        ("no TOML", "[services".to_owned(), "polyport.toml"),
        ("an unknown key", SERVED.replace("idle", "idel"), "idel"),
        (
            "port busy",
            SERVED.to_owned() + &service("echo", port),
            "in use",
        ),
        (
            "no plugin",
            SERVED.to_owned() + &service("nobody", 0),
            "/nobody.so: it does not exist\\n  fix: install the plugin there",
        ),
        ("check refuses", with("starts-check_refuses"), "no folder"),
        (
            "candidate refuses",
            with("starts-create_refuses"),
            "the database is away",
        ),
        ("candidate dies", with("starts-create_segfaults"), "new"),
        ("candidate never ready", with("starts-create_sleeps"), "new"),
    ] {
        write(&daemon, services.as_bytes());
        let (code, text) = reload(&daemon).answer();
        assert_eq!(code, REJECTED, "{what}: {text}");
        assert!(text.to_string().contains(reason), "{what}: {text}");
        assert_eq!(state(&daemon), before, "{what}");
    }
    write(&daemon, SERVED.as_bytes());
    let (code, text) = reload(&daemon).answer();
    assert_eq!(code, DONE, "{text}");
    assert_eq!(state(&daemon), before);
    let errors = ["rejected", "new", "killed"].map(str::to_owned);
    daemon.finish(&errors);
}

#[test]
fn the_file_of_a_unix_socket_goes_by_a_change_that_is_made_and_by_no_other() {
    let folder = Directory::new("reload-file");
    let path = folder.path().join("socket");
    let socket = |keys: &str| {
        let listen = format!("listen = [\"unix:{}\"]", path.display());
        format!("[services.echo]\nplugin = \"echo\"\n{listen}\nworkers = 1\n{keys}\n")
    };
    let daemon = Daemon::start("reload-file", &socket("socket.mode = \"0600\""));
    let look = || fs::metadata(&path).expect("it is there");
    let made = look();
    let refuses = build_fixture("starts-create_refuses");
    let broken = service(refuses.to_str().expect("a path"), 0);
    // Only root can give a file away; to others it is refused, and nothing changes.
    let given = socket("socket.mode = \"0644\"\nsocket.owner = \"daemon\"\nsocket.group = \"bin\"");
    let own = (made.uid(), made.gid());
    let (given_code, mode, owners) = match nix::unistd::geteuid().is_root() {
        true => (DONE, 0o644, (1, 2)),
        false => (REJECTED, 0o640, own),
    };
    let public = socket("socket.mode = \"0666\"") + &broken;
    for (services, code, mode, owners) in [
        (socket("socket.mode = \"0640\""), DONE, 0o640, own),
        (given, given_code, mode, owners),
        (public, REJECTED, mode, owners),
        (socket("socket.mode = \"0606\""), DONE, 0o606, own),
    ] {
        write(&daemon, services.as_bytes());
        let (found, text) = reload(&daemon).answer();
        assert_eq!(found, code, "{services}: {text}");
        let now = look();
        let found = (now.mode() & 0o7777, (now.uid(), now.gid()), now.ino());
        assert_eq!(found, (mode, owners, made.ino()), "{services}");
        UnixStream::connect(&path).expect("it listens");
    }
    daemon.finish(&["rejected", "new"].map(str::to_owned));
}

#[test]
fn a_probe_that_is_killed_rejects_the_change() {
    let daemon = Daemon::start("reload-probe", SERVED);
    let before = state(&daemon);
    write(&daemon, with("probes-check_sleeps").as_bytes());
    let asked = reload(&daemon);
    end(wait_child(&daemon, "probe"));
    let (code, text) = asked.answer();
    assert_eq!(code, REJECTED, "{text}");
    assert!(text.to_string().contains("check_sleeps"), "{text}");
    assert_eq!(state(&daemon), before);
    daemon.finish(&["rejected".to_owned()]);
}

#[test]
fn a_check_that_is_killed_rejects_the_change() {
    let daemon = Daemon::start("reload-check", SERVED);
    let before = state(&daemon);
    // Enough to read that it can be caught reading.
    let folder = daemon.directory().join("conf.d");
    fs::create_dir(&folder).expect("made");
    for nth in 0..16 {
        let text = "# nothing is said here\n".repeat(40_000);
        fs::write(folder.join(format!("{nth}.toml")), text).expect("written");
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let asked = reload(&daemon);
        let pid = loop {
            let pid = child(&daemon, "check");
            if pid.is_some() || asked.has_answer() {
                break pid;
            }
        };
        pid.into_iter().for_each(end);
        let (code, text) = asked.answer();
        assert_eq!(state(&daemon), before);
        if code == REJECTED {
            assert!(text.to_string().contains("the check ended by"), "{text}");
            break;
        }
        assert_eq!(code, DONE, "{text}");
        assert!(Instant::now() < until, "no check was caught in the act");
    }
    daemon.finish(&["rejected".to_owned()]);
}

#[test]
fn a_daemon_that_stops_in_the_middle_says_so_and_ends() {
    let mut daemon = Daemon::start("reload-stop", SERVED);
    write(&daemon, with("probes-check_sleeps").as_bytes());
    let asked = reload(&daemon);
    wait_child(&daemon, "probe");
    daemon.signal(daemon.pid(), Signal::SIGTERM);
    let (code, text) = asked.answer();
    assert_eq!(code, FAILED, "{text}");
    assert!(text.to_string().contains("stopping"), "{text}");
    assert_eq!(daemon.wait(), 0);
    daemon.finish(&["rejected".to_owned()]);
}

#[test]
fn plugins_that_do_their_worst_while_they_are_checked_are_named_and_rejected() {
    let daemon = Daemon::start("reload-worst", SERVED);
    let before = state(&daemon);
    let worst = [
        "constructor_segfaults",
        "constructor_exits",
        "check_segfaults",
        "check_aborts",
        "check_exits",
        "check_loops",
        "check_allocates",
        "check_forks",
        "check_closes_descriptors",
    ];
    // The first change lets the supervisor grow to what it needs.
    write(&daemon, with("starts-check_refuses").as_bytes());
    assert_eq!(reload(&daemon).answer().0, REJECTED);
    let resident = resident_kib(daemon.pid());
    let mut services = SERVED.to_owned();
    for case in worst {
        let plugin = build_fixture(&format!("probes-{case}"));
        let plugin = plugin.to_str().expect("a path");
        services += &service(plugin, 0).replace("services.new", &format!("services.{case}"));
    }
    write(&daemon, services.as_bytes());
    let (code, text) = reload(&daemon).answer();
    assert_eq!(code, REJECTED, "{text}");
    for case in worst {
        let named = format!("probes-{case}.so");
        assert!(
            text.to_string().contains(&named),
            "{named} is not named: {text}"
        );
    }
    assert_eq!(state(&daemon), before);
    let grown = resident_kib(daemon.pid()).saturating_sub(resident);
    assert!(grown < 1024, "the supervisor has grown by {grown} KiB");
    daemon.finish(&["rejected".to_owned()]);
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a number").parse().expect("a number")
}

/// It is rejected and nothing has changed, or it is what serves.
#[test]
fn any_configuration_is_taken_whole_or_not_at_all() {
    let daemon = Daemon::start("reload-mutated", SERVED);
    let mut now = state(&daemon);
    let (mut taken, mut rejected) = (0, 0);
    let mut play = |bytes: &[u8]| {
        write(&daemon, bytes);
        let text = String::from_utf8_lossy(bytes).into_owned();
        match reload(&daemon).answer() {
            (REJECTED, _) => {
                rejected += 1;
                assert_eq!(state(&daemon), now, "{text}");
            }
            (DONE, outcome) => {
                taken += 1;
                now = state(&daemon);
                let diff = daemon.operate(&["config", "diff"]);
                let diff = String::from_utf8_lossy(&diff.stdout).into_owned();
                assert!(diff.contains("in force"), "{text}{outcome}{diff}");
            }
            (code, answer) => panic!("exit {code}: {answer}\n{text}"),
        }
    };
    mutation::each("configurations", &[SERVED], b"\n\"=[].#90a", 40, &mut play);
    // The soak leaves out no byte at which it could be cut.
    let each = match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => 1,
        None => 13,
    };
    for length in (0..SERVED.len()).step_by(each) {
        play(&SERVED.as_bytes()[..length]);
    }
    assert!(
        taken > 0 && rejected > 0,
        "{taken} taken, {rejected} rejected"
    );
    // With as much as at the start, nothing may be left over.
    write(&daemon, SERVED.as_bytes());
    let (code, text) = reload(&daemon).answer();
    assert_eq!(code, DONE, "{text}");
    daemon.finish(&["rejected".to_owned()]);
}

/// The supervisor's first call that can fail does, then the second, and so on, until a change has made
/// all of its calls: whatever fails, and when, what serves is the old or the new. POLYPORT_SOAK=1 leaves
/// out none.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_change_during_which_a_call_fails_is_made_whole_or_not_at_all() {
    let each = match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => 1,
        None => 5,
    };
    let plugin = support::plugins::smallest();
    let plugin = plugin.to_str().expect("a path");
    let own = "[daemon]\ndrain_timeout = \"1s\"\n";
    let one = own.to_owned() + &service(plugin, 0);
    let two =
        one.replace("workers = 1", "workers = 2") + &service(plugin, 0).replace("new", "other");
    let daemon = Daemon::start("reload-calls", &one);
    // How many workers the one has, and whether there is the other.
    let shape = |state: &Value| {
        let services = &state["services"];
        let workers = services["new"]["workers"].as_array().map(Vec::len);
        assert_eq!(
            state["keys"]["services.new.workers"],
            json!(workers),
            "{state:#}"
        );
        (workers, !services["other"].is_null())
    };
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for (from, to, wanted) in [
        (&one, &two, (Some(2), true)),
        (&two, &one, (Some(1), false)),
    ] {
        for nth in (1..).step_by(each) {
            daemon.write_config(from);
            let (code, text) = reload(&daemon).answer();
            assert_eq!(code, DONE, "{text}");
            let before = state(&daemon);
            daemon.write_config(to);
            let injection = injection::Injection::begin(daemon.pid(), nth);
            let answer = reload(&daemon).heard();
            let failed = injection.end(|| drop(daemon.status()));
            // What failed may have been the answer.
            let (code, text) = answer.unwrap_or_else(|| last_reload(&daemon));
            let after = state(&daemon);
            match code {
                DONE => assert_eq!(shape(&after), wanted, "{nth} {failed:?}: {text}"),
                REJECTED | FAILED => assert_eq!(after, before, "{nth} {failed:?}: {text}"),
                _ => panic!("exit {code} after {nth} {failed:?}: {text}"),
            }
            serves(&after);
            match failed {
                Some(call) if code == DONE => made.push(call),
                Some(call) => refused.push(call),
                None => break,
            }
        }
    }
    assert!(made.len() > 3 && refused.len() > 10, "{made:?} {refused:?}");
    // Whatever had failed was told of.
    daemon.finish(&[String::new()]);
}
