//! Stories of the lifecycle as tables: at this time this happens, and these orders follow.
//!
//! Orders are written short, "spawn a1" or "kill b2" (service and slot, incarnation from the second
//! on: "spawn a1#2"); log lines are left out except those of severity error. Back-offs are given as
//! the times at which a spawn must not yet and must have come.

use super::*;

mod changes;
mod failing;
mod lines;
mod pace;
mod turns;
use crate::plan::LogLevel;

const POLICY: Policy = Policy {
    drain_timeout_ms: 5_000,
    hang_timeout_ms: 10_000,
    thread_hang_timeout_ms: 30_000,
};

type Row = (u64, Event, &'static [&'static str]);

fn play(services: &[&str], rows: &[Row]) -> Lifecycle {
    play_by(POLICY, services, rows)
}

fn play_by(policy: Policy, services: &[&str], rows: &[Row]) -> Lifecycle {
    let names = services.iter().map(|name| (*name).to_owned());
    let mut lifecycle = Lifecycle::new(policy, names, 1);
    for (number, (now_ms, event, expected)) in rows.iter().enumerate() {
        let orders = turn(&mut lifecycle, *now_ms, event.clone());
        let said: Vec<String> = orders.iter().filter_map(short).collect();
        assert_eq!(said, *expected, "row {number}: at {now_ms} ms {event:?}");
    }
    lifecycle
}

/// Deadlines are served and workers ordered in ticks, and each turn ends with one.
fn turn(lifecycle: &mut Lifecycle, now_ms: u64, event: Event) -> Vec<Order> {
    let mut orders = lifecycle.handle(now_ms, event);
    orders.extend(lifecycle.handle(now_ms, Event::Tick));
    orders
}

fn short(order: &Order) -> Option<String> {
    let place = |worker: &WorkerId| {
        let service = ["a", "b", "c"][worker.service.0 as usize];
        let incarnation = match worker.incarnation {
            1 => String::new(),
            n => format!("#{n}"),
        };
        let generation = match worker.generation {
            1 => String::new(),
            n => format!("@{n}"),
        };
        format!("{service}{}{generation}{incarnation}", worker.slot + 1)
    };
    Some(match order {
        Order::Spawn {
            worker,
            parked,
            stand_in,
        } => {
            let how = match (*parked, *stand_in) {
                (true, _) => "park",
                (false, true) => "stand in",
                (false, false) => "spawn",
            };
            format!("{how} {}", place(worker))
        }
        Order::Serve(worker) => format!("serve {}", place(worker)),
        Order::Drain {
            worker,
            grace_ms,
            successor,
            hurried,
        } => {
            let how = if *hurried { "hurry" } else { "drain" };
            let heir = successor.map(|heir| format!(" to {}", place(&heir)));
            let heir = heir.unwrap_or_default();
            format!("{how} {} {grace_ms}{heir}", place(worker))
        }
        Order::Commit => "commit".to_owned(),
        Order::Abandon { text } => format!("abandon: {text}"),
        Order::Proven => "proven".to_owned(),
        Order::RollBack { text } => format!("roll back: {text}"),
        Order::Retired {
            service,
            generation,
        } => format!(
            "retired {}@{generation}",
            ["a", "b", "c"][service.0 as usize]
        ),
        Order::Kill {
            worker,
            signal: Signal::Abort,
        } => format!("abort {}", place(worker)),
        Order::Kill {
            worker,
            signal: Signal::Kill,
        } => format!("kill {}", place(worker)),
        Order::Lend { from, to } => format!("lend {} to {}", from + 1, place(to)),
        Order::Reclaim { from, to } => format!("reclaim {} of {}", from + 1, place(to)),
        Order::Announce => "announce".to_owned(),
        Order::Exit => "exit".to_owned(),
        Order::Log(change) if change.severity == LogLevel::Error => change.to_string(),
        Order::Log(_) => return None,
    })
}

