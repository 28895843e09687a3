//! A pen lent, used, asked back and lost, by workers around one hub.

use super::super::client::{Refusal, UNSTORED_BYTES_MAX, UNSTORED_MAX, WAITING_MAX};
use super::super::ids::IDS_MAX;
use super::super::simulation::shelf::Shelf;
use super::super::wire::{Start, VERSION, next_frame};
use super::*;
use world::World;

mod world;

#[test]
fn a_pen_is_lent_to_who_alone_follows_and_has_more_to_say() {
    type Before = fn(&mut World);
    let rows: [(&str, u32, Before, bool); 7] = [
        ("alone", ROW + 1, |_| {}, true),
        ("with too little to say", ROW - 1, |_| {}, false),
        (
            "with another one who follows",
            ROW + 1,
            |world| {
                let second = &mut world.workers[1].client;
                second
                    .subscribe(1, "room", Start::Last(0), true)
                    .expect("room");
            },
            false,
        ),
        (
            "with another one who has only looked",
            ROW + 1,
            |world| {
                let second = &mut world.workers[1].client;
                second
                    .subscribe(1, "room", Start::Last(9), false)
                    .expect("room");
            },
            true,
        ),
        (
            "who does not follow any more",
            ROW + 1,
            |world| world.workers[0].client.unsubscribe(1).expect("it did"),
            false,
        ),
        (
            "on the way out",
            ROW + 1,
            |world| world.workers[0].client.part(),
            false,
        ),
        (
            "while nothing is stored",
            ROW + 1,
            |world| world.hub.store().broken = true,
            false,
        ),
    ];
    for (who, count, before, is_lent) in rows {
        let mut world = World::new(2);
        before(&mut world);
        world.settle();
        world.publish(0, count);
        world.settle();
        assert_eq!(world.is_out(), is_lent, "a worker {who}");
    }
}

#[test]
fn a_worker_of_an_earlier_build_is_offered_nothing() {
    let shelf = Shelf {
        keep: usize::MAX,
        ..Shelf::default()
    };
    let mut hub = Hub::new(shelf, false, 0);
    let member = hub.attach("chat", false);
    let mut said = Vec::new();
    Ask::Hello { version: VERSION }.write(&mut said);
    Ask::Resumed.write(&mut said);
    Ask::Subscribe {
        token: 1,
        topic: "room",
        start: Start::Last(0),
        live: true,
    }
    .write(&mut said);
    for token in 0..100 {
        Ask::Publish {
            token,
            topic: "room",
            id: b"",
            bytes: b"hi",
        }
        .write(&mut said);
    }
    let mut at = 0;
    while let Some((content, taken)) = next_frame(&said[at..]).expect("well formed") {
        at += taken;
        hub.hear(member, content, 1, 1).expect("as it always was");
    }
    let given = hub.output(member).to_vec();
    let mut at = 0;
    while let Some((content, taken)) = next_frame(&given[at..]).expect("well formed") {
        at += taken;
        let news = News::read(content).expect("well formed");
        assert!(!matches!(news, News::Offer { .. }), "{news:?}");
    }
}

#[test]
fn what_others_ask_waits_for_the_pen_and_the_rest_of_what_they_say_does_not() {
    let mut world = World::with_pen(2);
    world.publish(0, 2);
    // Another publisher, a subscription that ends before it began, and one that stays.
    world.publish_named(1, 1, "mine");
    let second = &mut world.workers[1].client;
    second
        .subscribe(2, "room", Start::Last(1), true)
        .expect("room");
    second.unsubscribe(2).expect("it does");
    second
        .subscribe(3, "room", Start::Last(1), true)
        .expect("room");
    second.claim(4, "key", b"", b"session").expect("room");
    world.say(1);
    world.listen(1);
    assert_eq!(world.told(1), ["won key"]);
    world.settle();
    let n = u64::from(ROW) + 1;
    let own = |sequence| [format!("1: {sequence}"), format!("is {sequence}")];
    let expected = [&own(n + 1)[..], &own(n + 2), &[format!("1: {}", n + 3)]].concat();
    assert_eq!(world.told(0), expected);
    let [is, first] = [format!("is {}", n + 3), format!("3: {}", n + 3)];
    assert_eq!(world.told(1), [is, first, format!("caught up {}", n + 3)]);
    assert!(!world.is_out() && world.hub.put_off.is_empty());
    assert!(world.hub.members.values().all(|it| it.put_off_bytes == 0));
    // Both follow now.
    world.publish(0, 3 * ROW);
    world.settle();
    assert!(!world.is_out());
}

