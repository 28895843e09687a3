//! What becomes of what a worker has said when the worker, or the hub before this one, has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::hub::wire::{Ask, Start, VERSION};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

const HELLO: [Ask<'static>; 2] = [Ask::Hello { version: VERSION }, Ask::Resumed];

fn publish(token: u64, text: &str) -> Ask<'_> {
    Ask::Publish {
        token,
        topic: "room",
        id: text.as_bytes(),
        bytes: text.as_bytes(),
    }
}

/// A hub, and its members' other ends.
struct Scene {
    process: Process,
    workers: Vec<Option<OwnedFd>>,
    ids: Vec<MemberId>,
}

impl Scene {
    fn new(workers: usize, replaces: bool) -> Scene {
        Scene::with_history(0, workers, replaces)
    }

    fn with_history(messages: u64, workers: usize, replaces: bool) -> Scene {
        let retention = Retention {
            messages,
            keep_ms: 0,
            holes: false,
        };
        let store = Sqlite::open(Path::new(":memory:"), retention);
        let mut scene = Scene {
            process: Process::new(store, replaces).expect("an event queue"),
            workers: Vec::new(),
            ids: Vec::new(),
        };
        for _ in 0..workers {
            let (kind, flags) = (SockType::Stream, SockFlag::SOCK_NONBLOCK);
            let ends = socketpair(AddressFamily::Unix, kind, None, flags).expect("a pair");
            scene.process.attach("chat", ends.0, true);
            scene.workers.push(Some(ends.1));
        }
        scene.ids = scene.process.members.keys().copied().collect();
        scene
    }

