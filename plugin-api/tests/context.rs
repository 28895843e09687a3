//! What a protocol can ask of its host, and what it is told, through its real C table.

use std::rc::Rc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use polyport_plugin::prelude::*;
use polyport_plugin::testing::{Sent, Setup, Split};
use polyport_plugin::{Level, abi};

/// Obeys one command a line; each test needs one or two of them.
#[derive(Default)]
struct Obedient {
    timers: Vec<TimerId>,
    last: Option<SessionId>,
    first_reply: Option<ReplyToken>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Drop for Obedient {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().expect("the thread does not panic");
        }
    }
}

impl Protocol for Obedient {
    type Session = ();
    const DATAGRAMS: bool = true;
    const PEER_FIRST: bool = true;
    const NEEDS: Needs = Needs {
        files_read: &[c"/etc/hosts", c"$root"],
        connect: true,
        ..Needs::NOTHING
    };

    fn open(&mut self, cx: &mut Context, session: SessionId, facts: &Facts) -> Result {
        if facts.peer() == Address::Unix {
            cx.write(session, b"never seen")?;
            return Err(Error::Failed);
        }
        let other = self.last.replace(session);
        if let Some(other) = other {
            let _ = cx.write(other, b"another came\n");
        }
        Ok(())
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return Ok(0);
        };
        match &input[..end] {
            b"close" => {
                cx.write(from, b"bye\n")?;
                cx.close(from, "asked to")?;
                assert_eq!(cx.write(from, b"too late"), Err(Error::Gone));
                assert_eq!(cx.close(from, "again"), Err(Error::Gone));
            }
            b"abort" => {
                cx.write(from, b"never seen")?;
                cx.abort(from, "asked to")?;
            }
            b"fail" => return Err(Error::Failed),
            b"finish" => cx.write_and_finish(from, b"no more\n")?,
            b"pause" => {
                cx.pause(from)?;
                self.timers.push(cx.timer_set(Duration::from_secs(5), 1)?);
            }
            b"timer" => self
                .timers
                .push(cx.timer_set(Duration::from_millis(250), 7)?),
            b"cancel" => {
                let timer = self.timers.pop().expect("a timer was armed before");
                let first = cx.timer_cancel(timer);
                let then = cx.timer_cancel(timer);
                cx.write(from, format!("{first:?} {then:?}\n").as_bytes())?;
            }
            b"idle" => cx.idle(from, Duration::from_secs(3))?,
            b"queued" => {
                let before = cx.queued(from)?;
                cx.write(from, b"12345\n")?;
                let after = cx.queued(from)?;
                cx.write(from, format!("{before} {after}\n").as_bytes())?;
            }
            b"thread" => {
                let waker = cx.waker()?;
                let work = move || waker.wake(42).expect("the instance is alive");
                self.threads.push(thread::spawn(work));
            }
            b"clock" => cx.write(from, format!("{:?}\n", cx.now()).as_bytes())?,
            b"log" => cx.log(Level::Warning, Some(from), "strange"),
            b"huge" => cx.write(from, &[0; 100_000])?,
            other => panic!("unknown command {}", other.escape_ascii()),
        }
        Ok(end + 1)
    }

    fn timer(&mut self, cx: &mut Context, timer: TimerId, token: u64) {
        cx.info(format_args!(
            "timer {token}, {}",
            self.timers.contains(&timer)
        ));
        if let Some(session) = self.last.filter(|_| token == 1) {
            cx.resume(session).expect("the session is open");
        }
    }

    fn wake(&mut self, cx: &mut Context, token: u64) {
        cx.info(format_args!("woken with {token}"));
    }

    fn datagram(&mut self, cx: &mut Context, from: &Datagram, payload: &[u8]) -> Result {
        let first = *self.first_reply.get_or_insert(from.reply_token());
        match payload {
            b"many" => {
                let sent = (0..9).take_while(|_| cx.reply(first, b"x").is_ok());
                let sent = sent.count();
                cx.info(format_args!("{sent} sent"));
                Ok(())
            }
            b"first" => cx.reply(first, &[u8::from(from.is_to_many())]),
            b"long" => cx.reply(first, &[0; 65_508]),
            b"back" => cx.send(from.reply_token(), Address::Unix, payload),
            _ => cx.send(from.reply_token(), from.peer(), payload),
        }
    }

    fn closed(&mut self, cx: &mut Context, _: SessionId, (): (), why: End) {
        cx.debug(format_args!("closed {why:?}"));
    }

    fn drain(&mut self, cx: &mut Context, grace: Duration) {
        cx.warning(format_args!("{grace:?} left"));
    }
}