#[test]
fn two_who_wait_for_each_others_pens_get_them() {
    let mut world = World::with_pen(2);
    let second = &mut world.workers[1].client;
    second
        .subscribe(1, "den", Start::Last(0), true)
        .expect("room");
    for token in 0..=u64::from(ROW) {
        second.publish(token, "den", b"", b"hi", 1).expect("room");
    }
    world.settle();
    assert_eq!(world.hub.pens, 2);
    let first = &mut world.workers[0].client;
    first.publish(7, "den", b"", b"hi", 1).expect("room");
    world.publish(1, 1);
    world.settle();
    assert_eq!(world.hub.pens, 0);
    assert!(world.workers.iter().all(|it| !it.client.has_unanswered()));
}

#[test]
fn with_a_pen_a_retry_is_known_and_what_has_ended_is_not_told() {
    let mut world = World::new(2);
    world.publish_named(0, 100, "early");
    world.publish(0, ROW);
    world.settle();
    assert!(world.is_out());
    world.told(0);
    let n = u64::from(ROW) + 1;
    world.publish_named(0, 101, "late");
    world.publish_named(0, 102, "early");
    world.publish_named(0, 103, "late");
    world.listen(0);
    let late = format!("is {}", n + 1);
    let expected = [
        format!("1: {}", n + 1),
        late.clone(),
        "is 1".to_owned(),
        late,
    ];
    assert_eq!(world.told(0), expected);
    world.publish_named(0, 104, "last");
    world.workers[0].client.unsubscribe(1).expect("it does");
    world.settle();
    assert_eq!(world.told(0), [format!("is {}", n + 2)]);
    assert!(!world.is_out(), "nobody follows");
    world.publish_named(1, 1, "last");
    world.settle();
    assert_eq!(world.told(1), [format!("is {}", n + 2)]);
}

#[test]
fn what_is_not_stored_is_said_to_the_next_hub_with_its_number() {
    let mut world = World::with_pen(1);
    let n = u64::from(ROW) + 1;
    // Stored is what the hub has heard; the message behind that is remembered.
    world.publish_named(0, 50, "unheard");
    world.hub.store().commit();
    world.hub.stored();
    world.listen(0);
    world.workers[0].client.lose();
    assert!(world.workers[0].client.has_unanswered());
    let shelf = world.hub.store().clone().after_death();
    world.hub = Hub::new(shelf, true, 0);
    world.workers[0].member = world.hub.attach("chat", true);
    world.workers[0].client.attach();
    world.settle();
    let told = [format!("1: {}", n + 1), format!("is {}", n + 1)];
    assert_eq!(world.told(0), told);
    world.publish_named(0, 51, "unheard");
    world.settle();
    assert_eq!(world.told(0), [format!("is {}", n + 1)]);
}

#[test]
fn what_a_dead_holder_has_said_comes_before_what_was_put_off() {
    let mut world = World::with_pen(2);
    let n = u64::from(ROW) + 1;
    world.publish(0, 1);
    world.publish_named(1, 1, "mine");
    world.say(1);
    let holder = world.workers[0].member;
    world.hub.deafen(holder);
    world.say(0);
    world.hub.heard_all(holder);
    world.listen(1);
    assert_eq!(world.told(1), [format!("is {}", n + 2)]);
    world.hub.detach(holder);
    assert!(!world.is_out());
}

#[test]
fn a_worker_that_can_remember_no_more_lets_its_messages_wait() {
    let mut world = World::with_pen(1);
    let big = vec![b'x'; UNSTORED_BYTES_MAX / 64];
    let client = &mut world.workers[0].client;
    for token in 0..100 {
        client.publish(token, "room", b"", &big, 1).expect("room");
    }
    world.listen(0);
    let told = world.told(0).len();
    assert!(told < 2 * 64, "{told}");
    world.say(0);
    world.hub.store().commit();
    world.hub.stored();
    world.settle();
    assert_eq!(told + world.told(0).len(), 2 * 100);
    assert_eq!(world.written(), 101);
    // What is answered and not told yet counts as well.
    let client = &mut world.workers[0].client;
    let taken = (0..).take_while(|token| client.publish(*token, "room", b"", b"", 1).is_ok());
    assert_eq!(taken.count(), WAITING_MAX);
    assert_eq!(client.publish(0, "room", b"", b"", 1), Err(Refusal::Full));
}

