//! Changes in quick succession under load: nobody is refused, reset or cut short, and whoever can be
//! carried notices nothing at all.

use crate::load::Load;
use crate::scene::{carrying, generations, is_done, reload, scale, service, settled};
use crate::support::daemon::Daemon;
use crate::support::plugins::smallest;

#[test]
fn reloads_under_load_lose_no_connection_of_a_plugin_that_carries() {
    let daemon = Daemon::start("storm-reloads", &carrying(2, 0));
    let load = Load::begin(daemon.address("echo", 0), 4, 4);
    for nth in 1..=scale(10, 100) {
        load.goes_on(20);
        daemon.write_config(&carrying(2, nth));
        reload(&daemon);
        let alive = generations(&daemon.status(), "echo");
        assert!(alive.len() <= 2, "generations {alive:?}");
    }
    load.goes_on(20);
    let (short, long) = load.end();
    short.is_clean();
    long.is_clean();
    assert_eq!(long.answered(), 4, "a long connection was begun anew");
    settled(&daemon);
    daemon.finish(&[]);
}

/// Long connections cannot go along, so they end when their generation has had its time; what was
/// said of it is right to the end.
#[test]
fn reloads_under_load_answer_every_short_connection_of_a_plugin_that_cannot_carry() {
    let plugin = smallest().display().to_string();
    let config = |nth: usize| service(&plugin, 2 + nth % 2, "");
    let daemon = Daemon::start("storm-drains", &config(0));
    let load = Load::begin(daemon.address("echo", 0), 4, 0);
    for nth in 1..=scale(10, 100) {
        load.goes_on(20);
        daemon.write_config(&config(nth));
        reload(&daemon);
        let alive = generations(&daemon.status(), "echo");
        assert!(alive.len() <= 2, "generations {alive:?}");
    }
    load.goes_on(20);
    let (short, _) = load.end();
    short.is_clean();
    settled(&daemon);
    daemon.finish(&[]);
}

#[test]
fn a_pool_that_grows_and_shrinks_under_load_loses_nobody() {
    let daemon = Daemon::start("storm-scale", &carrying(1, 0));
    let load = Load::begin(daemon.address("echo", 0), 4, 2);
    let widest = scale(8, 16);
    for _ in 0..scale(2, 50) {
        for workers in [widest, 1] {
            load.goes_on(20);
            let request = format!(r#"{{"verb":"scale","service":"echo","workers":{workers}}}"#);
            is_done(&daemon, &daemon.ask(&request));
        }
    }
    load.goes_on(20);
    let (short, long) = load.end();
    short.is_clean();
    long.is_clean();
    assert_eq!(long.answered(), 2, "a long connection was begun anew");
    let status = settled(&daemon);
    let workers = status["services"]["echo"]["workers"].as_array();
    assert_eq!(workers.map(Vec::len), Some(1), "{status:#}");
    daemon.finish(&[]);
}

/// What is asked while a change is under way is done to what that change leaves.
#[test]
fn a_change_that_waits_does_not_undo_the_one_before() {
    let daemon = Daemon::start("storm-waits", &carrying(1, 0));
    let second = carrying(1, 0).replace("services.echo", "services.second");
    daemon.write_config(&format!("{}{second}", carrying(1, 0)));
    daemon.ask(r#"{"verb":"reload","wait":false,"dry_run":false}"#);
    is_done(
        &daemon,
        &daemon.ask(r#"{"verb":"scale","service":"echo","workers":2}"#),
    );
    let status = settled(&daemon);
    let workers = |service: &str| {
        status["services"][service]["workers"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(
        (workers("echo"), workers("second")),
        (Some(2), Some(1)),
        "{status:#}"
    );
    // Back to as many descriptors as at the start.
    daemon.write_config(&carrying(1, 1));
    reload(&daemon);
    settled(&daemon);
    daemon.finish(&[]);
}