/// "b2#3": service b, second slot, third incarnation.
fn worker(place: &str) -> WorkerId {
    let (place, incarnation) = place.split_once('#').unwrap_or((place, "1"));
    let (place, generation) = place.split_once('@').unwrap_or((place, "1"));
    let (service, slot) = place.split_at(1);
    WorkerId {
        service: ServiceId("abc".find(service).expect("a, b or c") as u32),
        generation: generation.parse().expect("a number"),
        slot: slot.parse::<u16>().expect("a number") - 1,
        incarnation: incarnation.parse().expect("a number"),
    }
}

fn logged(orders: &[Order]) -> Vec<String> {
    let line = |order: &Order| match order {
        Order::Log(change) => Some(change.to_string()),
        _ => None,
    };
    orders.iter().filter_map(line).collect()
}

fn admitted(service: u32, workers: u16) -> Event {
    Event::Admitted {
        service: ServiceId(service),
        workers,
    }
}

fn spawned(place: &str) -> Event {
    Event::Worker(worker(place), News::Spawned { pid: 100 })
}

fn ready(place: &str) -> Event {
    Event::Worker(worker(place), News::Ready)
}

fn refused(place: &str) -> Event {
    Event::Worker(
        worker(place),
        News::Refused {
            text: "settings.root is missing".to_owned(),
        },
    )
}

fn not_spawned(place: &str) -> Event {
    Event::Worker(
        worker(place),
        News::NotSpawned {
            error: "fork: EAGAIN".to_owned(),
        },
    )
}

fn exits(place: &str, code: i32) -> Event {
    Event::Worker(
        worker(place),
        News::Exited {
            exit: Exit::Code(code),
            blame: None,
            cause: None,
        },
    )
}

fn crashes(place: &str) -> Event {
    let news = News::Exited {
        exit: Exit::Signal(11),
        blame: Some("in create".to_owned()),
        cause: None,
    };
    Event::Worker(worker(place), news)
}

fn killed(place: &str) -> Event {
    Event::Worker(
        worker(place),
        News::Exited {
            exit: Exit::Signal(9),
            blame: None,
            cause: None,
        },
    )
}

fn stuck(place: &str, since_ms: u64) -> Event {
    stuck_in("feed", false, place, since_ms)
}

fn stuck_in(callback: &str, on_thread: bool, place: &str, since_ms: u64) -> Event {
    let news = News::Stuck {
        callback: callback.to_owned(),
        since_ms,
        on_thread,
    };
    Event::Worker(worker(place), news)
}

const STOP: Event = Event::Stop { fast: false };
const STOP_FAST: Event = Event::Stop { fast: true };

/// One service with two workers, serving since 20 ms.
fn serving(rest: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![
        (0, admitted(0, 2), &["spawn a1", "spawn a2"]),
        (0, spawned("a1"), &[]),
        (0, spawned("a2"), &[]),
        (10, ready("a1"), &[]),
        (20, ready("a2"), &["announce"]),
    ];
    rows.extend_from_slice(rest);
    rows
}

#[test]
fn the_start_is_complete_when_every_service_serves_or_has_failed() {
    play(&[], &[(0, Event::Tick, &["announce"])]);
    let no_file = Event::NotAdmitted {
        service: ServiceId(1),
        text: "no such file".to_owned(),
    };
    let lifecycle = play(
        &["gopher", "chat"],
        &[
            (0, Event::Tick, &[]),
            (5, admitted(0, 1), &["spawn a1"]),
            (5, spawned("a1"), &[]),
            (
                9,
                no_file,
                &["chat: failed, and stays so until it is changed: no such file"],
            ),
            (20, ready("a1"), &["announce"]),
            (21, ready("a1"), &[]),
            (22, admitted(0, 1), &[]),
        ],
    );
    let [gopher, chat] = &lifecycle.view()[..] else {
        panic!("two services were given");
    };
    assert_eq!((gopher.state, &gopher.failure), (State::Serving, &None));
    assert_eq!(
        (chat.state, &chat.failure),
        (State::Gone, &Some("no such file".to_owned()))
    );
}

