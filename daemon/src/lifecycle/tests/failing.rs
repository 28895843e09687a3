//! Stories of plugins that keep failing, and of workers whose shards are lent.

use super::*;
use crate::lifecycle::{BreakerCourse, Cause};

const A: Cause = Cause::Source(1);
const B: Cause = Cause::Source(2);

fn fails(place: &str, cause: Cause) -> Event {
    let news = News::Exited {
        exit: Exit::Signal(11),
        blame: Some("in feed".to_owned()),
        cause: Some(cause),
    };
    Event::Worker(worker(place), news)
}

fn soft(place: &str, sources: &[u64]) -> Event {
    let sources = sources.to_vec();
    Event::Worker(worker(place), News::Soft { sources })
}

fn stopped(place: &str, stopped: bool) -> Event {
    Event::Worker(worker(place), News::Stopped(stopped))
}

const SUSPENDED: &str = "a: suspended, because its plugin keeps failing: signal 11 (SIGSEGV) in \
                         feed; it is tried again in 60 s";

const AGAIN: &str = "a: suspended, because its plugin keeps failing: signal 11 (SIGSEGV) in feed; it is \
                 tried again in 120 s";
const SOFT_SUSPENDED: &str = "a: suspended, because its plugin keeps failing: session after session has \
                          failed; it is tried again in 60 s";

/// Three faults of two sources at 1,000, 1,200 and 1,400 ms; the last one of the second worker.
fn suspended(rest: &[Row]) -> Vec<Row> {
    let mut rows = serving(&[
        (1_000, fails("a1", A), &["spawn a1#2"]),
        (1_000, spawned("a1#2"), &[]),
        (1_010, ready("a1#2"), &[]),
        (1_200, fails("a2", B), &["spawn a2#2"]),
        (1_200, spawned("a2#2"), &[]),
        (1_210, ready("a2#2"), &[]),
        (
            1_400,
            fails("a2#2", A),
            &[
                SUSPENDED,
                "drain a1#2 5000",
                "stand in a1#3",
                "stand in a2#3",
            ],
        ),
        (1_400, spawned("a1#3"), &[]),
        (1_400, spawned("a2#3"), &[]),
        (1_410, ready("a1#3"), &[]),
        (1_410, ready("a2#3"), &[]),
    ]);
    rows.extend_from_slice(rest);
    rows
}

#[test]
fn a_plugin_that_keeps_failing_is_suspended_then_tried_by_one_worker_then_run_by_all() {
    let lifecycle = play(&["a"], &suspended(&[]));
    let view = &lifecycle.view()[0];
    let breaker = view.breaker.as_ref().expect("it is open");
    assert_eq!(breaker.course, BreakerCourse::Open);
    assert_eq!(breaker.until_ms, 61_400);
    assert_eq!(breaker.why, "signal 11 (SIGSEGV) in feed");
    let kinds: Vec<(State, bool)> = view.workers.iter().map(|w| (w.state, w.stand_in)).collect();
    assert_eq!(
        kinds,
        [
            (State::Serving, true),
            (State::Serving, true),
            (State::Draining, false)
        ]
    );
    let lifecycle = play(
        &["a"],
        &suspended(&[
            // What drains may die as it likes, and so may a stand-in.
            (1_500, fails("a1#2", B), &[]),
            (2_000, fails("a2#3", A), &["stand in a2#4"]),
            (2_000, spawned("a2#4"), &[]),
            (2_010, ready("a2#4"), &[]),
            (61_399, Event::Tick, &[]),
            (61_400, Event::Tick, &["drain a1#3 1000", "spawn a1#4"]),
            (61_400, spawned("a1#4"), &[]),
            (61_410, exits("a1#3", 0), &[]),
            (61_420, ready("a1#4"), &[]),
            // One source cannot hold it open.
            (70_000, fails("a1#4", A), &["spawn a1#5"]),
            (70_000, spawned("a1#5"), &[]),
            (70_010, ready("a1#5"), &[]),
            (361_399, Event::Tick, &[]),
            (361_400, Event::Tick, &["drain a2#4 1000", "spawn a2#5"]),
            (361_400, spawned("a2#5"), &[]),
            (361_410, ready("a2#5"), &[]),
            (361_410, exits("a2#4", 0), &[]),
        ]),
    );
    assert_eq!(lifecycle.view()[0].breaker, None);
    assert_eq!(lifecycle.view()[0].workers.len(), 2);
}

#[test]
fn a_fault_of_the_one_that_tries_suspends_it_for_twice_as_long() {
    play(
        &["a"],
        &suspended(&[
            (2_000, exits("a1#2", 0), &[]),
            (61_400, Event::Tick, &["drain a1#3 1000", "spawn a1#4"]),
            (61_400, spawned("a1#4"), &[]),
            (61_410, exits("a1#3", 0), &[]),
            (61_420, ready("a1#4"), &[]),
            (
                62_000,
                fails("a1#4", Cause::Plugin),
                &[AGAIN, "stand in a1#5"],
            ),
            (62_000, spawned("a1#5"), &[]),
            (62_010, ready("a1#5"), &[]),
            (181_999, STOP, &["drain a1#5 5000", "drain a2#3 5000"]),
            (182_000, exits("a1#5", 0), &[]),
            (182_000, exits("a2#3", 0), &["exit"]),
        ]),
    );
}

#[test]
fn one_source_or_one_that_is_kept_out_suspends_nothing() {
    for cause in [A, Cause::Penalised] {
        let mut lifecycle = play(&["a"], &serving(&[]));
        for incarnation in 1..50u64 {
            let place = format!("a1#{incarnation}");
            let now_ms = incarnation * 40_000;
            lifecycle.handle(now_ms, spawned(&place));
            lifecycle.handle(now_ms, ready(&place));
            lifecycle.handle(now_ms, fails(&place, cause));
            lifecycle.handle(now_ms + 39_000, Event::Tick);
            assert_eq!(lifecycle.view()[0].breaker, None);
        }
    }
}

