//! An echo that panics in the callback that its settings name.
//!
//! For the daemon's tests: whatever panics, the session or the instance it happened in ends with a
//! fault, and everybody else is served. To reach `timer` and `wake`, each feed arms a timer and uses
//! a waker; to reach `writable`, it writes until the output is full.
#![forbid(unsafe_code)]

use std::time::Duration;

use polyport_plugin::prelude::*;

struct Panics {
    place: String,
}

impl Panics {
    fn pass(&self, place: &str) {
        assert!(self.place != place, "told to panic in {place}");
    }
}

impl Configure for Panics {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let panics = Panics {
            place: settings.text("where").to_owned(),
        };
        panics.pass("create");
        Ok(panics)
    }
}

impl Protocol for Panics {
    type Session = ();

    const OPTIONS: &'static [Opt] = &[Opt::text(c"where", c"The callback that panics.")
        .default(c"none")
        .choices(c"none|create|open|feed|peer_finished|writable|closed|timer|wake|drain|destroy")];

    fn open(&mut self, _: &mut Context, _: SessionId, _: &Facts) -> Result {
        self.pass("open");
        Ok(())
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        cx.write(from, input)?;
        self.pass("feed");
        match self.place.as_str() {
            "timer" => drop(cx.timer_set(Duration::ZERO, 1)?),
            "wake" => cx.waker()?.wake(1)?,
            "writable" => while cx.write(from, &[b'.'; 1024]).is_ok() {},
            _ => {}
        }
        Ok(input.len())
    }

    fn peer_finished(&mut self, cx: &mut Context, session: SessionId, _: &mut ()) -> Result {
        self.pass("peer_finished");
        cx.finish(session)
    }

    fn writable(&mut self, _: &mut Context, _: SessionId, _: &mut ()) {
        self.pass("writable");
    }

    fn closed(&mut self, _: &mut Context, _: SessionId, (): (), _: End) {
        self.pass("closed");
    }

    fn timer(&mut self, _: &mut Context, _: TimerId, _: u64) {
        self.pass("timer");
    }

    fn wake(&mut self, _: &mut Context, _: u64) {
        self.pass("wake");
    }

    fn drain(&mut self, _: &mut Context, _: Duration) {
        self.pass("drain");
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        self.pass("destroy");
    }
}

export_plugin!(Panics, name = "panics");

#[cfg(test)]
mod tests {
    use super::*;
    use polyport_plugin::testing::Setup;

    #[test]
    fn it_panics_where_it_is_told_to_and_nowhere_else() {
        let choices = Panics::OPTIONS[0];
        assert!(
            format!("{choices:?}").contains("destroy"),
            "the list below follows the option"
        );
        for place in [
            "none",
            "open",
            "feed",
            "peer_finished",
            "writable",
            "closed",
            "timer",
            "wake",
            "drain",
            "destroy",
        ] {
            let setup = Setup::of::<Panics>().set("where", place);
            let mut host = setup.start().expect("only create refuses");
            if let Ok(peer) = host.try_connect(Address::Unix) {
                host.send(peer, b"x");
                if host.end(peer).is_none() {
                    host.peer_finishes(peer);
                }
            }
            host.drain(Duration::ZERO);
            host.destroy();
            let faults = host.take_faults();
            let expected = if place == "none" { 0 } else { 1 };
            assert_eq!(faults.len(), expected, "{place}: {faults:?}");
            assert!(
                faults.iter().all(|text| text.starts_with(place)),
                "{faults:?}"
            );
        }
        let refusal = Setup::of::<Panics>().set("where", "create").start().err();
        assert!(refusal.is_some_and(|text| text.contains("told to panic in create")));
    }
}
