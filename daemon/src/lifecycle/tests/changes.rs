//! Stories of changes: begun, committed, given up, gone back on.

use super::*;

fn change(begun: &[(u32, u32, u16)], removed: &[u32], on_probation: bool) -> Event {
    let names = ["a", "b", "c"];
    Event::Change(Changes {
        policy: POLICY,
        begun: begun
            .iter()
            .map(|(service, generation, workers)| Beginning {
                service: ServiceId(*service),
                generation: *generation,
                name: names[*service as usize].to_owned(),
                workers: *workers,
            })
            .collect(),
        removed: removed.iter().map(|service| ServiceId(*service)).collect(),
        on_probation,
    })
}

/// Service a with two workers of its second generation in place of the first.
fn renewed(rest: &[Row]) -> Vec<Row> {
    let mut rows = serving(&[
        (
            100,
            change(&[(0, 2, 2)], &[], true),
            &["park a1@2", "park a2@2"],
        ),
        (100, spawned("a1@2"), &[]),
        (100, spawned("a2@2"), &[]),
        (110, ready("a1@2"), &[]),
        (
            120,
            ready("a2@2"),
            &[
                "commit",
                "serve a1@2",
                "serve a2@2",
                "drain a1 5000 to a1@2",
                "drain a2 5000 to a2@2",
            ],
        ),
    ]);
    rows.extend_from_slice(rest);
    rows
}

#[test]
fn a_new_generation_serves_once_all_of_it_is_ready_and_the_old_one_drains_to_it() {
    let lifecycle = play(
        &["a"],
        &renewed(&[
            (130, exits("a1", 0), &[]),
            (140, exits("a2", 0), &["retired a@1"]),
            (30_119, Event::Tick, &[]),
            (30_120, Event::Tick, &["proven"]),
        ]),
    );
    let view = &lifecycle.view()[0];
    assert_eq!((view.generation, view.state), (2, State::Serving));
    assert_eq!(view.workers.len(), 2);
}

#[test]
fn a_candidate_that_fails_takes_the_change_with_it_and_nothing_else() {
    let lifecycle = play(
        &["a"],
        &serving(&[
            (
                100,
                change(&[(0, 2, 1), (1, 1, 1)], &[], true),
                &["park a1@2", "park b1"],
            ),
            (100, spawned("a1@2"), &[]),
            (100, spawned("b1"), &[]),
            (110, ready("a1@2"), &[]),
            (
                120,
                refused("b1"),
                &[
                    "kill b1",
                    "b: generation 1 has failed: settings.root is missing",
                    "drain a1@2 1000",
                    "abandon: services.b: settings.root is missing",
                ],
            ),
            (130, exits("a1@2", 0), &["retired a@2"]),
            (130, killed("b1"), &["retired b@1"]),
            (140, crashes("a1"), &["spawn a1#2"]),
        ]),
    );
    let view = lifecycle.view();
    assert_eq!(view.len(), 1, "what was to be added is not there");
    assert_eq!((view[0].generation, view[0].state), (1, State::Serving));
}

