//! Private lines: to the session they were meant for, whatever it is called by the time they come, and to
//! nobody else.

use std::time::Duration;

use polyport_plugin::prelude::*;
use polyport_plugin::testing::{FakeBus, FakeHost, Peer, Setup};

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

/// More of them than are on their way in ordinary use.
#[test]
fn nobody_is_told_of_private_lines_that_were_heard_while_their_writer_was_carried() {
    let bus = FakeBus::new();
    let (mut workers, [eve, bob]) = eve_and_bob(&bus);
    for nth in 0..100 {
        say(&mut workers[0], eve, &format!("/msg bob m{nth}"));
    }
    (0..2).for_each(|_| workers[1].hear_bus());
    workers[0].carry().expect("eve is carried");
    settle(&mut workers);
    workers[0].advance(Duration::from_secs(11));
    let (heard, told) = (shown(&workers[1], bob), shown(&workers[0], eve));
    assert_eq!(heard.matches("*eve* m").count(), 100);
    assert!(!told.contains("may not have heard"), "{told}");
}

/// What ann is carried with is changed: it was rob she wrote to, when he was there already.
#[test]
fn a_private_line_for_the_worker_that_its_writer_comes_to_is_shown_once_and_forgotten() {
    let bus = FakeBus::new();
    let (mut workers, [rob, _]) = eve_and_bob(&bus);
    say(&mut workers[0], rob, "/nick rob");
    let ann = workers[0].connect();
    say(&mut workers[0], ann, "ann");
    settle(&mut workers);
    say(&mut workers[0], ann, "/msg bob psst");
    let mut is_carried = 0;
    let carried = workers[0].carry_changed(|bytes| {
        is_carried += 1;
        if is_carried == 2 {
            for (form, nth) in [("mail.{}.", NODE), ("bob\t{}", ID)] {
                let [was, is] = ["nick.bob", "nick.rob"].map(|key| field(&bus, key, nth));
                let (was, is) = (form.replace("{}", &was), form.replace("{}", &is));
                replace(bytes, &was, &is);
            }
        }
    });
    carried.expect("both are carried");
    settle(&mut workers);
    workers[0].advance(Duration::from_secs(61));
    let (heard, told) = (shown(&workers[0], rob), shown(&workers[0], ann));
    assert_eq!(heard.matches("*ann* psst").count(), 1, "{heard}");
    assert!(!told.contains("may not have heard"), "{told}");
    assert_eq!(workers[0].timers(), 0, "nothing waits for a receipt");
}

/// Whoever has taken it over is another worker of the writer's: the one before, whose claim was late, or
/// the next, which was not to have her after all.
#[test]
fn a_private_line_that_is_taken_over_is_shown_or_told_of() {
    for (carries, moves, is_shown) in [(true, 0, true), (false, 1, false)] {
        let bus = FakeBus::new();
        let (mut workers, [eve, bob]) = eve_and_bob(&bus);
        let [from, to] = ["nick.eve", "nick.bob"].map(|key| field(&bus, key, NODE));
        say(&mut workers[0], eve, "/msg bob psst");
        let key = format!("mail.{to}.{from}.{:016}", 1);
        let letter = bus.holder(&key).expect("it was sent");
        let letter = String::from_utf8(letter).expect("text");
        let letter = letter.replace("\t0\t", &format!("\t{moves}\t"));
        if carries {
            workers[0].carry().expect("eve is carried");
        }
        let mut other = Setup::of::<Claims>().bus(&bus).start().expect("it starts");
        let peer = other.connect();
        other.send(peer, format!("{key} {from} {letter}").as_bytes());
        workers[0].hear_bus();
        other.crash();
        workers[1].carry().expect("bob is carried");
        settle(&mut workers);
        workers[0].advance(Duration::from_secs(11));
        let (heard, told) = (shown(&workers[1], bob), shown(&workers[0], eve));
        assert_eq!(heard.contains("*eve* psst"), is_shown, "{heard}");
        assert_eq!(told.contains("may not have heard"), !is_shown, "{told}");
    }
}

/// Claims what it is told: a key, a session and a value.
struct Claims;

impl Configure for Claims {
    fn new(_: &Settings, _: &mut Context) -> Result<Self, String> {
        Ok(Claims)
    }
}

impl Protocol for Claims {
    type Session = ();

    const BUS: bool = true;

    fn open(&mut self, _: &mut Context, _: SessionId, _: &Facts) -> Result<()> {
        Ok(())
    }

    fn feed(&mut self, cx: &mut Context, _: SessionId, (): &mut (), input: &[u8]) -> Result<usize> {
        let mut parts = input.splitn(3, |byte| *byte == b' ');
        let [key, session, value] = [(); 3].map(|()| parts.next().unwrap_or_default());
        let key = std::str::from_utf8(key).expect("text");
        cx.claim(key, value, session)?;
        Ok(input.len())
    }
}

/// Of what everybody knows of somebody.
const ID: usize = 0;
const NODE: usize = 1;

fn field(bus: &FakeBus, key: &str, nth: usize) -> String {
    let value = String::from_utf8(bus.holder(key).expect("it is held")).expect("text");
    let field = value.split('\t').nth(nth);
    field.expect("it has so many").to_owned()
}

fn replace(bytes: &mut [u8], was: &str, is: &str) {
    let at = bytes
        .windows(was.len())
        .position(|it| it == was.as_bytes())
        .expect("it is there");
    bytes[at..at + is.len()].copy_from_slice(is.as_bytes());
}