#[test]
fn refusals_of_a_plugin_that_has_served_suspend_it_too() {
    let mut lifecycle = play(&["a"], &serving(&[]));
    lifecycle.handle(100, crashes("a1"));
    let mut now_ms = 100;
    for incarnation in 2..5 {
        let place = format!("a1#{incarnation}");
        assert_eq!(lifecycle.view()[0].breaker, None, "{place}");
        now_ms += 500;
        lifecycle.handle(now_ms, Event::Tick);
        lifecycle.handle(now_ms, spawned(&place));
        lifecycle.handle(now_ms, refused(&place));
        lifecycle.handle(now_ms, exits(&place, 1));
    }
    let view = &lifecycle.view()[0];
    let breaker = view.breaker.as_ref().expect("it is open");
    assert_eq!(breaker.why, "plugin refused: settings.root is missing");
}

#[test]
fn many_sessions_that_fail_count_like_a_worker() {
    play(
        &["a"],
        &serving(&[
            (1_000, soft("a1", &[1; 16]), &[]),
            (1_100, soft("a1", &[1, 1, 1, 2]), &[]),
            (1_200, soft("a2", &[2, 1, 2, 1, 2, 1, 2, 1, 2, 1]), &[]),
            (
                1_300,
                soft("a2", &[2, 1, 2, 1, 2, 1, 2, 1, 2, 1]),
                &[
                    SOFT_SUSPENDED,
                    "drain a1 5000",
                    "drain a2 5000",
                    "stand in a1#2",
                    "stand in a2#2",
                ],
            ),
            (1_300, soft("a2", &[1, 2]), &[]),
        ]),
    );
}

#[test]
fn a_plugin_worker_that_still_drains_is_hurried_when_its_place_is_wanted() {
    let mut lifecycle = Lifecycle::new(
        Policy {
            drain_timeout_ms: 600_000,
            hang_timeout_ms: 10_000,
            thread_hang_timeout_ms: 30_000,
        },
        ["a".to_owned()],
        1,
    );
    let mut said = Vec::new();
    for (now_ms, event) in [
        (0, admitted(0, 1)),
        (0, spawned("a1")),
        (0, ready("a1")),
        (1, soft("a1", &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2])),
        (1, soft("a1", &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2])),
        (1, soft("a1", &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2])),
        (2, spawned("a1#2")),
        (3, ready("a1#2")),
        (60_001, Event::Tick),
        (60_002, Event::Tick),
        (66_001, Event::Tick),
        (66_002, killed("a1")),
    ] {
        let orders = turn(&mut lifecycle, now_ms, event);
        said.extend(
            orders
                .iter()
                .filter_map(short)
                .filter(|it| !it.starts_with("a: ")),
        );
    }
    assert_eq!(
        said,
        [
            "spawn a1",
            "announce",
            "drain a1 600000",
            "stand in a1#2",
            "hurry a1 5000",
            "kill a1",
            "drain a1#2 1000",
            "spawn a1#3",
        ]
    );
}

#[test]
fn shards_are_lent_while_nobody_accepts_there() {
    let mut rows = vec![
        (0, admitted(0, 3), &["spawn a1", "spawn a2", "spawn a3"][..]),
        (0, spawned("a1"), &[]),
        (0, spawned("a2"), &[]),
        (0, spawned("a3"), &[]),
        (1, ready("a1"), &[]),
        (1, ready("a2"), &[]),
        (1, ready("a3"), &["announce"]),
    ];
    rows.extend_from_slice(&[
        // Somebody has stopped the process: that is known at once.
        (
            1_100,
            stopped("a1", true),
            &["lend 1 to a2", "lend 1 to a3"][..],
        ),
        (1_200, stuck("a2", 1_150), &[]),
        (2_150, Event::Tick, &["lend 2 to a3"]),
        (
            3_000,
            stopped("a1", false),
            &["reclaim 1 of a2", "reclaim 1 of a3", "lend 2 to a1"],
        ),
        (
            3_100,
            Event::Worker(worker("a2"), News::Unstuck),
            &["reclaim 2 of a1", "reclaim 2 of a3"],
        ),
        // One that is dead for long is no other thing.
        (4_000, crashes("a1"), &["spawn a1#2"]),
        (4_000, not_spawned("a1#2"), &[]),
        (4_120, Event::Tick, &["spawn a1#3"]),
        (4_121, spawned("a1#3"), &[]),
        (5_000, Event::Tick, &["lend 1 to a2", "lend 1 to a3"]),
        // A borrower that dies has nothing any more, and the next one borrows again.
        (5_100, crashes("a3"), &["spawn a3#2"]),
        (5_100, spawned("a3#2"), &[]),
        (5_110, ready("a3#2"), &["lend 1 to a3#2"]),
        (
            5_200,
            ready("a1#3"),
            &["reclaim 1 of a2", "reclaim 1 of a3#2"],
        ),
        // On a thread a handler may take its time: the loop accepts.
        (6_000, stuck_in("serve", true, "a1#3", 5_000), &[]),
        (
            10_000,
            stopped("a1#3", true),
            &["lend 1 to a2", "lend 1 to a3#2"],
        ),
        (
            10_100,
            STOP,
            &["drain a1#3 5000", "drain a2 5000", "drain a3#2 5000"],
        ),
        (10_200, stopped("a1#3", false), &[]),
    ]);
    play(&["a"], &rows);
}