#[test]
fn services_are_added_and_removed_in_one_step() {
    let lifecycle = play(
        &["a"],
        &serving(&[
            (100, change(&[(1, 1, 1)], &[0], false), &["park b1"]),
            (
                110,
                ready("b1"),
                &["commit", "serve b1", "drain a1 5000", "drain a2 5000"],
            ),
            (120, exits("a1", 0), &[]),
            (120, exits("a2", 0), &["retired a@1"]),
        ]),
    );
    let names: Vec<String> = lifecycle.view().into_iter().map(|view| view.name).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_worker_that_dies_while_parked_is_replaced_by_a_parked_one() {
    play(
        &["a"],
        &serving(&[
            (
                100,
                change(&[(0, 2, 2)], &[], false),
                &["park a1@2", "park a2@2"],
            ),
            (110, ready("a1@2"), &[]),
            (111, crashes("a1@2"), &["park a1@2#2"]),
            // All slots have had a ready worker: what starts meanwhile serves when it can.
            (
                120,
                ready("a2@2"),
                &[
                    "commit",
                    "serve a2@2",
                    "drain a1 5000 to a2@2",
                    "drain a2 5000 to a2@2",
                ],
            ),
            (130, ready("a1@2#2"), &["serve a1@2#2"]),
        ]),
    );
}

#[test]
fn a_third_generation_waits_for_the_first_which_has_to_hurry() {
    play(
        &["a"],
        &renewed(&[
            (130, exits("a1", 0), &[]),
            (140, change(&[(0, 3, 1)], &[], false), &[]),
            // Its drain of 5 s ends before the hurried one would.
            (6_119, Event::Tick, &[]),
            (6_120, Event::Tick, &["kill a2"]),
            (6_121, killed("a2"), &["retired a@1", "park a1@3"]),
        ]),
    );
}

/// Generation 2 serves since 3 ms, and the first, which has a minute to drain, is in the way of a third.
fn hurried(rest: &[Row]) -> Vec<Row> {
    let mut rows = vec![
        (0, admitted(0, 1), &["spawn a1"][..]),
        (0, spawned("a1"), &[]),
        (1, ready("a1"), &["announce"]),
        (2, change(&[(0, 2, 1)], &[], false), &["park a1@2"]),
        (2, spawned("a1@2"), &[]),
        (
            3,
            ready("a1@2"),
            &["commit", "serve a1@2", "drain a1 60000 to a1@2"],
        ),
        (10, change(&[(0, 3, 1)], &[], false), &["hurry a1 5000"]),
    ];
    rows.extend_from_slice(rest);
    rows
}

const SLOW: Policy = Policy {
    drain_timeout_ms: 60_000,
    ..POLICY
};

fn gives(place: &str) -> Event {
    Event::Worker(worker(place), News::Gives)
}

/// What a fast stop brings, in the midst of that.
const STOPPED_FAST: &[&str] = &[
    "abandon: the daemon is stopping",
    "drain a1 1000",
    "drain a1@2 1000",
    "retired a@3",
];

#[test]
fn a_hurried_worker_has_its_time_anew_with_all_that_it_hands_over() {
    let stories: &[&[Row]] = &[
        // It hands over nothing.
        &[
            (6_009, Event::Tick, &[]),
            (6_010, Event::Tick, &["kill a1"]),
        ],
        // It gets on, and then it does not.
        &[
            (4_000, gives("a1"), &[]),
            (9_000, gives("a1"), &[]),
            (14_999, Event::Tick, &[]),
            (15_000, Event::Tick, &["kill a1"]),
            (15_001, gives("a1"), &[]),
            (15_002, killed("a1"), &["retired a@1", "park a1@3"]),
        ],
        // It gets on until it is done.
        &[
            (4_000, gives("a1"), &[]),
            (9_000, exits("a1", 0), &["retired a@1", "park a1@3"]),
        ],
        // It has no more time than it was told at first.
        &[
            (6_000, gives("a1"), &[]),
            (12_000, gives("a1"), &[]),
            (18_000, gives("a1"), &[]),
            (24_000, gives("a1"), &[]),
            (30_000, gives("a1"), &[]),
            (36_000, gives("a1"), &[]),
            (42_000, gives("a1"), &[]),
            (48_000, gives("a1"), &[]),
            (54_000, gives("a1"), &[]),
            (59_999, gives("a1"), &[]),
            (61_002, Event::Tick, &[]),
            (61_003, Event::Tick, &["kill a1"]),
        ],
        // Another change does not take what it has.
        &[
            (4_000, gives("a1"), &[]),
            (
                4_001,
                change(&[(0, 4, 1)], &[], false),
                &["abandon: another change is under way"],
            ),
            (9_999, Event::Tick, &[]),
            (10_000, Event::Tick, &["kill a1"]),
        ],
        // Nor in its last moments, in which it is as quick as a fast stop already.
        &[
            (4_100, STOP_FAST, STOPPED_FAST),
            (5_000, gives("a1"), &[]),
            (6_009, Event::Tick, &[]),
            (6_010, Event::Tick, &["kill a1"]),
            (6_100, Event::Tick, &["kill a1@2"]),
        ],
        // Whoever is to stop at once waits for nobody.
        &[
            (4_000, gives("a1"), &[]),
            (4_100, STOP_FAST, STOPPED_FAST),
            (5_000, gives("a1"), &[]),
            (6_099, Event::Tick, &[]),
            (6_100, Event::Tick, &["kill a1", "kill a1@2"]),
        ],
    ];
    for story in stories {
        play_by(SLOW, &["a"], &hurried(story));
    }
}

#[test]
fn a_worker_that_is_in_nobodys_way_gains_nothing_by_what_it_hands_over() {
    let rows = hurried(&[]);
    let before_the_third = &rows[..6];
    let mut rows = before_the_third.to_vec();
    rows.extend([
        (60_000, gives("a1"), &[][..]),
        (61_002, Event::Tick, &[]),
        (61_003, Event::Tick, &["kill a1"]),
    ]);
    play_by(SLOW, &["a"], &rows);
}

#[test]
fn one_change_at_a_time_and_none_while_starting_or_stopping() {
    play(
        &["a"],
        &[(
            0,
            change(&[], &[], false),
            &["abandon: the daemon is still starting"],
        )],
    );
    play(
        &["a"],
        &serving(&[
            (100, change(&[(0, 2, 1)], &[], false), &["park a1@2"]),
            (100, spawned("a1@2"), &[]),
            (
                101,
                change(&[], &[0], false),
                &["abandon: another change is under way"],
            ),
            (
                102,
                STOP,
                &[
                    "kill a1@2",
                    "abandon: the daemon is stopping",
                    "drain a1 5000",
                    "drain a2 5000",
                ],
            ),
            (
                103,
                change(&[], &[], false),
                &["abandon: the daemon is stopping"],
            ),
            (104, killed("a1@2"), &["retired a@2"]),
            (105, exits("a1", 0), &[]),
            (105, exits("a2", 0), &["exit"]),
        ]),
    );
}

#[test]
fn a_change_that_keeps_dying_is_gone_back_on_once() {
    play(
        &["a"],
        &renewed(&[
            (130, exits("a1", 0), &[]),
            (131, exits("a2", 0), &["retired a@1"]),
            (200, crashes("a1@2"), &["spawn a1@2#2"]),
            (210, crashes("a2@2"), &["spawn a2@2#2"]),
            (
                220,
                crashes("a1@2#2"),
                &["roll back: a: 3 workers of generation 2 have died within its first 30 s"],
            ),
            (230, crashes("a2@2#2"), &[]),
        ]),
    );
    // Not a change that goes back itself, and not for kills from outside.
    play(
        &["a"],
        &renewed(&[
            (130, killed("a1@2"), &["spawn a1@2#2"]),
            (131, killed("a1@2#2"), &["spawn a1@2#3"]),
            (132, killed("a1@2#3"), &["spawn a1@2#4"]),
            (133, killed("a1@2#4"), &["spawn a1@2#5"]),
        ]),
    );
}

#[test]
fn a_paused_service_drains_and_a_change_begins_it_anew() {
    let lifecycle = play(
        &["a"],
        &serving(&[
            (
                100,
                Event::Pause {
                    service: ServiceId(0),
                },
                &["drain a1 5000", "drain a2 5000"],
            ),
            (110, exits("a1", 0), &[]),
            (110, exits("a2", 0), &[]),
        ]),
    );
    let view = &lifecycle.view()[0];
    assert_eq!((view.state, view.paused), (State::Gone, true));
    play(
        &["a"],
        &serving(&[
            (
                100,
                Event::Pause {
                    service: ServiceId(0),
                },
                &["drain a1 5000", "drain a2 5000"],
            ),
            (110, exits("a1", 0), &[]),
            (120, change(&[(0, 2, 1)], &[], false), &["park a1@2"]),
            (130, ready("a1@2"), &["commit", "serve a1@2"]),
            (140, exits("a2", 0), &["retired a@1"]),
        ]),
    );
}

#[test]
fn nothing_to_begin_is_done_at_once() {
    play(
        &["a"],
        &serving(&[(100, change(&[], &[], true), &["commit"])]),
    );
}