#[test]
fn a_conversation_ends_as_the_protocol_says() {
    for (input, said, end) in [
        ("close\n", "bye\n", Some(End::Finished)),
        ("abort\n", "", Some(End::Aborted)),
        ("fail\n", "", Some(End::Aborted)),
        ("finish\n", "no more\n", None),
        ("huge\n", "", Some(End::Limit)),
        ("queued\n", "12345\n0 6\n", None),
        ("clock\n", "1000s\n", None),
    ] {
        for split in [Split::Whole, Split::EveryByte] {
            let setup = Setup::of::<Obedient>().split(split);
            let mut host = setup.start().expect("it has no settings");
            let peer = host.connect();
            host.send(peer, input.as_bytes());
            assert_eq!(
                host.received(peer).escape_ascii().to_string(),
                said.escape_default().to_string()
            );
            assert_eq!(host.end(peer), end, "{input}");
            assert_eq!(
                host.is_finished(peer),
                input == "finish\n" || end == Some(End::Finished)
            );
            if input == "finish\n" {
                host.peer_finishes(peer);
                assert_eq!(host.end(peer), Some(End::Finished));
            }
        }
    }
}

#[test]
fn a_refused_session_leaves_nothing_behind_and_sessions_can_write_to_each_other() {
    let mut host = Setup::of::<Obedient>().start().expect("it has no settings");
    assert_eq!(host.try_connect(Address::Unix), Err(Error::Failed));
    let first = host.connect();
    let second = host.connect();
    assert_eq!(host.received(first), b"another came\n");
    host.peer_vanishes(second);
    assert_eq!(host.end(second), Some(End::Lost));
    host.connect();
    assert!(
        host.transcript().contains("-> gone"),
        "a session that has ended is noticed"
    );
}

#[test]
fn timers_fire_once_in_time_and_not_after_they_were_cancelled() {
    let mut host = Setup::of::<Obedient>().start().expect("it has no settings");
    let peer = host.connect();
    let fired = |log: Vec<polyport_plugin::testing::Logged>| {
        log.iter()
            .filter(|line| line.text == "timer 7, true")
            .count()
    };
    host.send(peer, b"timer\n");
    host.advance(Duration::from_millis(249));
    assert_eq!((fired(host.log()), host.timers()), (0, 1));
    host.advance(Duration::from_millis(1));
    assert_eq!((fired(host.log()), host.timers()), (1, 0));
    host.send(peer, b"timer\n");
    host.send(peer, b"cancel\n");
    host.advance(Duration::from_secs(10));
    assert_eq!(fired(host.log()), 1);
    assert_eq!(host.received(peer), b"Ok(()) Err(Gone)\n");
}

#[test]
fn a_paused_session_is_not_fed_and_a_silent_one_ends() {
    let mut host = Setup::of::<Obedient>().start().expect("it has no settings");
    let peer = host.connect();
    host.send(peer, b"pause\n");
    host.send(peer, b"idle\n");
    assert!(
        !host.transcript().contains("idle"),
        "paused sessions are not fed"
    );
    host.advance(Duration::from_secs(5));
    host.advance(Duration::from_secs(2));
    assert_eq!(
        host.end(peer),
        Some(End::Idle),
        "the last byte is seven seconds old"
    );
}

#[test]
fn a_feed_answered_as_full_never_happened() {
    /// Says everything twice, in two writes.
    #[derive(Default)]
    struct Stutter;
    impl Protocol for Stutter {
        type Session = ();
        fn feed(
            &mut self,
            cx: &mut Context,
            from: SessionId,
            _: &mut (),
            input: &[u8],
        ) -> Result<usize> {
            cx.write(from, input)?;
            cx.write(from, input)?;
            Ok(input.len())
        }
    }
    for refused in 0..9 {
        let setup = Setup::of::<Stutter>()
            .split(Split::EveryByte)
            .full_at(refused);
        let mut host = setup.start().expect("it has no settings");
        let peer = host.connect();
        host.send(peer, b"abc");
        assert_eq!(host.received(peer), b"aabbcc", "write {refused} refused");
    }
}

#[test]
fn a_reply_token_is_good_for_a_while_and_a_batch_is_limited() {
    let setup = Setup::of::<Obedient>().sends_max(3);
    let mut host = setup.start().expect("it has no settings");
    let one = Address::Ip("192.0.2.1:5000".parse().expect("a valid address"));
    let two = Address::Ip("192.0.2.2:5000".parse().expect("a valid address"));
    let group = Address::Ip("192.0.2.255:7".parse().expect("a valid address"));
    let sent = |to, payload: &[u8]| Sent {
        to,
        payload: payload.to_vec(),
    };
    assert_eq!(host.datagram(one, b"back"), Ok(()));
    assert_eq!(host.datagram_to(group, true, two, b"first"), Ok(()));
    assert_eq!(host.datagram(two, b"long"), Err(Error::Argument));
    assert_eq!(host.take_sent(), [sent(one, b"back"), sent(one, b"\x01")]);
    assert_eq!(host.datagram(two, b"many"), Ok(()));
    assert_eq!(host.datagram(two, b"many"), Ok(()), "a new batch has room");
    assert_eq!(host.take_sent().len(), 6);
    for nth in 4..abi::REPLIES {
        assert_eq!(host.datagram(two, b""), Ok(()), "{nth}");
    }
    host.take_sent();
    assert_eq!(host.datagram(two, b"first"), Err(Error::Gone));
}