#[test]
fn a_refusal_fails_a_service_that_never_served_and_ends_its_other_workers() {
    let lifecycle = play(
        &["a"],
        &[
            (0, admitted(0, 3), &["spawn a1", "spawn a2", "spawn a3"]),
            (0, spawned("a1"), &[]),
            (0, spawned("a2"), &[]),
            (5, ready("a1"), &[]),
            (
                9,
                refused("a2"),
                &[
                    "kill a2",
                    "a: failed, and stays so until it is changed: settings.root is missing",
                    "drain a1 1000",
                    "announce",
                ],
            ),
            // The third had no process yet to be killed.
            (10, spawned("a3"), &["kill a3"]),
            (11, killed("a3"), &[]),
            (12, exits("a2", 1), &[]),
            (2_009, Event::Tick, &["kill a1"]),
            (2_010, killed("a1"), &[]),
            (9_999, Event::Tick, &[]),
        ],
    );
    assert_eq!(lifecycle.view()[0].state, State::Gone);
    assert_eq!(lifecycle.next_deadline_ms(), None);
}

#[test]
fn three_deaths_before_readiness_fail_a_service_that_never_served() {
    let lifecycle = play(
        &["a"],
        &[
            (0, admitted(0, 2), &["spawn a1", "spawn a2"]),
            (0, spawned("a1"), &[]),
            (0, spawned("a2"), &[]),
            (1, crashes("a1"), &["spawn a1#2"]),
            (1, spawned("a1#2"), &[]),
            // Nobody is to blame for these: neither counts.
            (2, killed("a2"), &["spawn a2#2"]),
            (2, not_spawned("a2#2"), &["spawn a2#3"]),
            (2, spawned("a2#3"), &[]),
            (3, exits("a2#3", 0), &[]),
            (2_000, Event::Tick, &["spawn a2#4"]),
            (2_000, spawned("a2#4"), &[]),
            (10_001, Event::Tick, &["kill a1#2"]),
            (
                10_002,
                killed("a1#2"),
                &[
                    "a: failed, and stays so until it is changed: workers died 3 times \
                     before they were ready, the last one: not ready within 10 s",
                    "kill a2#4",
                    "announce",
                ],
            ),
            (10_003, killed("a2#4"), &[]),
        ],
    );
    assert_eq!(lifecycle.view()[0].workers[1].restarts, 3);
}

#[test]
fn a_pool_serves_once_each_slot_has_had_a_ready_worker() {
    play(
        &["a"],
        &[
            (0, admitted(0, 2), &["spawn a1", "spawn a2"]),
            (0, spawned("a1"), &[]),
            (0, spawned("a2"), &[]),
            (5, ready("a1"), &[]),
            // It died while serving, which says nothing against its start.
            (6, crashes("a1"), &["spawn a1#2"]),
            (7, ready("a2"), &["announce"]),
        ],
    );
}

#[test]
fn a_dead_worker_is_replaced_at_once_then_ever_later_and_at_once_again_after_a_minute() {
    play(
        &["a"],
        &serving(&[
            (100, exits("a1", 0), &["spawn a1#2"]),
            (110, ready("a1#2"), &[]),
            (200, refused("a1#2"), &[]),
            (200, spawned("a1#2"), &["kill a1#2"]),
            (210, killed("a1#2"), &[]),
            (289, Event::Tick, &[]),
            (331, Event::Tick, &["spawn a1#3"]),
            (331, not_spawned("a1#3"), &[]),
            (490, Event::Tick, &[]),
            (572, Event::Tick, &["spawn a1#4"]),
            (572, spawned("a1#4"), &[]),
            (600, ready("a1#4"), &[]),
            // The other slot has its own count.
            (700, crashes("a2"), &["spawn a2#2"]),
            (701, spawned("a2#2"), &[]),
            (702, ready("a2#2"), &[]),
            (60_600, crashes("a1#4"), &["spawn a1#5"]),
        ]),
    );
}

#[test]
fn kills_from_outside_add_no_back_off_up_to_twenty_a_second() {
    let mut lifecycle = play(&["a"], &serving(&[]));
    let mut spawns = Vec::new();
    for incarnation in 1..=22u32 {
        let now_ms = 1_000 + u64::from(incarnation) * 10;
        let orders = turn(&mut lifecycle, now_ms, killed(&format!("a1#{incarnation}")));
        spawns.extend(orders.iter().filter_map(short));
    }
    assert_eq!(spawns.len(), 20, "{spawns:?}");
    assert_eq!(lifecycle.view()[0].workers[0].next_try_ms, Some(2_010));
    assert_eq!(lifecycle.handle(2_009, Event::Tick), []);
    let orders = lifecycle.handle(2_010, Event::Tick);
    assert_eq!(
        orders.iter().filter_map(short).collect::<Vec<_>>(),
        ["spawn a1#22", "lend 1 to a2"]
    );
}

