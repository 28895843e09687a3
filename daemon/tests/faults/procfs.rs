//! What the kernel says of the daemon's processes: which code each has mapped, what it holds, and
//! what it has given up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};

use super::scene::{Scene, config, copy_of_smallest};
use crate::support::daemon::{Daemon, Directory, threads_of};
use crate::support::plugins::smallest;

/// Only root can look into a process that has closed itself in.
fn readable() -> &'static str {
    if Uid::effective().is_root() {
        ""
    } else {
        "sandbox = \"off\"\n"
    }
}

#[test]
fn a_worker_maps_the_stored_code_and_the_supervisor_none() {
    let scene = Scene::start("procfs-maps", readable(), &smallest(), "workers = 3\n");
    let content = fs::read(smallest()).expect("read");
    let hash: String = Sha256::digest(content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let mut bases = BTreeSet::from([code_base(scene.daemon.pid())]);
    for pid in scene.daemon.worker_pids("bad") {
        let libraries = mapped(pid, "/plugins/");
        assert_eq!(libraries.len(), 1, "{libraries:?}");
        let stored = scene.daemon.directory().join("state/plugins");
        let library = libraries.first().expect("one");
        assert!(Path::new(library).starts_with(&stored), "{library}");
        assert!(
            library.ends_with(&format!("-{}.so", &hash[..16])),
            "{library}"
        );
        bases.insert(code_base(pid));
    }
    assert_eq!(
        bases.len(),
        4,
        "two processes have their code at the same address"
    );
    assert!(mapped(scene.daemon.pid(), "/plugins/").is_empty());
    assert!(mapped(scene.daemon.pid(), "smallest").is_empty());
    assert_eq!(threads_of(scene.daemon.pid()), 1);
    scene.finish(&[]);
}

#[test]
fn a_worker_has_given_up_privileges_and_cannot_have_them_back() {
    let scene = Scene::start("procfs-status", "", &smallest(), "workers = 2\n");
    for pid in scene.daemon.worker_pids("bad") {
        for (line, expected) in [
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapInh", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
            // The supervisor held all of them back while it forked.
            ("SigBlk", "0000000000000000"),
        ] {
            assert_eq!(status_line(pid, line), expected, "{line} of a worker");
        }
    }
    scene.finish(&[]);
}

#[test]
fn a_worker_holds_what_it_needs_and_nothing_of_its_neighbour() {
    let scene = Scene::start("procfs-fds", readable(), &smallest(), "workers = 2\n");
    let port = scene.daemon.address("bad", 0).port();
    for pid in scene.daemon.worker_pids("bad") {
        let mut listening = 0;
        for link in descriptors(pid) {
            let inode = link
                .strip_prefix("socket:[")
                .map(|rest| rest.trim_end_matches(']'));
            if let Some(found) = inode.and_then(listening_port) {
                assert_eq!(found, port, "a listener of another service");
                listening += 1;
                continue;
            }
            let kinds = [
                "socket:[",
                "anon_inode:[eventpoll]",
                "anon_inode:[eventfd",
                "/memfd:polyport-scoreboard",
            ];
            let known = kinds.iter().any(|kind| link.starts_with(kind));
            assert!(known, "a worker holds {link}");
        }
        assert!(listening > 0, "a worker without a listener");
        let sockets = descriptors(pid)
            .iter()
            .filter(|link| link.starts_with("socket:"))
            .count();
        assert_eq!(
            sockets,
            listening + 1,
            "its listeners, its channel and no other socket"
        );
    }
    scene.finish(&[]);
}

#[test]
fn overwriting_a_plugin_in_place_disturbs_nobody() {
    let folder = Directory::new("procfs-overwritten-input");
    let plugin = copy_of_smallest(folder.path(), "mine.so");
    let scene = Scene::start("procfs-overwritten", readable(), &plugin, "");
    let pid = scene.bad_pid();
    let before = mapped(pid, "/plugins/");
    let mut open = scene.bad();
    open.echoes("before\n");
    fs::write(&plugin, vec![0; 100_000]).expect("overwritten");
    open.echoes("after\n");
    scene.daemon.signal(pid, Signal::SIGKILL);
    scene.wait_restarted(1);
    scene.bad().echoes("from the successor\n");
    assert_eq!(
        mapped(scene.bad_pid(), "/plugins/"),
        before,
        "another code than its generation's"
    );
    scene.finish(&[]);
}

#[test]
fn workers_become_the_user_that_is_named() {
    const NAME: &str = "nobody";
    let user = User::from_name(NAME)
        .expect("the user database")
        .expect("a user everywhere");
    let text = config(&format!("user = \"{NAME}\"\n"), &smallest(), "");
    if !Uid::effective().is_root() {
        // Who cannot do it is told, and nothing serves as somebody else than was asked for.
        let daemon = Daemon::start("procfs-user", &text);
        let status = daemon.status();
        for service in ["good", "bad"] {
            let failure = status["services"][service]["failure"]
                .as_str()
                .expect("failed");
            assert!(failure.contains("start the daemon as root"), "{failure}");
        }
        daemon.finish(&["failed, and stays so".to_owned()]);
        return;
    }
    let scene = Scene::of(Daemon::start("procfs-user", &text));
    for pid in scene.daemon.worker_pids("bad") {
        assert_eq!(
            status_line(pid, "Uid"),
            [user.uid.to_string().as_str(); 4].join("\t")
        );
        assert_eq!(
            status_line(pid, "Gid"),
            [user.gid.to_string().as_str(); 4].join("\t")
        );
        assert_eq!(status_line(pid, "Groups").trim(), "");
        assert_eq!(status_line(pid, "CapEff"), "0000000000000000");
        assert_eq!(status_line(pid, "CapBnd"), "0000000000000000");
    }
    assert_eq!(status_line(scene.daemon.pid(), "Uid"), "0\t0\t0\t0");
    scene.finish(&[]);
}

/// One service's own user stands in place of the daemon's, for that service alone.
#[test]
fn workers_of_a_service_become_the_user_that_it_names() {
    if !Uid::effective().is_root() {
        // What is said then is the case above.
        return;
    }
    let own = "user = \"daemon\"\n";
    let text = config("user = \"nobody\"\n", &smallest(), own);
    let scene = Scene::of(Daemon::start("procfs-own-user", &text));
    for (service, name) in [("good", "nobody"), ("bad", "daemon")] {
        let user = User::from_name(name)
            .expect("the user database")
            .expect("a user everywhere");
        for pid in scene.daemon.worker_pids(service) {
            let four = |id: u32| [id.to_string().as_str(); 4].join("\t");
            assert_eq!(
                status_line(pid, "Uid"),
                four(user.uid.as_raw()),
                "{service}"
            );
            assert_eq!(
                status_line(pid, "Gid"),
                four(user.gid.as_raw()),
                "{service}"
            );
            assert_eq!(status_line(pid, "Groups").trim(), "", "{service}");
        }
    }
    scene.finish(&[]);
}

/// Each is started from the file anew, so what one has given away of its memory is worth nothing for
/// the next.
#[test]
fn fifty_workers_in_a_row_lie_at_fifty_places() {
    let scene = Scene::start("procfs-places", readable(), &smallest(), "workers = 1\n");
    let mut bases = BTreeSet::new();
    for _ in 0..50 {
        let pid = scene.daemon.worker_pids("bad")[0];
        bases.insert(code_base(pid));
        scene.daemon.signal(pid, Signal::SIGKILL);
        scene.daemon.wait_for("another worker", |status| {
            let worker = &status["services"]["bad"]["workers"][0];
            worker["state"] == "serving" && worker["pid"] != pid
        });
    }
    assert_eq!(bases.len(), 50);
    scene.finish(&["bad/1"]);
}

/// Mapped files whose path has this in it.
fn mapped(pid: u32, part: &str) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("readable maps");
    let paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    paths
        .filter(|path| path.contains(part))
        .map(str::to_owned)
        .collect()
}

/// Where the daemon's own program begins.
fn code_base(pid: u32) -> String {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("readable maps");
    let own = maps.lines().find(|line| line.ends_with("/polyport"));
    let start = own.and_then(|line| line.split('-').next());
    start.expect("the program is mapped").to_owned()
}

fn status_line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("alive");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim_start()
        .to_owned()
}

/// What descriptors from 3 on lead to.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("readable descriptors");
    let entries = entries.map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| !["0", "1", "2"].contains(&entry.file_name().to_str().expect("a number")))
        .map(|entry| {
            fs::read_link(entry.path())
                .expect("a link")
                .display()
                .to_string()
        })
        .collect()
}

/// The port of a listening socket, by its inode (proc_net_tcp: state 0A, inode in column 10).
fn listening_port(inode: &str) -> Option<u16> {
    let table = fs::read_to_string("/proc/net/tcp").expect("procfs");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = columns[1].split_once(':')?;
        let found = columns[3] == "0A" && columns[9] == inode;
        found.then(|| u16::from_str_radix(port, 16).expect("hexadecimal"))
    })
}
