//! What the log and the status say of lives.

use super::*;

#[test]
fn a_log_line_names_the_service_the_worker_and_what_comes_next() {
    let mut lifecycle = play(&["gopher"], &serving(&[]));
    assert_eq!(
        logged(&turn(&mut lifecycle, 30, crashes("a2"))),
        [
            "gopher/2 (pid 100): worker died: signal 11 (SIGSEGV) in create; the next one starts at \
             once",
            "gopher/2: starting"
        ]
    );
}

#[test]
fn the_wait_for_the_next_worker_is_told_in_a_unit_that_shows_it() {
    let mut lifecycle = play(&["a"], &[(0, admitted(0, 1), &["spawn a1"])]);
    lifecycle.handle(0, ready("a1"));
    let mut waits = Vec::new();
    let mut now_ms = 30;
    for death in 1.. {
        let incarnation = format!("a1#{death}");
        let lines = logged(&lifecycle.handle(now_ms, crashes(&incarnation)));
        let line = lines.into_iter().find(|line| line.contains("died"));
        let line = line.expect("a death is told");
        let (_, wait) = line.rsplit_once("starts ").expect("and what follows");
        waits.push(wait.to_owned());
        let Some(due_ms) = lifecycle.next_deadline_ms().filter(|_| death < 6) else {
            break;
        };
        now_ms = due_ms;
        lifecycle.handle(now_ms, Event::Tick);
        lifecycle.handle(now_ms, ready(&format!("a1#{}", death + 1)));
    }
    assert_eq!(waits[0], "at once");
    let (short, long): (Vec<_>, Vec<_>) = waits[1..].iter().partition(|w| w.ends_with(" ms"));
    assert!(!short.is_empty() && !long.is_empty(), "{waits:?}");
    assert!(long.iter().all(|wait| wait.ends_with(" s")), "{waits:?}");
    assert!(waits.iter().all(|wait| !wait.contains(" 0")), "{waits:?}");
}

#[test]
fn a_service_without_workers_is_not_said_to_have_lost_them() {
    let refused = Event::NotAdmitted {
        service: ServiceId(0),
        text: "no such plugin".to_owned(),
    };
    let mut lifecycle = Lifecycle::new(POLICY, ["a".to_owned()], 1);
    assert_eq!(
        logged(&lifecycle.handle(0, refused)),
        [
            "a: failed, and stays so until it is changed: no such plugin",
            "a: ended, no worker was started"
        ]
    );
}

#[test]
fn a_state_is_counted_from_its_beginning() {
    let mut lifecycle = play(&["a"], &serving(&[]));
    let since = |lifecycle: &Lifecycle| {
        let worker = &lifecycle.view()[0].workers[0];
        (worker.state, worker.since_ms)
    };
    lifecycle.handle(1_000, Event::Stop { fast: false });
    assert_eq!(since(&lifecycle), (State::Draining, 1_000));
    lifecycle.handle(2_000, Event::Stop { fast: true });
    lifecycle.handle(9_000, Event::Tick);
    assert_eq!(since(&lifecycle), (State::Draining, 1_000));
}

/// Once, and only of one that is still there.
#[test]
fn a_worker_that_does_not_end_of_sigkill_is_told_of() {
    let mut lifecycle = play(
        &["a"],
        &serving(&[
            (1_000, stuck("a1", 900), &[]),
            (1_900, Event::Tick, &["lend 1 to a2"]),
            (10_900, Event::Tick, &["abort a1"]),
            (11_900, Event::Tick, &["kill a1"]),
        ]),
    );
    assert_eq!(lifecycle.next_deadline_ms(), Some(21_900));
    assert!(logged(&lifecycle.handle(21_899, Event::Tick)).is_empty());
    let told = logged(&lifecycle.handle(21_900, Event::Tick));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("was killed 10 s ago and is still there"),
        "{told:?}"
    );
    assert_eq!(lifecycle.next_deadline_ms(), None);
    let told = logged(&lifecycle.handle(60_000, killed("a1")));
    assert!(told[0].contains("the next one starts at once"), "{told:?}");
}
