//! The scene of a fault: a daemon with a service called `bad` and a good neighbour, a peer that was
//! connected to the neighbour before, and the proof afterwards that neither noticed anything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::support::daemon::{Daemon, PATIENCE, family_of, threads_of};
use crate::support::plugins;

pub(crate) struct Scene {
    pub(crate) daemon: Daemon,
    neighbour: Peer,
    neighbour_pids: Vec<u32>,
}

impl Scene {
    /// `daemon` and `service` are further lines of those two tables; one worker if not said otherwise.
    pub(crate) fn start(name: &str, daemon: &str, plugin: &Path, service: &str) -> Scene {
        Scene::of(Daemon::start(name, &config(daemon, plugin, service)))
    }

    pub(crate) fn of(daemon: Daemon) -> Scene {
        let mut neighbour = Peer::connect(daemon.address("good", 0));
        neighbour.echoes("before\n");
        let neighbour_pids = daemon.worker_pids("good");
        Scene {
            daemon,
            neighbour,
            neighbour_pids,
        }
    }

    pub(crate) fn bad(&self) -> Peer {
        Peer::connect(self.daemon.address("bad", 0))
    }

    pub(crate) fn bad_pid(&self) -> u32 {
        self.daemon.worker_pids("bad")[0]
    }

    /// Until the service has been restarted so often and serves again.
    pub(crate) fn wait_restarted(&self, times: u64) -> Value {
        let what = format!("{times} restarts of the bad service");
        self.daemon.wait_for(&what, |status| {
            let worker = &status["services"]["bad"]["workers"][0];
            worker["restarts"] == times && worker["state"] == "serving"
        })
    }

    /// The neighbour serves its old connection and a new one with the worker that it had before.
    pub(crate) fn neighbour_is_unharmed(&mut self) {
        self.neighbour.echoes("after\n");
        Peer::connect(self.daemon.address("good", 0)).echoes("new\n");
        assert_eq!(self.daemon.worker_pids("good"), self.neighbour_pids);
        assert_eq!(threads_of(self.daemon.pid()), 1);
    }

    pub(crate) fn finish(mut self, expected_errors: &[&str]) {
        self.neighbour_is_unharmed();
        let Scene {
            daemon, neighbour, ..
        } = self;
        drop(neighbour);
        let expected: Vec<String> = expected_errors
            .iter()
            .map(|&text| text.to_owned())
            .collect();
        daemon.finish(&expected);
    }
}

/// A daemon's configuration: the good service, then the bad one.
pub(crate) fn config(daemon: &str, plugin: &Path, service: &str) -> String {
    let good = good_service();
    let bad = service_table("bad", plugin, service);
    format!("[daemon]\n{daemon}{good}{bad}")
}

/// A scene of the good service and of these, which all have another plugin and no settings.
pub(crate) fn refusing(name: &str, services: &[(&str, PathBuf)]) -> Scene {
    let tables = services
        .iter()
        .map(|(service, plugin)| service_table(service, plugin, ""));
    let text = format!("[daemon]\n{}{}", good_service(), tables.collect::<String>());
    Scene::of(Daemon::start(name, &text))
}

pub(crate) fn good_service() -> String {
    service_table("good", &plugins::smallest(), "")
}

pub(crate) fn service_table(name: &str, plugin: &Path, lines: &str) -> String {
    let workers = if lines.contains("workers = ") {
        ""
    } else {
        "workers = 1\n"
    };
    format!(
        "[services.{name}]\nplugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:0\"]\n{workers}{lines}"
    )
}

/// The children of the supervisor, and whoever else has something of this daemon's directory mapped:
/// what they left behind. Only root can look into those that have closed themselves in.
pub(crate) fn family_and_strays(daemon: &Daemon) -> Vec<u32> {
    let directory = daemon.directory().display().to_string();
    let entries = std::fs::read_dir("/proc").expect("procfs");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let strays = pids.filter(|pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/maps"))
            .is_ok_and(|maps| maps.contains(&directory))
    });
    let mut all = family_of(daemon.pid());
    all.extend(strays);
    all.sort_unstable();
    all.dedup();
    all
}

/// Until nobody is there but the workers of "good". A probe that has given its verdict may still be
/// on its way out when the daemon announces itself; one that is left stays.
pub(crate) fn wait_for_workers_only(daemon: &Daemon) {
    let until = Instant::now() + PATIENCE;
    while family_and_strays(daemon) != daemon.worker_pids("good") {
        assert!(Instant::now() < until, "a probe is left");
        crate::support::looking::again();
    }
}

/// A library that a test may change: a copy of the smallest plugin in this folder.
pub(crate) fn copy_of_smallest(folder: &Path, name: &str) -> PathBuf {
    let copy = folder.join(name);
    std::fs::copy(plugins::smallest(), &copy).expect("copied");
    copy
}

pub(crate) struct Peer(TcpStream);

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        Peer(stream)
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("sent");
    }

    pub(crate) fn hears(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        if let Err(error) = self.0.read_exact(&mut heard) {
            panic!("{text:?} does not come: {error}");
        }
        assert_eq!(String::from_utf8_lossy(&heard), text);
    }

    pub(crate) fn echoes(&mut self, text: &str) {
        self.say(text);
        self.hears(text);
    }

    /// Reads up to so many bytes.
    pub(crate) fn takes(&mut self, bytes: usize) {
        self.0.read_exact(&mut vec![0; bytes]).expect("bytes");
    }

    pub(crate) fn finishes(&mut self) {
        // The other side may have reset it already.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The connection ends without another byte, in whichever way.
    pub(crate) fn is_dropped(&mut self) {
        let rest = self.ends();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// The connection ends in whichever way; returns what came before.
    pub(crate) fn ends(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        rest
    }
}
