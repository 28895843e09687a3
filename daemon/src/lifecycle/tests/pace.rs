//! How often a worker is started that never lives for long, counted over ten minutes.

use std::collections::VecDeque;

use super::*;

const MINUTE_MS: u64 = 60_000;

/// So many starts in each minute, of one place whose worker ends so each time.
fn starts(ready_first: bool, end: &News) -> Vec<usize> {
    let mut lifecycle = Lifecycle::new(POLICY, ["a".to_owned()], 1);
    let mut now_ms = 0;
    let mut minutes = vec![0; 10];
    let mut events = VecDeque::from([admitted(0, 1)]);
    // A service is not given up once it has served.
    let mut has_served = false;
    while now_ms < 10 * MINUTE_MS {
        let event = events.pop_front().unwrap_or_else(|| {
            let due_ms = lifecycle.next_deadline_ms();
            now_ms = due_ms.expect("another one follows").max(now_ms);
            Event::Tick
        });
        for order in lifecycle.handle(now_ms, event) {
            let Order::Spawn { worker, .. } = order else {
                continue;
            };
            if let Some(minute) = minutes.get_mut((now_ms / MINUTE_MS) as usize) {
                *minute += 1;
            }
            events.push_back(Event::Worker(worker, News::Spawned { pid: 7 }));
            if ready_first || !has_served {
                events.push_back(Event::Worker(worker, News::Ready));
                has_served = true;
            }
            events.push_back(Event::Worker(worker, end.clone()));
        }
    }
    minutes
}

#[test]
fn a_worker_that_always_dies_is_started_twenty_times_a_minute_at_most() {
    let crash = News::Exited {
        exit: Exit::Signal(11),
        blame: None,
        cause: None,
    };
    for ready_first in [true, false] {
        let minutes = starts(ready_first, &crash);
        assert!(
            minutes[0] > 10,
            "at first the next one comes soon: {minutes:?}"
        );
        assert!(minutes.iter().all(|count| *count <= 20), "{minutes:?}");
        assert!(
            minutes[1..].iter().all(|count| (1..=3).contains(count)),
            "{minutes:?}"
        );
    }
}
