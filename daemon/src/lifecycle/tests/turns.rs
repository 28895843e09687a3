//! Large pools: how many workers are ordered in one turn and start at once, and what becomes of those
//! that wait for it and are not wanted any more.

use super::*;
use crate::lifecycle::pool::STARTING_MAX;

/// Six workers are wanted, and four of them ordered.
fn begun(rest: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![(
        0,
        admitted(0, 6),
        &["spawn a1", "spawn a2", "spawn a3", "spawn a4"],
    )];
    rows.extend_from_slice(rest);
    rows
}

#[test]
fn workers_are_ordered_a_few_in_each_turn() {
    let lifecycle = play(&["a"], &begun(&[]));
    assert_eq!(
        lifecycle.next_deadline_ms(),
        Some(0),
        "the next turn is due at once"
    );
    let waiting = &lifecycle.view()[0].workers[5];
    assert_eq!((waiting.state, waiting.pid), (State::Starting, None));
    assert_eq!(waiting.restarts, 0);
    let lifecycle = play(
        &["a"],
        &begun(&[(1, spawned("a1"), &["spawn a5", "spawn a6"])]),
    );
    assert_eq!(lifecycle.next_deadline_ms(), Some(10_000));
}

#[test]
fn who_waits_and_is_not_wanted_any_more_is_never_ordered() {
    let ended: &[Row] = &[
        (2, killed("a1"), &[]),
        (2, killed("a2"), &[]),
        (2, killed("a3"), &[]),
        (2, killed("a4"), &["exit"]),
    ];
    let mut answered = Lifecycle::new(POLICY, ["a".to_owned()], 1);
    turn(&mut answered, 0, admitted(0, 6));
    for place in ["a1", "a2", "a3", "a4"] {
        answered.handle(0, spawned(place));
    }
    let told = |lifecycle: &mut Lifecycle, now_ms, event| -> Vec<String> {
        let orders = turn(lifecycle, now_ms, event);
        orders.iter().filter_map(short).collect()
    };
    let kills = ["kill a1", "kill a2", "kill a3", "kill a4"];
    let mut stopped = answered.clone();
    assert_eq!(told(&mut stopped, 1, STOP), kills);
    for (now_ms, event, expected) in ended {
        assert_eq!(told(&mut stopped, *now_ms, event.clone()), *expected);
    }
    // A service that fails, or is to pause, has no use for them either.
    assert_eq!(
        told(&mut answered.clone(), 1, refused("a1"))[2..],
        ["kill a2", "kill a3", "kill a4", "announce"]
    );
    let pause = Event::Pause {
        service: ServiceId(0),
    };
    assert_eq!(
        told(&mut answered, 1, pause),
        ["kill a1", "kill a2", "kill a3", "kill a4", "announce"]
    );
}

#[test]
fn a_change_that_is_given_up_orders_none_of_those_who_wait() {
    let mut lifecycle = play(&["a"], &serving(&[]));
    let change = Event::Change(Changes {
        policy: POLICY,
        begun: vec![Beginning {
            service: ServiceId(0),
            generation: 2,
            name: "a".to_owned(),
            workers: 6,
        }],
        removed: Vec::new(),
        on_probation: false,
    });
    let ordered = turn(&mut lifecycle, 30, change);
    assert_eq!(ordered.iter().filter_map(short).count(), 4);
    lifecycle.handle(30, spawned("a1@2"));
    let after = turn(&mut lifecycle, 31, refused("a1@2"));
    let after: Vec<String> = after.iter().filter_map(short).collect();
    assert_eq!(after[0], "kill a1@2");
    assert!(!after.iter().any(|it| it.starts_with("park")), "{after:?}");
    let next: Vec<String> = turn(&mut lifecycle, 32, Event::Tick)
        .iter()
        .filter_map(short)
        .collect();
    assert_eq!(next, Vec::<String>::new());
    assert_eq!(lifecycle.view()[0].workers.len(), 8);
}

#[test]
fn time_to_be_ready_counts_from_birth() {
    play(
        &["a"],
        &[
            (0, admitted(0, 1), &["spawn a1"]),
            (7_000, spawned("a1"), &[]),
            (16_999, Event::Tick, &[]),
            (17_000, Event::Tick, &["kill a1"]),
        ],
    );
}

#[test]
fn of_a_pool_only_so_many_start_at_once_and_another_when_one_serves_or_dies() {
    let mut lifecycle = Lifecycle::new(POLICY, ["a".to_owned()], 1);
    lifecycle.handle(0, admitted(0, STARTING_MAX as u16 + 10));
    let mut ordered = 0;
    while lifecycle.next_deadline_ms() == Some(0) {
        let orders = lifecycle.handle(0, Event::Tick);
        let spawns = orders.iter().filter_map(short).count();
        assert_eq!(spawns, SPAWNS_PER_TURN_MAX);
        ordered += spawns;
    }
    assert_eq!(ordered, STARTING_MAX);
    assert_eq!(lifecycle.next_deadline_ms(), Some(10_000));
    for (event, expected) in [
        (ready("a1"), "spawn a33"),
        (crashes("a2"), "spawn a2#2"),
        (not_spawned("a3"), "spawn a3#2"),
        (ready("a2#2"), "spawn a34"),
    ] {
        let orders = turn(&mut lifecycle, 5, event);
        let said: Vec<String> = orders.iter().filter_map(short).collect();
        assert_eq!(said, [expected]);
    }
}
