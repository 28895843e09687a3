//! The testing kit notices plugins that break the rules. Each broken plugin here is a raw table, as
//! a C author could write it; the kit must name what is wrong instead of crashing or passing it.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::time::Duration;

use polyport_plugin::testing::{FakeHost, Setup};
use polyport_plugin::{Table, abi};

mod broken;

use broken::{Misdeed, Plugin};

/// What a test does with each broken plugin: everything that makes the kit call it.
fn exercise(host: &mut FakeHost) {
    let peer = host.connect();
    host.send(peer, b"hello");
    host.peer_finishes(peer);
    host.advance(Duration::from_secs(1));
    host.drain(Duration::ZERO);
    host.destroy();
}

#[test]
fn a_plugin_that_breaks_no_rule_passes() {
    let mut host = Setup::table(broken::table(Misdeed::None))
        .start()
        .expect("it is fine");
    exercise(&mut host);
}

#[test]
fn a_misdeed_during_a_call_is_named() {
    for (misdeed, named) in [
        (
            Misdeed::Overconsume,
            "feed claims to have consumed 6 of 5 bytes",
        ),
        (Misdeed::PositiveStatus, "feed answered 1: success is 0"),
        (
            Misdeed::WriteToNobody,
            "write names 12345, which never was a session",
        ),
        (Misdeed::WriteNull, "write with NULL and a length of 4"),
        (Misdeed::WriteFlags, "write with unknown flags 0x8"),
        (Misdeed::CloseHow, "close in the unknown way 7"),
        (Misdeed::LogBytes, "log with a text that is not UTF-8"),
        (Misdeed::LogLevel, "log at the unknown level 9"),
        (
            Misdeed::TimerNowhere,
            "timer_set without a place for the result",
        ),
        (
            Misdeed::CancelNothing,
            "timer_cancel of 99, which is no timer",
        ),
        (
            Misdeed::SendUnasked,
            "send with the reply token 1, which no datagram had",
        ),
        (
            Misdeed::OtherThread,
            "now_ms was called from another thread",
        ),
        (Misdeed::FreeTwice, "a waker was freed twice"),
        (Misdeed::WakeFreed, "a waker was used after it was freed"),
        (Misdeed::LeakWaker, "1 wakers were never freed"),
        (
            Misdeed::Fault,
            "it reported a fault that no test has taken: something panicked",
        ),
        (Misdeed::EndlessTimer, "the plugin does not come to rest"),
        (Misdeed::WriteInCreate, "write was called in create"),
    ] {
        let message = panic_of(|| {
            let mut host = Setup::table(broken::table(misdeed))
                .start()
                .expect("it starts");
            exercise(&mut host);
        });
        assert!(message.contains(named), "{misdeed:?}: {message}");
    }
}

#[test]
fn a_table_that_cannot_be_admitted_is_refused_with_a_reason() {
    let good = || broken::plugin(Misdeed::None);
    type Spoil = fn(&mut Plugin);
    let rows: [(Spoil, &str); 10] = [
        (|it| it.magic = 1, "bad magic 0x1"),
        (|it| it.size = 100, "too short: 100 bytes"),
        (|it| it.major = 3, "needs ABI 3.0"),
        (|it| it.min_host_minor = 9, "needs ABI 1.9"),
        (|it| it.flags = 1 << 40, "unknown flags"),
        (|it| it.reserved0 = 1, "reserved bits"),
        (|it| it.name = ptr::null(), "no name"),
        (|it| it.feed = None, "neither streams nor datagrams"),
        (|it| it.option_count = 1, "options is missing"),
        (
            |it| it.create = Some(broken::create_that_boasts),
            "more text than there is room",
        ),
    ];
    for (spoil, reason) in rows {
        let mut table = good();
        spoil(&mut table);
        let refusal = Setup::table(broken::leaked(table))
            .start()
            .err()
            .expect("it is refused");
        assert!(refusal.contains(reason), "{refusal}");
    }
    // SAFETY: NULL is a legal answer of an entry function.
    let nothing = unsafe { Table::from_raw(ptr::null()) };
    assert!(
        Setup::table(nothing)
            .start()
            .err()
            .expect("it is refused")
            .contains("NULL")
    );
}

#[test]
fn everything_but_feed_may_be_null() {
    let mut bare = broken::plugin(Misdeed::None);
    (bare.create, bare.destroy, bare.open, bare.closed) = (None, None, None, None);
    (bare.timer, bare.wake, bare.drain, bare.peer_finished) = (None, None, None, None);
    bare.feed = Some(swallow);
    let mut host = Setup::table(broken::leaked(bare))
        .start()
        .expect("it starts");
    let peer = host.connect();
    host.send(peer, b"hello");
    host.peer_finishes(peer);
    assert!(host.is_finished(peer), "the default is to finish");
}

#[test]
fn input_that_is_never_consumed_meets_its_limit() {
    thread_local!(static LONGEST: Cell<usize> = const { Cell::new(0) });
    unsafe extern "C" fn hoard(
        _: *mut c_void,
        _: abi::Session,
        _: *mut c_void,
        _: *const u8,
        n: usize,
        _: *mut usize,
    ) -> abi::Status {
        LONGEST.set(n);
        abi::OK
    }
    let mut table = broken::plugin(Misdeed::None);
    table.feed = Some(hoard);
    let setup = Setup::table(broken::leaked(table)).input_bytes_max(8);
    let mut host = setup.start().expect("it starts");
    let peer = host.connect();
    host.send(peer, b"1234567");
    assert_eq!(host.end(peer), None);
    host.send(peer, b"890");
    assert_eq!(LONGEST.get(), 8, "never more than the limit is offered");
    assert_eq!(host.end(peer), Some(polyport_plugin::End::Limit));
}

unsafe extern "C" fn swallow(
    _: *mut c_void,
    _: abi::Session,
    _: *mut c_void,
    _: *const u8,
    n: usize,
    consumed: *mut usize,
) -> abi::Status {
    // SAFETY: the host's place for the result.
    unsafe { consumed.write(n) };
    abi::OK
}

/// The message of the panic that `code` must end in.
fn panic_of(code: impl FnOnce()) -> String {
    let thrown = panic::catch_unwind(AssertUnwindSafe(code)).expect_err("no rule was broken");
    match thrown.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => panic!("the kit's messages are Strings"),
    }
}
