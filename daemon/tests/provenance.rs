//! Whose code is loaded: the file that was looked at, in spite of who swaps names meanwhile, and the
//! one that is pinned, if one is.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::memfd::{MFdFlags, memfd_create};
use polyport::plugin_host::{load, take};
use serde_json::{Value, json};

use support::daemon::{Daemon, Directory, PATIENCE, polyport, run_to_end};
use support::fixtures::build_fixture;

/// A folder with two plugins that may be loaded, and files and folders that may not be used.
struct Place {
    directory: Directory,
    hashes: [(String, &'static str); 2],
}

impl Place {
    fn new(name: &str) -> Place {
        let directory = Directory::new(name);
        let at = |file: &str| directory.path().join(file);
        for folder in ["open", "state"] {
            fs::create_dir(at(folder)).expect("made");
        }
        let install = |fixture: &str, file: &str, mode: u32| {
            fs::copy(build_fixture(fixture), at(file)).expect("installed");
            mode_of(&at(file), mode);
        };
        install("table", "one.so", 0o644);
        install("rude", "two.so", 0o644);
        install("serves", "written-by-others.so", 0o664);
        install("serves", "open/three.so", 0o644);
        mode_of(&at("open"), 0o777);
        let own = [nix::unistd::getuid().as_raw()];
        let hashes = [("one.so", "table"), ("two.so", "rude")].map(|(file, name)| {
            let stored = take(&at(file), &at("state"), &own).expect("taken");
            (stored.hash, name)
        });
        Place { directory, hashes }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

fn mode_of(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Said when it is dropped, so after a panic too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets `link` lead to one after the other, as fast as names can change, until the end of `work`.
fn while_swapped<T>(link: &Path, leads_to: &[PathBuf], work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let next = link.with_extension("next");
    symlink(&leads_to[0], link).expect("linked");
    thread::scope(|scope| {
        scope.spawn(|| {
            for target in leads_to.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                symlink(target, &next).expect("linked");
                fs::rename(&next, link).expect("swapped");
            }
        });
        let _end = End(&over);
        work()
    })
}

#[test]
fn a_link_that_is_swapped_never_leads_to_what_was_not_checked() {
    let rounds = match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => 10_000,
        None => 300,
    };
    let place = Place::new("provenance-swapped");
    let (link, state) = (place.path("link.so"), place.path("state"));
    let own = [nix::unistd::getuid().as_raw()];
    let leads_to = [
        "one.so",
        "written-by-others.so",
        "two.so",
        "open/three.so",
        "one.so",
        "open/../open/three.so",
        "two.so",
        "nowhere.so",
        "open",
    ];
    let leads_to = leads_to.map(|file| place.path(file));
    let (mut taken, mut refused) = ([0; 2], 0);
    while_swapped(&link, &leads_to, || {
        // Until all of it has happened, or the test has shown nothing.
        for round in 0.. {
            if round >= rounds && refused > 0 && taken.iter().all(|count| *count > 0) {
                return;
            }
            let Ok(stored) = take(&link, &state, &own) else {
                refused += 1;
                continue;
            };
            let known = place
                .hashes
                .iter()
                .position(|(hash, _)| *hash == stored.hash);
            let nth = known.expect("one of the two that nobody else can write");
            taken[nth] += 1;
            let loaded = load(&stored, None).expect("what was taken is there");
            assert_eq!(loaded.name(), place.hashes[nth].1);
        }
    });
}

#[test]
fn what_is_no_file_that_stays_is_not_taken() {
    let place = Place::new("provenance-odd");
    let memory = memfd_create(c"plugin", MFdFlags::MFD_CLOEXEC).expect("made");
    let bytes = fs::read(place.path("one.so")).expect("read");
    fs::File::from(memory.try_clone().expect("twice"))
        .write_all(&bytes)
        .expect("written");
    let memory = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    let own = [nix::unistd::getuid().as_raw()];
    for path in [
        memory,
        place.path("open/three.so"),
        place.path("open/../open/three.so"),
        place.path("state/../written-by-others.so"),
        place.path("open"),
        PathBuf::from("/dev/null"),
    ] {
        let taken = take(&path, &place.path("state"), &own);
        assert!(taken.is_err(), "{}: {taken:?}", path.display());
    }
    let roundabout = place.path("state/../one.so");
    assert!(take(&roundabout, &place.path("state"), &own).is_ok());
}

fn service(plugin: &Path, lines: &str) -> String {
    format!(
        "[services.bad]\nplugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n{lines}"
    )
}

fn pin(place: &Place, nth: usize) -> String {
    format!("sha256 = \"{}\"\n", place.hashes[nth].0)
}

fn reload(daemon: &Daemon) -> (u64, Value) {
    let mut stream = UnixStream::connect(daemon.socket()).expect("the control socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let request = json!({ "verb": "reload", "wait": true, "dry_run": false });
    writeln!(stream, "{request}").expect("asked");
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("answered");
    let reply: Value = serde_json::from_str(&line).expect("JSON");
    (reply["exit"].as_u64().expect("a code"), reply)
}

/// "rude" echoes.
fn echoes(daemon: &Daemon) {
    let mut peer = TcpStream::connect(daemon.address("bad", 0)).expect("connected");
    peer.set_read_timeout(Some(PATIENCE)).expect("set");
    peer.write_all(b"hello\n").expect("sent");
    peer.shutdown(Shutdown::Write).expect("finished");
    let mut heard = String::new();
    peer.read_to_string(&mut heard).expect("heard");
    assert_eq!(heard, "hello\n");
}

/// A daemon that is told to load anew while the name of its plugin is swapped serves what is pinned.
#[test]
fn a_daemon_serves_what_is_pinned_and_refuses_the_rest() {
    const REJECTED: u64 = 5;
    let place = Place::new("provenance-daemon");
    let link = place.path("link.so");
    symlink(place.path("two.so"), &link).expect("linked");
    let text = format!("[daemon]\n{}", service(&link, &pin(&place, 1)));
    let daemon = Daemon::start("provenance-daemon-run", &text);
    echoes(&daemon);
    fs::remove_file(&link).expect("removed");
    let leads_to = ["one.so", "two.so"].map(|file| place.path(file));
    let before = daemon.worker_pids("bad");
    let mut rejected = 0;
    while_swapped(&link, &leads_to, || {
        for _ in 0..20 {
            let (exit, reply) = reload(&daemon);
            if exit == REJECTED {
                let text = reply["error"].as_str().expect("a reason");
                assert!(text.contains(" is pinned\n  fix: install"), "{text}");
                rejected += 1;
            } else {
                assert_eq!(exit, 0, "{reply}");
            }
            echoes(&daemon);
        }
    });
    fs::remove_file(&link).expect("removed");
    symlink(place.path("one.so"), &link).expect("linked");
    assert_eq!(reload(&daemon).0, REJECTED);
    echoes(&daemon);
    assert_eq!(daemon.worker_pids("bad"), before, "{rejected} rejected");
    daemon.finish(&["reload".to_owned()]);
}

#[test]
fn verify_tells_what_is_pinned_what_is_trusted_and_what_is_neither() {
    let place = Place::new("provenance-verify");
    let config = place.path("polyport.toml");
    let other = format!("sha256 = \"{}\"\n", "0".repeat(64));
    for (plugin, lines, code, told) in [
        ("two.so", pin(&place, 1), 0, "two.so is what is pinned\n"),
        (
            "two.so",
            String::new(),
            0,
            "two.so is trusted, and not pinned\n  sha256 = \"",
        ),
        ("two.so", other, 1, "00 is pinned\n  fix: "),
        (
            "open/three.so",
            String::new(),
            1,
            "is not trusted: others than its owner",
        ),
        ("nowhere.so", String::new(), 1, "does not exist\n  fix: "),
    ] {
        let path = place.directory.path();
        let text = format!(
            "[daemon]\nplugin_dir = {path:?}\nrun_dir = {path:?}\nstate_dir = {path:?}\n{}",
            service(&place.path(plugin), &lines)
        );
        fs::write(&config, text).expect("written");
        let mut command = polyport();
        command.args(["plugins", "verify", "-c"]).arg(&config);
        let output = run_to_end(command);
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{plugin}: {said}");
        assert!(said.contains(told), "{plugin}: {said}");
    }
}
