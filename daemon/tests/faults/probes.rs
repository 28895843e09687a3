//! What plugins do while they are only looked at: the probe ends, the service fails, nobody else
//! notices, and no process is left.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::scene::{Scene, family_and_strays, refusing, wait_for_workers_only};
use crate::support::daemon::{PATIENCE, family_of, wait_gone};
use crate::support::fixtures::build_fixture;

/// Each row is a service whose plugin commits the crime, and what is then said of it.
const CRIMES: [(&str, &str); 8] = [
    (
        "constructor_segfaults",
        "ended its probe (signal 11 (SIGSEGV)",
    ),
    ("constructor_exits", "ended its probe (exit code 0"),
    ("check_segfaults", "ended its probe (signal 11 (SIGSEGV)"),
    ("check_aborts", "ended its probe (signal 6 (SIGABRT)"),
    ("check_exits", "ended its probe (exit code 0"),
    ("check_allocates", "ended its probe (signal 11 (SIGSEGV)"),
    ("check_closes_descriptors", "ended its probe ("),
    ("check_forks", "it refuses its settings: fork is refused"),
];

#[test]
fn a_plugin_that_ends_its_probe_fails_its_service_alone() {
    let plugin = |crime: &str| build_fixture(&format!("probes-{crime}"));
    let services = CRIMES.map(|(crime, _)| (crime, plugin(crime)));
    let scene = refusing("probes-end", &services);
    let status = scene.daemon.status();
    for (crime, text) in CRIMES {
        let failure = status["services"][crime]["failure"].as_str();
        let failure = failure.unwrap_or_else(|| panic!("{crime}: it serves"));
        assert!(failure.contains(text), "{crime}: {failure}");
        assert!(failure.contains(&format!("probes-{crime}.so")), "{failure}");
        assert!(failure.contains("\n  fix: "), "{failure}");
    }
    wait_for_workers_only(&scene.daemon);
    scene.finish(&["failed, and stays so"]);
}

/// One child of the probe and one of the worker: neither outlives whom it came from.
#[test]
fn a_process_that_a_plugin_starts_while_it_is_loaded_ends_with_its_own() {
    let plugin = build_fixture("probes-constructor_forks");
    let scene = Scene::start("probes-forks", "", &plugin, "");
    let workers = family_of(scene.daemon.pid());
    let strays = |scene: &Scene| {
        let mut all = family_and_strays(&scene.daemon);
        all.retain(|pid| !workers.contains(pid));
        all
    };
    let until = Instant::now() + PATIENCE;
    while strays(&scene).len() > 1 {
        assert!(
            Instant::now() < until,
            "the probe's is left beside the worker's"
        );
        crate::support::looking::again();
    }
    let pid = scene.bad_pid();
    let of_the_worker = strays(&scene);
    scene.daemon.signal(pid, Signal::SIGKILL);
    scene.wait_restarted(1);
    for pid in of_the_worker {
        wait_gone(pid);
    }
    let last = strays(&scene);
    scene.finish(&[]);
    for pid in last {
        wait_gone(pid);
    }
}

#[test]
fn what_a_plugin_prints_does_not_come_between_the_daemon_and_its_reader() {
    let plugin = build_fixture("probes-constructor_prints");
    // The announcement is JSON on standard output, and would not be any more.
    let scene = Scene::start("probes-prints", "", &plugin, "");
    scene.daemon.wait_log("loaded");
    scene.finish(&[]);
}

/// The plugin writes the verdict on itself.
#[test]
fn what_a_plugin_forges_reaches_no_terminal() {
    let plugin = build_fixture("probes-constructor_forges");
    let scene = Scene::start("probes-forges", "", &plugin, "");
    let status = scene.daemon.status();
    let name = status["services"]["bad"]["plugin"]
        .as_str()
        .expect("a name");
    assert!(
        name.ends_with("[2Jvil"),
        "the forged name is not in use: {name}"
    );
    for words in [&["status"][..], &["status", "--json"]] {
        let page = scene.daemon.operate(words).stdout;
        let shown = String::from_utf8_lossy(&page);
        assert!(shown.contains("[2Jvil"), "{shown}");
        assert!(!page.contains(&0x1b), "{}", shown.escape_debug());
    }
    assert!(!scene.daemon.log().contains('\x1b'));
    scene.finish(&[]);
}

/// Both ways not to answer, and both at the same time: the start waits for the limit once.
#[test]
fn a_plugin_that_never_answers_its_probe_is_killed() {
    let services = ["check_loops", "check_sleeps"]
        .map(|crime| (crime, build_fixture(&format!("probes-{crime}"))));
    let scene = refusing("probes-hang", &services);
    let status = scene.daemon.status();
    for (crime, _) in services {
        let failure = status["services"][crime]["failure"]
            .as_str()
            .expect("failed");
        assert!(
            failure.contains("gave no answer within 30 s"),
            "{crime}: {failure}"
        );
    }
    wait_for_workers_only(&scene.daemon);
    scene.finish(&["failed, and stays so"]);
}
