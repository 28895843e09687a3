//! Workers around one hub, of whom the first has the pen of a room.
//!
//! Invariant: what is said is carried when a test says so, and never by itself.

use super::super::super::client::{Client, Heard};
use super::super::super::core::{Hub, MemberId};
use super::super::super::simulation::shelf::Shelf;
use super::super::super::wire::{News, Start, next_frame};
use super::super::ROW;

pub(super) struct World {
    pub(super) hub: Hub<Shelf>,
    pub(super) workers: Vec<Worker>,
}

pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) member: MemberId,
    pub(super) told: Vec<String>,
    /// Of all that the hub has said.
    pub(super) heard_bytes: usize,
    pub(super) pens_had: usize,
}

impl World {
    /// So many workers, of whom the first follows the room.
    pub(super) fn new(workers: usize) -> World {
        let shelf = Shelf {
            keep: usize::MAX,
            ..Shelf::default()
        };
        let mut world = World {
            hub: Hub::new(shelf, false, 0),
            workers: Vec::new(),
        };
        for seed in 0..workers {
            let mut client = Client::new(seed as u64);
            client.attach();
            let member = world.hub.attach("chat", false);
            world.workers.push(Worker {
                client,
                member,
                told: Vec::new(),
                heard_bytes: 0,
                pens_had: 0,
            });
        }
        let first = &mut world.workers[0].client;
        first
            .subscribe(1, "room", Start::Last(0), true)
            .expect("room");
        world.settle();
        world
    }

    /// The first worker has the pen, and nothing is under way.
    pub(super) fn with_pen(workers: usize) -> World {
        let mut world = World::new(workers);
        world.publish(0, ROW);
        world.settle();
        assert_eq!(world.written(), 0);
        world.publish(0, 1);
        world.settle();
        assert_eq!(world.written(), 1, "by the worker itself");
        world.told(0);
        world
    }

    pub(super) fn publish(&mut self, nth: usize, count: u32) {
        for token in 0..u64::from(count) {
            let client = &mut self.workers[nth].client;
            client.publish(token, "room", b"", b"hi", 1).expect("room");
        }
    }

    pub(super) fn publish_named(&mut self, nth: usize, token: u64, id: &str) {
        let client = &mut self.workers[nth].client;
        client
            .publish(token, "room", id.as_bytes(), id.as_bytes(), 1)
            .expect("room");
    }

    pub(super) fn written(&self) -> u64 {
        self.hub.members[&self.workers[0].member].written
    }

    pub(super) fn is_out(&self) -> bool {
        self.hub.pens > 0
    }

    /// What a worker has for the hub is heard.
    pub(super) fn say(&mut self, nth: usize) {
        let worker = &mut self.workers[nth];
        let said = worker.client.output(true).to_vec();
        worker.client.sent(said.len());
        let mut at = 0;
        while let Some((content, taken)) = next_frame(&said[at..]).expect("well formed") {
            at += taken;
            self.hub
                .hear(worker.member, content, 1, 1)
                .expect("clients keep the rules");
        }
    }

    /// What the hub has for a worker is told.
    pub(super) fn listen(&mut self, nth: usize) {
        let worker = &mut self.workers[nth];
        let given = self.hub.output(worker.member).to_vec();
        self.hub.sent(worker.member, given.len());
        worker.heard_bytes += given.len();
        let mut at = 0;
        loop {
            while let Some(own) = worker.client.next_own() {
                worker.told.push(shown(&own.heard()));
            }
            let Some((content, taken)) = next_frame(&given[at..]).expect("well formed") else {
                return;
            };
            at += taken;
            let news = News::read(content).expect("well formed");
            worker.pens_had += usize::from(matches!(news, News::Pen { .. }));
            match worker.client.hear(content).expect("hubs keep the rules") {
                Heard::Nothing | Heard::Link(_) => {}
                heard => worker.told.push(shown(&heard)),
            }
        }
    }

    /// Until nobody has anything more to say.
    pub(super) fn settle(&mut self) {
        for _ in 0..8 {
            for nth in 0..self.workers.len() {
                self.say(nth);
                self.listen(nth);
            }
        }
    }

    pub(super) fn told(&mut self, nth: usize) -> Vec<String> {
        std::mem::take(&mut self.workers[nth].told)
    }
}

fn shown(heard: &Heard<'_>) -> String {
    match heard {
        Heard::Message { token, message, .. } => format!("{token}: {}", message.sequence),
        Heard::Published { sequence, .. } => format!("is {}", sequence.unwrap_or(0)),
        Heard::CaughtUp { sequence, .. } => format!("caught up {sequence}"),
        Heard::Won { key, .. } => format!("won {key}"),
        other => format!("{other:?}"),
    }
}