    fn say(&self, worker: usize, asks: &[Ask<'_>]) {
        let mut bytes = Vec::new();
        for ask in asks {
            ask.write(&mut bytes);
        }
        let end = self.workers[worker].as_ref().expect("it lives");
        let sent = send(end.as_raw_fd(), &bytes, MsgFlags::empty());
        assert_eq!(sent, Ok(bytes.len()));
    }

    /// What a turn does with what one member has said.
    fn listen(&mut self, worker: usize) {
        let id = self.ids[worker];
        if let Some(end) = self.process.members.get_mut(&id) {
            end.readable = true;
        }
        self.process.listen(id, 0);
    }

    /// The numbers and texts of the room.
    fn said(&self) -> Vec<(u64, String)> {
        let hub = &self.process.hub;
        let Some(number) = hub.services[0].topics.get("room") else {
            return Vec::new();
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let latest = hub.topics[number].latest.iter();
        latest.map(|it| (it.sequence, text(&it.bytes))).collect()
    }
}

#[test]
fn what_a_recovery_held_back_is_heard_when_it_is_over() {
    let mut scene = Scene::new(2, true);
    for worker in 0..2 {
        scene.process.flush();
        assert!(
            scene.process.patience_ms() > 0,
            "nothing is held back that may be heard"
        );
        scene.say(worker, &[HELLO[0], HELLO[1], publish(1, "hi")]);
        scene.listen(worker);
    }
    assert_eq!(
        scene.process.patience_ms(),
        0,
        "the first one's message is to be heard"
    );
}

#[test]
fn last_words_are_heard_though_their_worker_ended_during_a_recovery() {
    let mut scene = Scene::new(2, true);
    scene.say(0, &[HELLO[0], HELLO[1], publish(1, "last words")]);
    scene.listen(0);
    scene.workers[0] = None;
    // Its end is found before what it has said may be heard.
    scene.listen(0);
    assert_eq!(scene.said(), []);
    scene.say(1, &HELLO);
    scene.listen(1);
    assert_eq!(scene.process.patience_ms(), 0);
    scene.process.listen(scene.ids[0], 0);
    assert_eq!(scene.said(), [(1, "last words".to_owned())]);
    assert!(!scene.process.members.contains_key(&scene.ids[0]));
}

#[test]
fn last_words_are_heard_though_their_worker_cannot_be_told_anything() {
    let mut scene = Scene::new(2, false);
    let subscribe = Ask::Subscribe {
        token: 7,
        topic: "room",
        start: Start::Last(0),
        live: true,
    };
    for worker in 0..2 {
        scene.say(worker, &[HELLO[0], HELLO[1], subscribe]);
        scene.listen(worker);
    }
    scene.process.flush();
    scene.say(0, &[publish(1, "last words")]);
    scene.workers[0] = None;
    // What another has said is to be told to it before it is read.
    scene.say(1, &[publish(1, "hi")]);
    scene.listen(1);
    scene.process.flush();
    scene.listen(0);
    scene.listen(0);
    let texts = [(1, "hi".to_owned()), (2, "last words".to_owned())];
    assert_eq!(scene.said(), texts);
    assert!(!scene.process.members.contains_key(&scene.ids[0]));
}

#[test]
fn who_takes_whatever_is_sent_has_no_more_of_a_turn_than_others() {
    const COUNT: u64 = 600;
    let mut scene = Scene::new(2, false);
    for worker in 0..2 {
        scene.say(worker, &HELLO);
        scene.listen(worker);
    }
    let text = "x".repeat(16_000);
    for token in 1..=COUNT {
        let id = token.to_string();
        let message = Ask::Publish {
            token,
            topic: "room",
            id: id.as_bytes(),
            bytes: text.as_bytes(),
        };
        scene.say(0, &[message]);
        scene.listen(0);
    }
    let subscribe = Ask::Subscribe {
        token: 7,
        topic: "room",
        start: Start::From(1),
        live: true,
    };
    scene.say(1, &[subscribe]);
    scene.listen(1);
    let end = scene.workers[1].take().expect("it lives");
    let taken = Arc::new(AtomicUsize::new(0));
    let reader = thread::spawn({
        let taken = Arc::clone(&taken);
        move || take(&end, COUNT as usize * text.len(), &taken)
    });
    let id = scene.ids[1];
    while !reader.is_finished() {
        let before = taken.load(Ordering::Relaxed);
        scene.process.send(id);
        let sent = taken.load(Ordering::Relaxed) - before;
        // What lay in the socket before, and its last piece.
        assert!(sent <= OUTPUT_BYTES_MAX + (1 << 20), "{sent} bytes");
        let end = scene.process.members.get_mut(&id).expect("it is there");
        let has_more = !scene.process.hub.output(id).is_empty();
        if end.writable && has_more {
            assert_eq!(scene.process.patience_ms(), 0, "its turn comes again");
        } else {
            // As the event queue will say.
            let mut fds = [PollFd::new(end.socket.as_fd(), PollFlags::POLLOUT)];
            poll(&mut fds, PollTimeout::NONE).expect("it can be waited for");
            end.writable = true;
        }
    }
    reader.join().expect("all of it has come");
}

#[test]
fn who_opens_many_topics_at_once_is_heard_a_part_at_a_time() {
    let mut scene = Scene::with_history(1000, 1, false);
    scene.say(0, &HELLO);
    scene.listen(0);
    let names: Vec<String> = (0..500).map(|nth| format!("room{nth}")).collect();
    let subscribe = |(token, topic)| Ask::Subscribe {
        token,
        topic,
        start: Start::Last(10),
        live: true,
    };
    let asks: Vec<Ask<'_>> = (1..)
        .zip(names.iter().map(String::as_str))
        .map(subscribe)
        .collect();
    scene.say(0, &asks);
    let opened = |scene: &Scene| scene.process.hub.topics.len();
    let mut turns = 0;
    while opened(&scene) < names.len() {
        let before = opened(&scene);
        scene.listen(0);
        scene.process.flush();
        let now = opened(&scene);
        assert!(now > before && now - before < 300, "{before}, {now}");
        assert!(now == names.len() || scene.process.patience_ms() == 0);
        turns += 1;
    }
    assert!(turns > 1);
}

/// Reads as fast as it can.
fn take(end: &OwnedFd, bytes: usize, taken: &AtomicUsize) {
    let mut buffer = vec![0; 1 << 20];
    while taken.load(Ordering::Relaxed) < bytes {
        let mut fds = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("it can be waited for");
        match recv(end.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(count) => taken.fetch_add(count, Ordering::Relaxed),
            Err(error) => panic!("{error}"),
        };
    }
}
