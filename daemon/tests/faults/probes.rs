//! What plugins do while they are only looked at: the probe ends, the service fails, nobody else
//! notices, and no process is left.

use super::scene::{family_and_strays, refusing};
use crate::support::fixtures::build_fixture;

/// Each row is a service whose plugin commits the crime, and what is then said of it.
const CRIMES: [(&str, &str); 8] = [
    ("constructor_segfaults", "ended its probe (signal 11 (SIGSEGV)"),
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
    let own = family_and_strays(&scene.daemon);
    assert_eq!(own, scene.daemon.worker_pids("good"), "a probe is left");
    scene.finish(&["failed, and stays so"]);
}

/// Both ways not to answer, and both at the same time: the start waits for the limit once.
#[test]
fn a_plugin_that_never_answers_its_probe_is_killed() {
    let services = ["check_loops", "check_sleeps"]
        .map(|crime| (crime, build_fixture(&format!("probes-{crime}"))));
    let scene = refusing("probes-hang", &services);
    let status = scene.daemon.status();
    for (crime, _) in services {
        let failure = status["services"][crime]["failure"].as_str().expect("failed");
        assert!(failure.contains("gave no answer within 10 s"), "{crime}: {failure}");
    }
    let own = family_and_strays(&scene.daemon);
    assert_eq!(own, scene.daemon.worker_pids("good"), "a probe is left");
    scene.finish(&["failed, and stays so"]);
}
