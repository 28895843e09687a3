//! Metrics through the fake host: what a plugin counts is what a test reads, and a wrong number is told off.

use polyport_plugin::metrics::{Counter, Gauge, Histogram};
use polyport_plugin::prelude::*;
use polyport_plugin::testing::{Script, Setup};

mod c_examples;
mod compiler;

#[test]
fn the_example_counts_each_answer_once_whatever_is_refused() {
    let setup = Setup::table(c_examples::load("counting"));
    setup.each_write_refused(|host, _| {
        let peer = host.connect();
        host.send(peer, b"hello");
        host.send(peer, &[b'x'; 81]);
        assert_eq!(host.metric("answers"), 2);
        assert_eq!(host.histogram("answer_bytes"), [1, 1, 0]);
        assert_eq!(host.metric("answer_bytes"), 86);
    });
}

/// Obeys each byte.
struct Obeys {
    up: Counter,
    level: Gauge,
    sizes: Histogram,
}

impl Configure for Obeys {
    fn new(_: &Settings, cx: &mut Context) -> Result<Self, String> {
        for (name, bounds) in [("level_total", &[1][..]), ("Level", &[1]), ("level", &[])] {
            assert_eq!(cx.histogram(name, "A.", bounds), Err(Error::Argument));
        }
        let obeys = Obeys {
            up: cx.counter("up", "How often it was told to.")?,
            level: cx.gauge("level", "Where it stands.")?,
            sizes: cx.histogram("sizes", "How large it was.", &[1, 2])?,
        };
        assert_eq!(cx.gauge("up", "Again."), Err(Error::Argument));
        for number in 4..=64 {
            cx.gauge(&format!("spare_{number}"), "One of many.")?;
        }
        assert_eq!(cx.counter("late", "One too many."), Err(Error::Full));
        Ok(obeys)
    }
}

impl Protocol for Obeys {
    type Session = ();

    fn feed(&mut self, cx: &mut Context, _: SessionId, _: &mut (), input: &[u8]) -> Result<usize> {
        for byte in input {
            match byte {
                b'+' => cx.change(self.level, 1),
                b'-' => cx.change(self.level, -1),
                b'=' => cx.set(self.level, 100),
                digit => cx.record(self.sizes, u64::from(digit - b'0')),
            }
            cx.add(self.up, 1);
        }
        Ok(input.len())
    }
}

#[test]
fn each_kind_is_changed_in_its_own_way() {
    let mut host = Setup::of::<Obeys>().start().expect("it starts");
    let peer = host.connect();
    host.send(peer, b"---01229");
    assert_eq!(host.metric("level"), -3);
    host.send(peer, b"=+");
    assert_eq!(host.metric("level"), 101);
    assert_eq!(host.metric("up"), 10);
    assert_eq!(host.histogram("sizes"), [2, 2, 1]);
    assert_eq!(host.metric("sizes"), 14);
}

struct Handles(Counter, Gauge);

impl Configure for Handles {
    fn new(_: &Settings, cx: &mut Context) -> Result<Self, String> {
        Ok(Handles(
            cx.counter("handled", "Sessions.")?,
            cx.gauge("inside", "Sessions that are served now.")?,
        ))
    }
}

impl Blocking for Handles {
    type Session = ();

    fn handle(&self, (): &mut (), stream: &mut Stream) -> std::io::Result<()> {
        stream.add(self.0, 1);
        stream.change(self.1, 1);
        stream.set(self.1, 0);
        Ok(())
    }
}

#[test]
fn a_handler_counts_on_its_thread() {
    let mut host = Setup::blocking::<Handles>().start().expect("it starts");
    for _ in 0..3 {
        host.serve(Script::new());
    }
    assert_eq!((host.metric("handled"), host.metric("inside")), (3, 0));
}
