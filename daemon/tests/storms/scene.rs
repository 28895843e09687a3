//! What all storms share: how large they are, a service to be changed, and what the kernel counts.
//!
//! Invariant: a change that is waited for has been made.

use std::fs;

use serde_json::Value;

use crate::support::daemon::Daemon;

/// In a test that is always played, and in the soak.
pub(crate) fn scale(small: usize, soak: usize) -> usize {
    match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => soak,
        None => small,
    }
}

/// A service called `echo`; the rest are lines of its table.
pub(crate) fn service(plugin: &str, workers: usize, lines: &str) -> String {
    format!(
        "[services.echo]\nplugin = {plugin:?}\nlisten = [\"tcp://127.0.0.1:0\"]\n\
         workers = {workers}\n{lines}"
    )
}

/// The shipped plugin, which carries its sessions. What `nth` changes is a setting that this mode
/// has no use for, so only the generation becomes another.
pub(crate) fn carrying(workers: usize, nth: usize) -> String {
    let settings = format!(
        "[services.echo.settings]\nline_max = \"{}B\"\n",
        1000 + nth % 2
    );
    service("echo", workers, &settings)
}

/// Reads the configuration again and waits until it serves.
pub(crate) fn reload(daemon: &Daemon) {
    let reply = daemon.ask(r#"{"verb":"reload","wait":true,"dry_run":false}"#);
    is_done(daemon, &reply);
}

pub(crate) fn is_done(daemon: &Daemon, reply: &Value) {
    assert_eq!(reply["exit"], 0, "{reply:#}\n{}", daemon.log());
}

/// The generations that have workers.
pub(crate) fn generations(status: &Value, service: &str) -> Vec<u64> {
    let workers = status["services"][service]["workers"].as_array();
    let numbers = workers.into_iter().flatten().map(|worker| {
        let number = worker["generation"].as_u64();
        number.expect("a worker has a generation")
    });
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Waits until nobody is left but the newest generation, all of it serving.
pub(crate) fn settled(daemon: &Daemon) -> Value {
    daemon.wait_for("one generation that serves", |status| {
        let services = status["services"].as_object().expect("services");
        services.iter().all(|(name, service)| {
            let workers = service["workers"].as_array().expect("workers");
            generations(status, name).len() == 1
                && workers.iter().all(|worker| worker["state"] == "serving")
        })
    })
}

pub(crate) fn total(status: &Value, name: &str) -> u64 {
    status["services"]["echo"]["totals"][name]
        .as_u64()
        .unwrap_or(0)
}

/// Memory of a process, each page shared out among those who have it. Pages of files are left out:
/// daemons of other cases share them too, and come and go.
pub(crate) fn proportional_kib(pid: u32) -> u64 {
    let file = format!("/proc/{pid}/smaps_rollup");
    let lines = ["Pss_Anon:", "Pss_Shmem:"].map(|name| line_kib(&file, name));
    lines.into_iter().flatten().sum()
}

/// Memory of its own: what of its program is mapped comes and goes.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    line_kib(&format!("/proc/{pid}/status"), "RssAnon:").expect("a living process")
}

/// Of a process that has ended there is none.
fn line_kib(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// What it has worked so far, by itself and in the kernel.
pub(crate) fn processor_ms(pid: u32) -> u64 {
    const TICKS_PER_S: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    // Behind the name, which may have blanks: utime is the 14th field, stime the one after it.
    let (_, behind) = stat.rsplit_once(')').expect("proc_pid_stat(5)");
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|it| it.parse::<u64>().expect("a number"));
    ticks.sum::<u64>() * 1_000 / TICKS_PER_S
}

pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a living process")
        .count()
}
