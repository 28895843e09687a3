//! Who hears late, and who comes while nothing can be heard: nobody misses the end of a lease, and nobody
//! hears a message twice or not at all.
//!
//! Invariant: what is late or cut off here is so by bytes that are held back, never by a time.

use super::{Cable, STUFFING, Server};
use std::time::Instant;

use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::looking;
use crate::support::meeting::Peer;
use crate::{each_once_in_one_order, linked, start};

#[test]
fn a_node_that_hears_late_hears_of_what_was_held_meanwhile_and_of_its_end() {
    let server = Server::start("nats-slow");
    let cable = Cable::to(&server);
    let daemons = [
        start("nats-hears-late", &cable.url()),
        start("nats-hears", &server.url()),
    ];
    let [mut far, mut near] = [linked(&daemons[0]), linked(&daemons[1])];
    far.say("watch nick.");
    near.say("watch nick.");
    near.say("claim nick.ghost a s1");
    far.until("held nick.ghost a");
    cable.cut();
    server.stuff("meets");
    near.say("release nick.ghost s1");
    near.until("free nick.ghost");
    near.say("claim nick.letter text s2");
    near.until("held nick.letter text");
    near.say("release nick.letter s2");
    near.until("free nick.letter");
    cable.mend();
    far.until("free nick.ghost");
    // On a machine so slow that the node made another connection, it was not late but away.
    if !far.lines.iter().any(|line| line == "link false") {
        far.until("held nick.letter text");
        far.until("free nick.letter");
    }
    far.say("claim nick.ghost b s3");
    far.until("won nick.ghost b");
    near.until("held nick.ghost b");
    // What is left of a key that is free goes by itself.
    if std::env::var_os("POLYPORT_SOAK").is_some() {
        let until = Instant::now() + PATIENCE;
        while server.in_bucket("meets") > STUFFING + 1 {
            assert!(Instant::now() < until, "a marker stays");
            looking::again();
        }
    }
    drop((far, near));
    for daemon in daemons {
        daemon.finish(&[]);
    }
}

const ROUNDS: usize = 3;
const SIZE: usize = 30;

/// Two who hear all from the start, and two who come later; each at a node of its own, for the peers of
/// one worker are all told what one of them hears.
struct Meeting {
    daemons: [Daemon; 4],
    speakers: [Peer; 2],
    guests: [Peer; 2],
    rounds: usize,
}

impl Meeting {
    fn begun(name: &str, urls: [&str; 2]) -> Meeting {
        let daemons = [0, 1, 2, 3].map(|nth| start(&format!("{name}-{nth}"), urls[nth / 2]));
        let speakers = [linked(&daemons[0]), linked(&daemons[1])];
        let guests = [2, 3].map(|nth| {
            let mut guest = Peer::connect(&daemons[nth]);
            guest.say("history other 0");
            guest.until("caught up");
            guest
        });
        Meeting {
            daemons,
            speakers,
            guests,
            rounds: 0,
        }
    }

    /// Without waiting for an answer.
    fn speak(&mut self) {
        for (peer, from) in self.speakers.iter_mut().zip(["a", "b"]) {
            for nth in 0..SIZE {
                let text = format!("{from}{}.{nth}", self.rounds);
                peer.say(&format!("publish room {text} {text}"));
            }
        }
        self.rounds += 1;
    }

    fn join(&mut self, guest: usize) {
        self.guests[guest].say("last room 10000");
    }

    /// Everybody hears everything, once.
    fn end(mut self) {
        assert_eq!(self.rounds, ROUNDS);
        for peer in self.speakers.iter_mut().chain(&mut self.guests) {
            while peer.messages().len() < 2 * ROUNDS * SIZE {
                peer.next();
            }
            // Behind it nothing comes once more.
            peer.say("publish other end end");
            peer.until("published");
        }
        each_once_in_one_order(&self.speakers, ROUNDS, SIZE);
        for guest in &self.guests {
            assert_eq!(guest.messages(), self.speakers[0].messages());
        }
        drop((self.speakers, self.guests));
        for daemon in self.daemons {
            daemon.finish(&[]);
        }
    }
}

#[test]
fn who_joins_while_the_server_is_dead_hears_all_once() {
    let mut server = Server::start("nats-join-dead");
    let url = server.url();
    let mut meeting = Meeting::begun("nats-join-dead", [&url, &url]);
    meeting.speak();
    server.kill();
    meeting.join(0);
    meeting.guests[1].until("link false");
    meeting.speak();
    meeting.join(1);
    server.again();
    meeting.speak();
    meeting.end();
}

#[test]
fn who_joins_a_node_that_is_cut_off_hears_all_once() {
    let server = Server::start("nats-join-cut");
    let cable = Cable::to(&server);
    let mut meeting = Meeting::begun("nats-join-cut", [&server.url(), &cable.url()]);
    meeting.speak();
    cable.cut();
    meeting.join(0);
    meeting.speak();
    meeting.guests[1].until("link false");
    meeting.join(1);
    cable.mend();
    meeting.speak();
    meeting.end();
}
