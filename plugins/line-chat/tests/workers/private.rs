//! Private lines: to the session they were meant for, whatever it is called by the time they come, and to
//! nobody else.

use std::time::Duration;

use polyport_plugin::testing::{FakeBus, FakeHost, Peer};

use super::{Dice, eve_and_bob, say, seeds, settle, shown, worker};

#[test]
fn an_answer_goes_to_who_wrote_and_never_to_another_of_that_name() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    say(&mut workers[1], bob, "/msg eve psst");
    settle(&mut workers);
    say(&mut workers[1], bob, "/nick rob");
    let thief = workers[1].connect();
    say(&mut workers[1], thief, "bob");
    for carries in [false, true] {
        if carries {
            workers[0].carry().expect("eve is carried");
        }
        settle(&mut workers);
        say(&mut workers[0], eve, "/reply yes?");
        settle(&mut workers);
        let count = if carries { 2 } else { 1 };
        assert_eq!(shown(&workers[1], bob).matches("*eve* yes?").count(), count);
        assert!(shown(&workers[0], eve).ends_with("-> rob: yes?\r\n"));
    }
    say(&mut workers[1], bob, "/quit");
    settle(&mut workers);
    say(&mut workers[0], eve, "/reply still there?");
    settle(&mut workers);
    let text = shown(&workers[0], eve);
    assert!(text.ends_with("-- rob has left\r\n"), "{text}");
    let text = shown(&workers[1], thief);
    assert!(!text.contains("*eve*"), "{text}");
}

/// The sender's worker has not heard of it yet.
#[test]
fn a_private_line_that_is_under_way_finds_whom_it_was_meant_for_or_comes_back() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    bus.lose();
    say(&mut workers[1], bob, "/nick rob");
    say(&mut workers[0], eve, "/msg bob psst");
    bus.restore();
    settle(&mut workers);
    let text = shown(&workers[1], bob);
    assert_eq!(text.matches("*eve* psst").count(), 1, "{text}");

    bus.lose();
    say(&mut workers[1], bob, "/quit");
    let thief = workers[1].connect();
    say(&mut workers[1], thief, "rob");
    say(&mut workers[0], eve, "/msg rob secret");
    bus.restore();
    settle(&mut workers);
    settle(&mut workers);
    let text = shown(&workers[0], eve);
    assert!(
        text.contains("-- not delivered: rob has left\r\n"),
        "{text}"
    );
    let text = shown(&workers[1], thief);
    assert!(
        text.contains("you are rob;") && !text.contains("secret"),
        "{text}"
    );
}

/// With all that both workers may have heard by then, and in each order of who is carried.
#[test]
fn a_private_line_goes_after_whoever_is_carried_and_along_with_whoever_has_written_it() {
    let carried = [&[1][..], &[0], &[0, 1], &[1, 0], &[1, 1], &[0, 0, 1, 1]];
    for (hearers, order) in [&[][..], &[0], &[1], &[1, 0]]
        .into_iter()
        .flat_map(|hearers| carried.map(|order| (hearers, order)))
    {
        let case = format!("{hearers:?} have heard, {order:?} are carried");
        let bus = FakeBus::new();
        let (mut workers, [eve, bob]) = eve_and_bob(&bus);
        say(&mut workers[0], eve, "/msg bob psst");
        hearers
            .iter()
            .for_each(|at: &usize| workers[*at].hear_bus());
        for at in order {
            workers[*at].carry().expect("it is carried");
        }
        settle(&mut workers);
        workers[0].advance(Duration::from_secs(11));
        let (heard, told) = (shown(&workers[1], bob), shown(&workers[0], eve));
        let count = heard.matches("*eve* psst\r\n").count();
        let is_told =
            told.ends_with("-- bob may not have heard you: its server does not answer\r\n");
        // His has ended, and with it the receipt that it had given.
        let both = [0, 1].iter().all(|at| order.contains(at));
        let is_unknown = both && *hearers == [1];
        assert_eq!(
            count,
            usize::from(!is_unknown || hearers.contains(&1)),
            "{case}: {heard}"
        );
        assert_eq!(is_told, is_unknown, "{case}: {told}");
    }
}

#[test]
fn each_private_line_is_shown_once_or_told_of() {
    for seed in seeds() {
        let mut dice = Dice(seed);
        let bus = FakeBus::new();
        let mut workers: Vec<FakeHost> = (0..3).map(|_| worker(&bus)).collect();
        let mut people: Vec<(usize, Peer)> = Vec::new();
        for nth in 0..5 {
            let at = dice.below(3);
            let peer = workers[at].connect();
            say(&mut workers[at], peer, &format!("p{nth}"));
            people.push((at, peer));
        }
        settle(&mut workers);
        let (mut letters, mut is_away, may_be_away) = (Vec::new(), false, seed % 2 == 0);
        for number in 0..200 {
            match dice.below(8) {
                0 => {
                    let carried = workers[dice.below(3)].carry();
                    carried.expect("all are carried");
                }
                1 | 2 => workers[dice.below(3)].hear_bus(),
                3 if is_away => {
                    bus.restore();
                    is_away = false;
                }
                3 if may_be_away && dice.below(4) == 0 => {
                    bus.lose();
                    is_away = true;
                    // Nobody is carried by a worker that does not know it yet.
                    workers.iter_mut().for_each(FakeHost::hear_bus);
                }
                _ => {
                    let (from, to) = (dice.below(5), dice.below(5));
                    let (at, peer) = people[from];
                    say(&mut workers[at], peer, &format!("/msg p{to} m{number}"));
                    letters.push((from, to, number));
                }
            }
        }
        bus.restore();
        settle(&mut workers);
        for host in &mut workers {
            host.advance(Duration::from_secs(11));
        }
        settle(&mut workers);
        let text = |who: usize| shown(&workers[people[who].0], people[who].1);
        let mut lost = [0; 5];
        for (from, to, number) in letters {
            let line = format!("*p{from}* m{number}\r\n");
            let count = text(to).matches(&line).count();
            assert!(count <= 1, "seed {seed}: {line}");
            let is_taken = text(from).contains(&format!("-> p{to}: m{number}\r\n"));
            lost[from] += usize::from(is_taken) - count;
        }
        for (who, lost) in lost.into_iter().enumerate() {
            let text = text(who);
            let words = ["may not have heard you", "not delivered:"];
            let told: usize = words.map(|words| text.matches(words).count()).iter().sum();
            assert!(lost <= told, "seed {seed}: p{who} lost {lost}: {text}");
        }
    }
}
