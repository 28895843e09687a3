//! A plugin that panics, through its real C table: the panic stops in the SDK's glue.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use polyport_plugin::prelude::*;
use polyport_plugin::testing::Setup;

thread_local! {
    /// Where `Fragile` panics next, and which sessions' states were dropped.
    static PANIC_IN: Cell<&'static str> = const { Cell::new("") };
    static CALLS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

fn passes(method: &'static str) {
    CALLS.with_borrow_mut(|calls| calls.push(method));
    if PANIC_IN.get() == method {
        panic!("in {method}");
    }
}

#[derive(Default)]
struct Fragile;

#[derive(Default)]
struct FragileSession {
    opened: bool,
}

impl Drop for FragileSession {
    fn drop(&mut self) {
        if self.opened {
            passes("dropping the session");
        }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        passes("destroy");
    }
}

impl Protocol for Fragile {
    type Session = FragileSession;
    const DATAGRAMS: bool = true;

    fn open(&mut self, _: &mut Context, _: SessionId, _: &Facts) -> Result<FragileSession> {
        passes("open");
        Ok(FragileSession { opened: true })
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut FragileSession,
        input: &[u8],
    ) -> Result<usize> {
        cx.write(from, input)?;
        cx.timer_set(Duration::ZERO, 1)?;
        cx.waker()?.wake(2)?;
        passes("feed");
        Ok(input.len())
    }

    fn peer_finished(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        _: &mut FragileSession,
    ) -> Result {
        passes("peer_finished");
        cx.finish(session)
    }

    fn writable(&mut self, _: &mut Context, _: SessionId, _: &mut FragileSession) {
        passes("writable");
    }

    fn closed(&mut self, _: &mut Context, _: SessionId, _: FragileSession, _: End) {
        passes("closed");
    }

    fn datagram(&mut self, _: &mut Context, _: &Datagram, _: &[u8]) -> Result {
        passes("datagram");
        Ok(())
    }

    fn timer(&mut self, _: &mut Context, _: TimerId, _: u64) {
        passes("timer");
    }

    fn wake(&mut self, _: &mut Context, _: u64) {
        passes("wake");
    }

    fn drain(&mut self, _: &mut Context, _: Duration) {
        passes("drain");
    }
}

#[test]
fn a_panic_in_any_method_is_reported_and_ends_at_most_its_session() {
    for (method, end) in [
        ("", Some(End::Finished)),
        ("open", None),
        ("feed", Some(End::Fault)),
        ("peer_finished", Some(End::Fault)),
        ("writable", Some(End::Fault)),
        ("closed", Some(End::Finished)),
        ("datagram", Some(End::Finished)),
        ("timer", Some(End::Finished)),
        ("wake", Some(End::Finished)),
        ("drain", Some(End::Finished)),
        ("destroy", Some(End::Finished)),
    ] {
        PANIC_IN.set(method);
        CALLS.take();
        let mut host = Setup::of::<Fragile>()
            .full_at(1)
            .start()
            .expect("it has no settings");
        let from = Address::Unix;
        let victim = host.try_connect(from);
        assert_eq!(
            victim.err(),
            (method == "open").then_some(Error::Panicked),
            "{method}"
        );
        if let Ok(victim) = victim {
            host.send(victim, b"x");
            if host.end(victim).is_none() {
                host.peer_finishes(victim);
            }
            assert_eq!(host.end(victim), end, "{method}");
        }
        assert_eq!(host.datagram(from, b"").is_err(), method == "datagram");
        host.drain(Duration::ZERO);
        host.destroy();
        let faults = host.take_faults();
        if method.is_empty() {
            assert!(faults.is_empty(), "{faults:?}");
            continue;
        }
        assert_eq!(faults.len(), 1, "{method}: {faults:?}");
        let expected = format!("{method} panicked at plugin-api/tests/panics.rs:");
        assert!(faults[0].starts_with(&expected), "{}", faults[0]);
        assert!(
            faults[0].ends_with(&format!(": in {method}")),
            "{}",
            faults[0]
        );
        let calls = CALLS.take();
        assert_eq!(calls.last(), Some(&"destroy"), "{method}");
        if end == Some(End::Fault) {
            let after = calls
                .iter()
                .position(|call| *call == method)
                .expect("it was called");
            assert_eq!(
                calls[after + 1],
                "dropping the session",
                "{method}: {calls:?}"
            );
            assert!(
                !calls.contains(&"closed"),
                "{method}: the state is not handed over again"
            );
        }
    }
}

#[test]
fn a_state_that_panics_when_dropped_after_a_panic_is_harmless() {
    #[derive(Default)]
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "boom");
        }
    }
    #[derive(Default)]
    struct Twice;
    impl Protocol for Twice {
        type Session = Bomb;
        fn feed(
            &mut self,
            _: &mut Context,
            _: SessionId,
            it: &mut Bomb,
            _: &[u8],
        ) -> Result<usize> {
            it.0 = true;
            panic!("first");
        }
    }
    let mut host = Setup::of::<Twice>().start().expect("it has no settings");
    let (victim, other) = (host.connect(), host.connect());
    host.send(victim, b"x");
    assert_eq!(
        (host.end(victim), host.end(other)),
        (Some(End::Fault), None)
    );
    let faults = host.take_faults();
    assert!(
        faults[0].ends_with(": first") && faults[1].ends_with(": boom"),
        "{faults:?}"
    );
}
