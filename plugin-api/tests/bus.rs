//! The bus in the testing kit: what the header promises, between several hosts that share one.

use polyport_plugin::bus::{Event, Lease, Start};
use polyport_plugin::prelude::*;
use polyport_plugin::testing::{FakeBus, FakeHost, Peer, Setup};

/// Each line that a peer sends is a wish; each event is a line to the peer who came last.
#[derive(Default)]
struct Wishes {
    peer: Option<SessionId>,
    subscription: Option<SubscriptionId>,
}

impl Wishes {
    fn wish(&mut self, cx: &mut Context, line: &str) -> Result {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["publish", topic, id, text] => {
                cx.publish(topic, id.as_bytes(), text.as_bytes()).map(drop)
            }
            ["last", topic, count] => {
                let start = Start::Last(count.parse().map_err(|_| Error::Argument)?);
                self.subscription = Some(cx.subscribe(topic, start)?);
                Ok(())
            }
            ["from", topic, first] => {
                let start = Start::From(first.parse().map_err(|_| Error::Argument)?);
                cx.subscribe(topic, start).map(drop)
            }
            ["history", topic] => cx.history(topic, Start::Last(9)).map(drop),
            ["leave"] => cx.unsubscribe(self.subscription.take().ok_or(Error::Gone)?),
            ["claim", key, value, session] => cx
                .claim(key, value.as_bytes(), session.as_bytes())
                .map(drop),
            ["release", key, session] => cx.release(key, session.as_bytes()),
            ["watch", prefix] => cx.watch(prefix).map(drop),
            _ => Err(Error::Argument),
        }
    }
}

impl Protocol for Wishes {
    type Session = ();
    const BUS: bool = true;

    fn open(&mut self, _: &mut Context, session: SessionId, _: &Facts) -> Result<()> {
        self.peer = Some(session);
        Ok(())
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        if let Err(error) = self.wish(cx, &String::from_utf8_lossy(input)) {
            cx.write(from, format!("refused: {error}\n").as_bytes())?;
        }
        Ok(input.len())
    }

    fn bus(&mut self, cx: &mut Context, event: Event<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = match event {
            Event::Link { up } => format!("link {up}"),
            Event::Message { message, .. } => {
                format!(
                    "{} {} {}",
                    message.topic,
                    message.sequence,
                    text(message.bytes)
                )
            }
            Event::Missed { from, to, .. } => format!("missed {from}-{to}"),
            Event::CaughtUp { sequence, .. } => format!("caught up {sequence}"),
            Event::Published { result, .. } => format!("published {result:?}"),
            Event::Lease {
                key,
                lease: Lease::Won,
                ..
            } => format!("won {key}"),
            Event::Lease {
                key, lease, value, ..
            } => format!("{lease:?} {key} {}", text(value)),
            Event::Seen {
                key,
                held: Some(value),
                ..
            } => format!("seen {key} {}", text(value)),
            Event::Seen {
                key, held: None, ..
            } => format!("free {key}"),
        };
        if let Some(peer) = self.peer {
            let _ = cx.write(peer, format!("{line}\n").as_bytes());
        }
    }
}

/// A worker and its one peer.
struct Worker(FakeHost, Peer, usize);

impl Worker {
    fn on(bus: &FakeBus) -> Worker {
        let mut host = Setup::of::<Wishes>().bus(bus).start().expect("it starts");
        let peer = host.connect();
        Worker(host, peer, 0)
    }

    fn wish(&mut self, line: &str) -> String {
        self.0.send(self.1, line.as_bytes());
        self.news()
    }

    fn news(&mut self) -> String {
        self.0.hear_bus();
        let all = self.0.received(self.1);
        let new = String::from_utf8_lossy(&all[self.2..]).into_owned();
        self.2 = all.len();
        new
    }
}

