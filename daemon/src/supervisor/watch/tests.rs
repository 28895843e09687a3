//! Stories of what looks at a scoreboard see, and what is found.

use super::*;
use crate::lifecycle::ServiceId;

const WORKER: WorkerId = WorkerId {
    service: ServiceId(0),
    generation: 1,
    slot: 0,
    incarnation: 1,
};

const POLICY: Policy = Policy {
    drain_timeout_ms: 30_000,
    hang_timeout_ms: 10_000,
    thread_hang_timeout_ms: 30_000,
};

fn glance(sequence: u64, callback: Callback) -> Glance {
    Glance {
        sequence,
        callback,
        session: 1,
        source: 2,
    }
}

/// The loop's sequence and those of two threads.
type Sequences = [u64; 3];

fn look(watch: &mut Watch, now_ms: u64, sequences: Sequences) -> Option<Finding> {
    assert!(watch.begin(now_ms), "at {now_ms}");
    let callbacks = [Callback::Feed, Callback::Serve, Callback::Run];
    let glances = sequences.into_iter().zip(callbacks);
    let found = watch.look(WORKER, glances.map(|(s, c)| glance(s, c)), now_ms);
    watch.end(now_ms);
    found
}

fn stuck(slot: usize, callback: &'static str, since_ms: u64) -> Option<Finding> {
    Some(Finding::Stuck {
        slot,
        callback,
        since_ms,
    })
}

/// Rows of time, sequences seen, finding.
type Row = (u64, Sequences, Option<Finding>);

fn play(story: &str, rows: Vec<Row>) {
    let mut watch = Watch::new(POLICY);
    for (now_ms, sequences, expected) in rows {
        let found = look(&mut watch, now_ms, sequences);
        assert_eq!(found, expected, "{story} at {now_ms}");
    }
}

#[test]
fn what_counts_as_stuck_on_the_loop() {
    let unstuck = Some(Finding::Unstuck);
    play("idle", vec![(0, [2, 0, 0], None), (1_100, [2, 0, 0], None)]);
    play(
        "busy but moving",
        vec![
            (0, [1, 0, 0], None),
            (100, [3, 0, 0], None),
            (200, [5, 0, 0], None),
        ],
    );
    play(
        "stuck, told once, then back",
        vec![
            (0, [1, 0, 0], None),
            (100, [1, 0, 0], stuck(0, "feed", 0)),
            (200, [1, 0, 0], None),
            (300, [2, 0, 0], unstuck),
        ],
    );
    play(
        "stuck in one callback after another",
        vec![
            (0, [1, 0, 0], None),
            (100, [1, 0, 0], stuck(0, "feed", 0)),
            (200, [3, 0, 0], Some(Finding::Unstuck)),
            (300, [3, 0, 0], stuck(0, "feed", 200)),
        ],
    );
}

#[test]
fn a_thread_has_more_time_and_the_slot_that_is_stuck_is_named() {
    let mut rows: Vec<Row> = vec![(0, [2, 1, 0], None)];
    // The other thread comes and goes, as does the loop.
    for nth in 1..100 {
        rows.push((nth * 100, [2 * nth, 1, 2 * nth + 1], None));
    }
    rows.push((10_000, [200, 1, 201], stuck(1, "serve", 0)));
    rows.push((10_100, [200, 1, 203], None));
    rows.push((10_200, [200, 2, 205], Some(Finding::Unstuck)));
    play("a handler that computes", rows);
}

#[test]
fn of_several_the_one_whose_time_is_over_first_is_told() {
    let mut watch = Watch::new(POLICY);
    let mut found = Vec::new();
    // A thread from the start, the loop from 15 s to 16 s.
    for now_ms in (0..=17_000).step_by(100) {
        let on_loop = match now_ms {
            15_000..16_000 => 3,
            16_000.. => 4,
            _ => 2,
        };
        let at_look = look(&mut watch, now_ms, [on_loop, 0, 1]);
        found.extend(at_look.map(|finding| (now_ms, finding)));
    }
    let expected = [
        (10_000, stuck(2, "run", 0)),
        (15_100, stuck(0, "feed", 15_000)),
        (16_000, stuck(2, "run", 0)),
    ];
    let expected = expected.map(|(at_ms, finding)| (at_ms, finding.expect("one")));
    assert_eq!(found, expected);
    let said = found.into_iter().map(|(_, finding)| finding.news());
    let said: Vec<News> = said.collect();
    assert!(
        matches!(&said[1], News::Stuck { callback, on_thread: false, .. } if callback == "feed")
    );
    assert!(
        matches!(&said[2], News::Stuck { callback, on_thread: true, .. } if callback == "run on thread 2")
    );
}

#[test]
fn time_that_this_process_lost_is_no_hang() {
    play(
        "stopped before anything was found",
        vec![
            (0, [1, 1, 0], None),
            (9_000, [1, 1, 0], None),
            (9_100, [1, 1, 0], stuck(0, "feed", 9_000)),
        ],
    );
    play(
        "stopped after it was found: what was said is taken back, and counted anew",
        vec![
            (0, [1, 0, 0], None),
            (100, [1, 0, 0], stuck(0, "feed", 0)),
            (60_000, [1, 0, 0], Some(Finding::Unstuck)),
            (60_100, [1, 0, 0], stuck(0, "feed", 60_000)),
        ],
    );
    play(
        "a little late is not stopped",
        vec![
            (0, [1, 0, 0], None),
            (1_100, [1, 0, 0], stuck(0, "feed", 0)),
        ],
    );
}

#[test]
fn looks_are_rare_while_nothing_moves() {
    let mut watch = Watch::new(POLICY);
    // Rows of sequences seen, and the pause after the look.
    let rows: [(Sequences, u64); 8] = [
        ([0, 0, 0], QUIET_MS),
        ([2, 0, 0], LOOK_MS),
        ([2, 0, 0], QUIET_MS),
        ([2, 2, 0], LOOK_MS),
        ([2, 2, 0], QUIET_MS),
        // In a callback for as long as it likes.
        ([2, 2, 1], LOOK_MS),
        ([2, 2, 1], LOOK_MS),
        ([2, 2, 2], LOOK_MS),
    ];
    let mut now_ms = 0;
    for (nth, (sequences, pause)) in rows.into_iter().enumerate() {
        look(&mut watch, now_ms, sequences);
        assert_eq!(watch.next_look_ms() - now_ms, pause, "look {nth}");
        now_ms = watch.next_look_ms();
    }
    look(&mut watch, now_ms, [2, 2, 2]);
    assert_eq!(watch.next_look_ms() - now_ms, QUIET_MS);
}

#[test]
fn a_hang_that_begins_in_a_quiet_time_is_found_in_time() {
    let mut watch = Watch::new(POLICY);
    let mut now_ms = 0;
    look(&mut watch, now_ms, [2, 0, 0]);
    now_ms = watch.next_look_ms();
    look(&mut watch, now_ms, [2, 0, 0]);
    let hangs_from_ms = now_ms + 1;
    let found_ms = loop {
        now_ms = watch.next_look_ms();
        if look(&mut watch, now_ms, [3, 0, 0]).is_some() {
            break now_ms;
        }
    };
    assert!(found_ms - hangs_from_ms <= QUIET_MS + LOOK_MS, "{found_ms}");
}