#[test]
fn a_hang_is_aborted_then_killed_and_blamed() {
    let lifecycle = play(
        &["a"],
        &serving(&[
            (1_000, stuck("a1", 900), &[]),
            (1_899, Event::Tick, &[]),
            (1_900, Event::Tick, &["lend 1 to a2"]),
            (
                5_000,
                Event::Worker(worker("a1"), News::Unstuck),
                &["reclaim 1 of a2"],
            ),
            (10_900, Event::Tick, &[]),
            (20_000, stuck("a1", 20_000), &[]),
            (21_000, Event::Tick, &["lend 1 to a2"]),
            (29_999, Event::Tick, &[]),
            (30_000, Event::Tick, &["abort a1"]),
            (30_500, Event::Worker(worker("a1"), News::Unstuck), &[]),
            (30_999, Event::Tick, &[]),
            (31_000, Event::Tick, &["kill a1"]),
            (31_010, killed("a1"), &["spawn a1#2"]),
            (31_011, stuck("a1", 900), &[]),
            (31_012, killed("a1"), &[]),
        ]),
    );
    let death = lifecycle.view()[0].workers[0].last_death.clone();
    assert_eq!(death.as_deref(), Some("in feed for 10 s without returning"));
}

#[test]
fn a_stop_drains_then_kills_then_exits() {
    play(
        &["a"],
        &serving(&[
            (100, crashes("a2"), &["spawn a2#2"]),
            (100, spawned("a2#2"), &[]),
            (200, STOP, &["drain a1 5000", "kill a2#2"]),
            (201, killed("a2#2"), &[]),
            (6_199, Event::Tick, &[]),
            (6_200, Event::Tick, &["kill a1"]),
            (6_210, killed("a1"), &["exit"]),
            (6_211, killed("a1"), &[]),
            (6_212, STOP, &[]),
            (6_213, Event::Tick, &[]),
        ]),
    );
}

#[test]
fn on_a_thread_a_callback_may_take_longer() {
    play(
        &["a"],
        &serving(&[
            (1_100, stuck_in("serve", true, "a1", 1_000), &[]),
            (30_999, Event::Tick, &[]),
            (31_000, Event::Tick, &["abort a1"]),
        ]),
    );
}

#[test]
fn a_second_stop_is_a_fast_one_and_a_third_changes_nothing() {
    play(
        &["a"],
        &serving(&[
            (200, STOP, &["drain a1 5000", "drain a2 5000"]),
            (300, STOP, &["drain a1 1000", "drain a2 1000"]),
            (400, STOP, &[]),
            (500, exits("a1", 0), &[]),
            (2_299, Event::Tick, &[]),
            (2_300, Event::Tick, &["kill a2"]),
            (2_301, killed("a2"), &["exit"]),
        ]),
    );
    play(
        &["a"],
        &serving(&[
            (200, STOP_FAST, &["drain a1 1000", "drain a2 1000"]),
            (300, STOP_FAST, &[]),
            (400, exits("a1", 0), &[]),
            (400, exits("a2", 0), &["exit"]),
        ]),
    );
}

#[test]
fn a_stop_ends_waiting_and_starting_too() {
    play(&["a"], &[(0, STOP, &["exit"]), (1, admitted(0, 2), &[])]);
    play(
        &["a", "b"],
        &[
            (0, admitted(0, 1), &["spawn a1"]),
            (0, spawned("a1"), &[]),
            (1, crashes("a1"), &["spawn a1#2"]),
            (1, spawned("a1#2"), &[]),
            (2, crashes("a1#2"), &[]),
            (3, STOP, &["exit"]),
            (9_999, Event::Tick, &[]),
        ],
    );
}