#[test]
fn messages_reach_all_in_one_order_and_a_retry_is_not_doubled() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (Worker::on(&bus), Worker::on(&bus));
    assert_eq!(a.wish("last room 5"), "caught up 0\n");
    assert_eq!(b.wish("last room 5"), "caught up 0\n");
    assert_eq!(a.wish("publish room 1 hi"), "room 1 hi\npublished Ok(1)\n");
    assert_eq!(
        b.wish("publish room 2 ho"),
        "room 1 hi\nroom 2 ho\npublished Ok(2)\n"
    );
    assert_eq!(a.wish("publish room 1 hi"), "room 2 ho\npublished Ok(1)\n");
    assert_eq!(b.wish("leave"), "");
    a.wish("publish room 3 ha");
    assert_eq!(b.news(), "");
    assert_eq!(
        b.wish("history room"),
        "room 1 hi\nroom 2 ho\nroom 3 ha\ncaught up 3\n"
    );
    a.wish("publish room 4 he");
    assert_eq!(
        b.news(),
        "",
        "a look at history is over when it has caught up"
    );
}

#[test]
fn what_is_not_to_be_had_is_said() {
    let bus = FakeBus::new();
    let mut a = Worker::on(&bus);
    for n in 1..=4 {
        a.wish(&format!("publish room {n} m{n}"));
    }
    bus.forget_before("room", 3);
    assert_eq!(
        a.wish("from room 2"),
        "missed 2-2\nroom 3 m3\nroom 4 m4\ncaught up 4\n"
    );
    let mut b = Worker::on(&bus);
    b.wish("publish room 5 m5");
    bus.overflow();
    assert_eq!(a.news(), "missed 5-5\n");
}

#[test]
fn a_key_has_one_holder_until_it_is_given_up_or_its_worker_ends() {
    let bus = FakeBus::new();
    let (mut a, mut b) = (Worker::on(&bus), Worker::on(&bus));
    assert_eq!(b.wish("watch nick."), "");
    assert_eq!(a.wish("claim nick.bob a s1"), "won nick.bob\n");
    assert_eq!(
        b.wish("claim nick.bob b s2"),
        "seen nick.bob a\nDenied nick.bob a\n"
    );
    assert_eq!(
        a.wish("release nick.bob s9"),
        "refused: gone\n".replace("gone", &Error::Gone.to_string())
    );
    assert_eq!(a.wish("release nick.bob s1"), "");
    assert_eq!(
        b.wish("claim nick.bob b s2"),
        "free nick.bob\nseen nick.bob b\nwon nick.bob\n"
    );
    // The session moves: its new worker claims in its name.
    assert_eq!(a.wish("claim nick.bob b2 s2"), "won nick.bob\n");
    assert_eq!(b.news(), "Lost nick.bob b2\nseen nick.bob b2\n");
    a.0.crash();
    assert_eq!(b.news(), "free nick.bob\n");
    bus.steal("nick.eve", b"them");
    assert_eq!(b.news(), "seen nick.eve them\n");
}

#[test]
fn what_is_asked_while_the_bus_is_away_is_done_when_it_is_back() {
    let bus = FakeBus::new();
    let mut a = Worker::on(&bus);
    a.wish("last room 0");
    bus.lose();
    assert_eq!(a.wish("publish room 1 hi"), "link false\n");
    assert_eq!(a.wish("claim nick.bob a s1"), "");
    bus.restore();
    assert_eq!(
        a.news(),
        "link true\nroom 1 hi\npublished Ok(1)\nwon nick.bob\n"
    );
}

#[test]
fn bad_wishes_are_refused_and_nothing_waits_without_end() {
    let bus = FakeBus::new();
    let mut a = Worker::on(&bus);
    let argument = format!("refused: {}\n", Error::Argument);
    for wish in ["publish a*b 1 x", "claim k v ", "publish  1 x", "watch é"] {
        assert_eq!(a.wish(wish), argument, "{wish}");
    }
    bus.lose();
    a.news();
    let refused = (0..1001).filter(|n| !a.wish(&format!("publish t {n} x")).is_empty());
    assert_eq!(refused.count(), 1);
}