#[test]
fn datagrams_are_answered_from_where_they_arrived() {
    let mut host = Setup::of::<Obedient>().start().expect("it has no settings");
    let peer = Address::Ip("[2001:db8::9]:53".parse().expect("a valid address"));
    for payload in [&b"hello"[..], b""] {
        assert_eq!(host.datagram(peer, payload), Ok(()));
        assert_eq!(
            host.take_sent(),
            [Sent {
                to: peer,
                payload: payload.to_vec()
            }]
        );
    }
}

#[test]
fn a_thread_wakes_the_loop_and_drain_is_told_once() {
    let mut host = Setup::of::<Obedient>().start().expect("it has no settings");
    let peer = host.connect();
    host.send(peer, b"thread\n");
    host.await_wake();
    host.send(peer, b"log\n");
    host.drain(Duration::from_secs(30));
    let log: Vec<String> = host.log().into_iter().map(|line| line.text).collect();
    assert_eq!(log, ["woken with 42", "strange", "30s left"]);
}

#[test]
fn a_waker_that_outlives_its_instance_is_told_so() {
    static KEPT: Mutex<Option<Waker>> = Mutex::new(None);
    struct Careless;
    impl Configure for Careless {
        fn new(_: &Settings, cx: &mut Context) -> Result<Self, String> {
            *KEPT.lock().expect("no other holder panics") = Some(cx.waker()?.clone());
            Ok(Careless)
        }
    }
    impl Protocol for Careless {
        type Session = ();
    }
    let mut host = Setup::of::<Careless>().start().expect("it has no settings");
    host.destroy();
    let waker = KEPT
        .lock()
        .expect("no other holder panics")
        .take()
        .expect("it was made");
    assert_eq!(waker.wake(1), Err(Error::Gone));
    drop(waker);
}

#[test]
fn two_instances_know_nothing_of_each_other() {
    let start = || Setup::of::<Obedient>().start().expect("it has no settings");
    let (mut one, mut two) = (start(), start());
    let (first, second) = (one.connect(), two.connect());
    one.send(first, b"timer\n");
    two.send(second, b"close\n");
    assert_eq!((one.timers(), two.timers()), (1, 0));
    assert_eq!(
        (one.end(first), two.end(second)),
        (None, Some(End::Finished))
    );
}

#[test]
fn on_an_older_host_what_is_missing_is_unsupported() {
    #[derive(Default)]
    struct Modern;
    impl Protocol for Modern {
        type Session = ();
        fn feed(
            &mut self,
            cx: &mut Context,
            from: SessionId,
            _: &mut (),
            input: &[u8],
        ) -> Result<usize> {
            let waker = cx.waker().err();
            let timer = cx.timer_set(Duration::ZERO, 1).err();
            cx.write(from, format!("{waker:?} {timer:?}").as_bytes())?;
            Ok(input.len())
        }
    }
    let up_to_timers = std::mem::offset_of!(abi::HostApi, timer_set);
    // A pointer that is there by half is not there.
    for bytes in [up_to_timers, up_to_timers + 7] {
        let mut host = Setup::of::<Modern>()
            .host_table_bytes(bytes)
            .start()
            .expect("it starts");
        let peer = host.connect();
        host.send(peer, b"x");
        assert_eq!(host.received(peer), b"Some(Unsupported) Some(Unsupported)");
    }
}

#[test]
fn dropping_the_host_drops_the_protocol_and_its_sessions() {
    thread_local! {
        static ALIVE: Rc<()> = Rc::new(());
    }
    struct Counted(#[expect(dead_code, reason = "counted by its existence")] Rc<()>);
    impl Default for Counted {
        fn default() -> Counted {
            Counted(ALIVE.with(Rc::clone))
        }
    }
    impl Protocol for Counted {
        type Session = Option<Counted>;
        fn open(&mut self, _: &mut Context, _: SessionId, _: &Facts) -> Result<Option<Counted>> {
            Ok(Some(Counted::default()))
        }
    }
    let mut host = Setup::of::<Counted>().start().expect("it has no settings");
    let _ = (host.connect(), host.connect());
    assert_eq!(ALIVE.with(Rc::strong_count), 4);
    drop(host);
    assert_eq!(ALIVE.with(Rc::strong_count), 1);
}