#[test]
fn what_waits_is_asked_of_the_hub_when_nothing_can_be_stored_any_more() {
    let mut world = World::with_pen(1);
    let big = vec![b'x'; UNSTORED_BYTES_MAX / 64];
    for token in 0..100 {
        let client = &mut world.workers[0].client;
        client.publish(token, "room", b"", &big, 1).expect("room");
    }
    world.say(0);
    world.hub.store().broken = true;
    world.hub.recall_all();
    world.settle();
    assert!(!world.is_out());
    assert_eq!(world.told(0).len(), 2 * 100, "each is told and answered");
    assert!(!world.workers[0].client.has_unanswered());
}

#[test]
fn only_what_was_numbered_here_may_wait_in_the_output() {
    let mut world = World::with_pen(1);
    let client = &mut world.workers[0].client;
    assert!(!client.has_unanswered());
    client.publish(1, "room", b"", b"hi", 1).expect("room");
    assert!(client.output(false).is_empty() && !client.output(true).is_empty());
    assert!(client.has_unanswered(), "the hub is to hear of it");
    client.claim(1, "key", b"", b"session").expect("room");
    assert_eq!(client.output(false), client.output(true));
    // What is left of it does not wait either.
    client.sent(1);
    assert!(!client.output(false).is_empty());
    let rest = client.output(true).len();
    client.sent(rest);
    let big = [b'x'; 1024];
    for token in 0..20 {
        client.publish(token, "room", b"", &big, 1).expect("room");
    }
    assert!(client.output(false).len() > 16 * 1024);
}

#[test]
fn who_parts_has_given_its_pens_back_before_it_is_done() {
    let mut world = World::with_pen(1);
    world.publish(0, 1);
    let client = &mut world.workers[0].client;
    while client.next_own().is_some() {}
    client.part();
    let said = client.output(false).len();
    assert!(said > 0 && client.has_unanswered());
    world.say(0);
    assert!(world.workers[0].client.has_unanswered(), "not answered");
    world.settle();
    assert!(!world.is_out() && !world.workers[0].client.has_unanswered());
    world.publish(0, 3 * ROW);
    world.settle();
    assert!(!world.is_out(), "and takes none");
}

/// Its session is given to the next worker, which publishes as soon as it is there.
#[test]
fn what_waits_for_a_pen_is_numbered_before_its_session_says_more_elsewhere() {
    let mut world = World::new(2);
    world.publish(0, ROW);
    world.say(0);
    world.listen(0);
    // The pen is offered, and taken; it is not here yet.
    world.publish_named(0, 50, "first");
    let client = &mut world.workers[0].client;
    client.part();
    let published = client.published();
    let is_ahead = |world: &World| {
        let client = &world.workers[0].client;
        client.output(true).is_empty() && client.has_settled(published)
    };
    while !is_ahead(&world) {
        world.say(0);
        if !is_ahead(&world) {
            world.listen(0);
        }
    }
    world.publish_named(1, 51, "second");
    world.say(1);
    world.settle();
    let n = u64::from(ROW);
    assert!(world.told(0).contains(&format!("is {}", n + 1)));
    assert_eq!(world.told(1), [format!("is {}", n + 2)]);
}

/// Another worker says something now and then: each time the pen comes back, and it costs all ids.
#[test]
fn a_pen_that_never_stays_is_lent_more_and_more_seldom_until_it_stays_again() {
    const ROUNDS: u64 = 100;
    let mut world = World::new(2);
    let says = |world: &mut World, nth: usize, count: usize| {
        for left in (0..count).step_by(512) {
            world.publish(nth, (count - left).min(512) as u32);
            world.settle();
            world.hub.stored();
        }
    };
    says(&mut world, 0, IDS_MAX);
    let seesaw = |world: &mut World| {
        let before = (world.workers[0].heard_bytes, world.workers[0].pens_had);
        for _ in 0..ROUNDS {
            says(world, 0, 20);
            says(world, 1, 1);
        }
        let worker = &world.workers[0];
        (worker.heard_bytes - before.0, worker.pens_had - before.1)
    };
    // Two are lent anew, after 8 and after 16; each goes with more than 100 KiB of ids.
    let (bytes, pens) = seesaw(&mut world);
    assert!(pens <= 2 && bytes < 1 << 20, "{pens} pens, {bytes} bytes");
    // The other one is silent at last.
    says(&mut world, 0, 40);
    assert!(world.is_out());
    says(&mut world, 0, IDS_MAX);
    says(&mut world, 1, 1);
    assert!(!world.is_out());
    says(&mut world, 0, ROW as usize);
    assert!(
        world.is_out(),
        "it was worth its ids, and is lent as at first"
    );
}

