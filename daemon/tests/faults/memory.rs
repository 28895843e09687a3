//! Memory that runs out for good: the kernel takes the worker, in a control group that this test has
//! made, and says so in the group's count.
//!
//! Only root may make one; elsewhere it is said that this was not tried. Invariant: the group goes with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use super::blame::crash_of;
use super::scene::{Peer, good_service, service_table};
use crate::support::daemon::{Daemon, Directory, command};
use crate::support::fixtures::build_fixture;

/// For the supervisor and all its workers.
const BYTES_MAX: &str = "134217728";

/// Somebody who is taken before any other that is small. Where the memory of the first is not free yet, the
/// kernel may look for a second one, and which of ours that is would be its choice.
struct Scapegoat(Child);

impl Scapegoat {
    fn of(group: &Group) -> Scapegoat {
        let mut sleeps = Command::new("sleep");
        sleeps.arg("600");
        let child = group.starts(&sleeps).spawn().expect("it starts");
        let adjusted = format!("/proc/{}/oom_score_adj", child.id());
        // Below whoever has nearly all of the memory.
        fs::write(adjusted, "500").expect("it is ours");
        Scapegoat(child)
    }
}

impl Drop for Scapegoat {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[test]
fn a_worker_that_the_kernel_takes_for_want_of_memory_is_blamed_on_its_callback() {
    let group = match Group::make() {
        Ok(group) => group,
        Err(error) => return eprintln!("NOT TRIED: memory that runs out, for {error}"),
    };
    const PLACES: [&str; 4] = ["feed", "open", "timer", "serve"];
    let tables = PLACES
        .iter()
        .map(|place| service_table(place, &build_fixture(&format!("crashes-{place}")), ""));
    let text = format!("[daemon]\n{}{}", good_service(), tables.collect::<String>());
    let directory = Arc::new(Directory::new("faults-memory"));
    let polyport = command(&directory, &text);
    let daemon = Daemon::spawned(group.starts(&polyport), directory);
    let mut neighbour = Peer::connect(daemon.address("good", 0));
    let scapegoats: Vec<Scapegoat> = (0..8).map(|_| Scapegoat::of(&group)).collect();
    for place in PLACES {
        let address = daemon.address(place, 0);
        let mut peer = Peer::connect(address);
        peer.say("m");
        if place == "open" {
            peer.hears("m");
            drop(Peer::connect(address));
        }
        daemon.wait_for("a successor", |status| {
            let worker = &status["services"][place]["workers"][0];
            worker["restarts"] == 1 && worker["state"] == "serving"
        });
        let (summary, report) = crash_of(&daemon, place);
        assert_eq!(summary["ended"], "signal 9 (SIGKILL)", "{report:#}");
        assert_eq!(summary["plugin"], "crashes 1.2.3", "{report:#}");
        assert_eq!(summary["blame"]["callback"], place, "{report:#}");
        assert_eq!(summary["blame"]["confidence"], "likely", "{report:#}");
        neighbour.echoes("unharmed\n");
    }
    drop(scapegoats);
    // One that somebody else kills is nobody's fault, whatever was counted before.
    let mut peer = Peer::connect(daemon.address("good", 0));
    peer.echoes("served\n");
    let pid = daemon.worker_pids("good")[0];
    daemon.signal(pid, nix::sys::signal::Signal::SIGKILL);
    daemon.wait_for("a successor", |status| {
        status["services"]["good"]["workers"][0]["restarts"] == 1
    });
    assert!(crash_of(&daemon, "good").0["blame"].is_null());
    drop((peer, neighbour));
    daemon.finish(&[]);
}

/// A control group with a limit, below the one that the test is in or the topmost.
struct Group(PathBuf);

impl Group {
    fn make() -> Result<Group, String> {
        let name = format!("polyport-test-{}", std::process::id());
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let of_memory = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let is_of_memory = fields.next()?.split(',').any(|it| it == "memory");
            fields.next().filter(|_| is_of_memory)
        });
        let (folder, limit) = match of_memory {
            Some(own) => {
                let own = own.trim_start_matches('/');
                let hierarchy = Path::new("/sys/fs/cgroup/memory").join(own);
                (hierarchy.join(name), "memory.limit_in_bytes")
            }
            None => (Path::new("/sys/fs/cgroup").join(name), "memory.max"),
        };
        let made = fs::create_dir(&folder);
        made.map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        let group = Group(folder);
        let file = group.0.join(limit);
        fs::write(&file, BYTES_MAX).map_err(|error| format!("{}: {error}", file.display()))?;
        // Where there is swap it would only take longer.
        let _ = fs::write(group.0.join("memory.swap.max"), "0");
        Ok(group)
    }

    /// The same command, in this group from the beginning.
    fn starts(&self, polyport: &Command) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-euc", "echo $$ > \"$1\"; shift; exec \"$@\"", "sh"])
            .arg(self.0.join("cgroup.procs"))
            .arg(polyport.get_program())
            .args(polyport.get_args());
        for (name, value) in polyport.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is empty once the daemon has ended; after a failure it stays, and names its process.
        let _ = fs::remove_dir(&self.0);
    }
}