#[test]
fn there_are_so_many_pens_for_a_worker_and_no_more() {
    let mut world = World::with_pen(1);
    for nth in 0..PENS_MAX as u64 {
        let topic = format!("room{nth}");
        let client = &mut world.workers[0].client;
        client
            .subscribe(2 + nth, &topic, Start::Last(0), true)
            .expect("room");
        world.settle();
        for token in 0..u64::from(2 * ROW) {
            let client = &mut world.workers[0].client;
            client.publish(token, &topic, b"", b"hi", 1).expect("room");
            world.settle();
        }
    }
    assert_eq!(world.hub.pens, PENS_MAX);
    let topics = &world.hub.services[0].topics;
    let (first, last) = (topics["room"], topics[&format!("room{}", PENS_MAX - 1)]);
    assert!(world.hub.holder(first).is_some() && world.hub.holder(last).is_none());
}

#[test]
fn what_was_said_where_nobody_follows_takes_no_room_for_good() {
    let mut world = World::with_pen(1);
    for token in 0..2 * UNSTORED_MAX as u64 {
        let client = &mut world.workers[0].client;
        client.publish(token, "other", b"", b"hi", 1).expect("room");
        if token % 512 == 511 {
            world.settle();
            world.hub.stored();
        }
    }
    world.settle();
    let client = &mut world.workers[0].client;
    client.publish(0, "room", b"", b"hi", 1).expect("room");
    let told = (0..).take_while(|_| client.next_own().is_some()).count();
    assert_eq!(told, 2, "it is told and answered at once");
}

#[test]
fn who_breaks_the_rules_of_a_pen_is_not_listened_to() {
    let message = |sequence| Message {
        sequence,
        time_ms: 1,
        id: b"",
        bytes: b"",
    };
    let next = u64::from(ROW) + 2;
    let wrote = |topic, sequence| Ask::Wrote {
        topic,
        message: message(sequence),
    };
    let publish = Ask::Publish {
        token: 1,
        topic: "room",
        id: b"",
        bytes: b"",
    };
    let rows = [
        (0, wrote("room", next), true),
        (0, wrote("room", next + 1), false),
        (0, wrote("room", next - 1), false),
        (0, wrote("den", 1), false),
        (1, wrote("room", next), false),
        (0, publish, false),
        (1, publish, true),
        (0, Ask::Return { topic: "room" }, true),
        (0, Ask::Return { topic: "den" }, false),
        (1, Ask::Return { topic: "room" }, false),
        // Refused, but no breach: others were quicker.
        (1, Ask::Take { topic: "room" }, true),
        (1, Ask::Take { topic: "den" }, true),
    ];
    for (nth, ask, is_heard) in rows {
        let mut world = World::with_pen(2);
        let mut frame = Vec::new();
        ask.write(&mut frame);
        let member = world.workers[nth].member;
        let heard = world.hub.hear(member, &frame[4..], 1, 1);
        assert_eq!(heard.is_ok(), is_heard, "{ask:?} by {nth}");
    }
    let mut world = World::with_pen(2);
    let big = vec![b'x'; MESSAGE_BYTES_MAX];
    let mut frame = Vec::new();
    Ask::Publish {
        token: 1,
        topic: "room",
        id: b"",
        bytes: &big,
    }
    .write(&mut frame);
    let member = world.workers[1].member;
    let heard = (0..).take_while(|_| world.hub.hear(member, &frame[4..], 1, 1).is_ok());
    assert_eq!(heard.count(), PUT_OFF_BYTES_MAX / (frame.len() - 4));
}
