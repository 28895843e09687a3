//! Plugins of the blocking style, and jobs on threads: what they may rely on, played by script.

use std::any::Any;
use std::io::{self, BufRead, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::sync::Mutex;
use std::time::Duration;

use polyport_plugin::prelude::*;
use polyport_plugin::testing::{Script, Setup, Split};
use polyport_plugin::{Table, abi};

mod c_examples;
mod compiler;
#[path = "../examples/blocking.rs"]
mod example;

#[test]
fn the_blocking_c_plugin_echoes_and_passes_on_why_it_cannot() {
    let setup = Setup::table(c_examples::load("blocking"));
    for split in [Split::Whole, Split::EveryByte, Split::At(3)] {
        let mut host = setup.clone().split(split).start().expect("no settings");
        for (script, received, answer) in [
            (Script::new(), "", Ok(())),
            (Script::new().says(b"one\ntwo"), "one\ntwo", Ok(())),
            (
                Script::new().says(b"one").drains(),
                "one",
                Err(Error::Cancelled),
            ),
            (Script::new().is_silent(), "", Err(Error::TimedOut)),
            (
                Script::new().says(b"one").vanishes(),
                "one",
                Err(Error::Gone),
            ),
            (
                Script::new().says(b"longer").takes(3),
                "lon",
                Err(Error::TimedOut),
            ),
        ] {
            let told = format!("{split:?}, {script:?}");
            let served = host.serve(script);
            if answer != Err(Error::Gone) {
                assert_eq!(
                    String::from_utf8_lossy(&served.received),
                    received,
                    "{told}"
                );
            }
            assert_eq!(served.answer, answer, "{told}");
            assert!(!served.finished_writing, "{told}");
        }
    }
}

#[test]
fn the_blocking_rust_plugin_greets_shouts_and_always_says_goodbye() {
    let setup = Setup::table(example::polyport_plugin_v1());
    for split in [Split::Whole, Split::EveryByte, Split::At(3)] {
        let mut host = setup.clone().split(split).start().expect("no settings");
        let mut port = 50_000;
        for (script, said, answer) in [
            (Script::new(), "0 lines. Bye.\n", Ok(())),
            (
                Script::new().says(b"a\nb\n"),
                "A\nB\n2 lines. Bye.\n",
                Ok(()),
            ),
            (
                Script::new().says(b"a\n\nc\n"),
                "A\n1 lines. Bye.\n",
                Ok(()),
            ),
            (
                Script::new().says(b"a\nb").drains(),
                "A\n1 lines. Bye.\n",
                Err(Error::Cancelled),
            ),
            (
                Script::new().is_silent(),
                "0 lines. Bye.\n",
                Err(Error::TimedOut),
            ),
        ] {
            port += 1;
            let told = format!("{split:?}, {script:?}");
            let served = host.serve(script);
            let expected = format!("Hello, 127.0.0.1:{port}.\n{said}");
            assert_eq!(
                String::from_utf8_lossy(&served.received),
                expected,
                "{told}"
            );
            assert_eq!(served.answer, answer, "{told}");
        }
    }
}

/// Does what the peer's first line says, and logs each of its steps.
#[derive(Default)]
struct Obedient {
    /// What the sessions share, behind a lock as it must be.
    served: Mutex<u32>,
}

impl Obedient {
    fn obey(&self, order: &str, stream: &mut Stream) -> io::Result<()> {
        match order {
            "panic" => panic!("told to"),
            "fail" => return Err(io::ErrorKind::InvalidData.into()),
            "peek" => {
                let seen = stream.peek()?.to_vec();
                let mut rest = String::new();
                stream.read_to_string(&mut rest)?;
                assert!(!seen.is_empty() && rest.as_bytes().starts_with(&seen));
                stream.write_all(rest.as_bytes())?;
            }
            "half-close" => {
                stream.write_all(b"said all; ")?;
                stream.finish_writing()?;
                assert!(stream.write_all(b"too late").is_ok(), "it is buffered");
                let late = stream.flush().expect_err("nothing follows the end");
                assert_eq!(Error::of(&late), Error::Gone);
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest)?;
                stream.log(Level::Info, format!("then read {}", rest.len()));
            }
            "large" => stream.write_all(&[b'x'; 100_000])?,
            "ask" => {
                stream.write_all(b"well?")?;
                stream.set_deadline(Some(Duration::ZERO))?;
                stream.read_exact(&mut [0; 1])?;
            }
            other => panic!("no such order: {other:?}"),
        }
        Ok(())
    }
}

impl Blocking for Obedient {
    type Session = String;

    fn setup(&self, stream: &mut Stream) -> io::Result<String> {
        let mut order = String::new();
        stream.read_line(&mut order)?;
        match order.trim() {
            "refuse" => Err(io::ErrorKind::PermissionDenied.into()),
            "panic in setup" => panic!("told to"),
            order => Ok(order.to_owned()),
        }
    }

    fn handle(&self, order: &mut String, stream: &mut Stream) -> io::Result<()> {
        *self.served.lock().expect("nobody panics with it") += 1;
        if order == "panic in finish" {
            return Ok(());
        }
        self.obey(order, stream)
    }

    fn finish(&self, order: String, stream: &mut Stream, result: &io::Result<()>) {
        let result = result.as_ref().map_err(Error::of);
        stream.log(Level::Info, format!("finish {result:?}"));
        assert!(order != "panic in finish", "told to");
        let _ = stream.write_all(b"bye");
    }
}

#[test]
fn a_session_is_set_up_handled_and_finished_whatever_happens() {
    let long = "x".repeat(100_000) + "bye";
    for (script, received, answer, logged, faults) in [
        // The order, what the peer gets, the plugin's answer, the log's lines, faults.
        ("refuse", "", Err(Error::Failed), "", 0),
        ("panic in setup", "", Err(Error::Panicked), "", 1),
        ("panic", "", Err(Error::Panicked), "finish Err(Panicked)", 1),
        (
            "panic in finish",
            "",
            Err(Error::Panicked),
            "finish Ok(())",
            1,
        ),
        ("fail", "bye", Err(Error::Failed), "finish Err(Failed)", 0),
        ("peek", "more\nbye", Ok(()), "finish Ok(())", 0),
        (
            "half-close",
            "said all; ",
            Err(Error::Gone),
            "then read 5, finish Ok(())",
            0,
        ),
        ("large", &long, Ok(()), "finish Ok(())", 0),
    ] {
        for split in [Split::Whole, Split::EveryByte, Split::At(9)] {
            let setup = Setup::blocking::<Obedient>().split(split);
            let mut host = setup.start().expect("no settings");
            let script = Script::new().says(format!("{script}\nmore\n").as_bytes());
            let told = format!("{script:?}, {split:?}");
            let served = host.serve(script);
            assert_eq!(
                String::from_utf8_lossy(&served.received),
                received,
                "{told}"
            );
            assert_eq!(served.answer, answer, "{told}");
            let lines: Vec<String> = host.log().into_iter().map(|line| line.text).collect();
            assert_eq!(lines.join(", "), logged, "{told}");
            assert_eq!(host.take_faults().len(), faults, "{told}");
        }
    }
}

#[test]
fn what_was_written_leaves_before_the_handler_waits() {
    let mut host = Setup::blocking::<Obedient>().start().expect("no settings");
    for (script, received, answer) in [
        (
            Script::new().says(b"ask\n").is_silent(),
            "well?bye",
            Error::TimedOut,
        ),
        (
            Script::new().says(b"ask\n").drains(),
            "well?bye",
            Error::Cancelled,
        ),
        (Script::new().says(b"ask\n").vanishes(), "", Error::Gone),
        // Too early an end of the peer is the handler's own error.
        (
            Script::new().says(b"ask\n").finishes(),
            "well?bye",
            Error::Failed,
        ),
    ] {
        let served = host.serve(script);
        assert_eq!(String::from_utf8_lossy(&served.received), received);
        assert_eq!(served.answer, Err(answer));
    }
    assert!(host.take_faults().is_empty());
}

/// Answers each datagram with its length.
#[derive(Default)]
struct Lengths;

impl Blocking for Lengths {
    type Session = ();
    const STREAMS: bool = false;
    const DATAGRAMS: bool = true;

    fn datagram(&self, from: &Datagram, payload: &[u8], replies: &mut Replies) -> Result {
        match payload {
            b"panic" => panic!("told to"),
            b"fail" => return Err(Error::Failed),
            b"other" => return replies.send(Address::Unix, b"back to the peer"),
            _ => {}
        }
        replies.log(Level::Info, format!("from {}", from.peer()));
        replies.reply(payload.len().to_string().as_bytes())
    }
}

#[test]
fn a_datagram_is_one_call_and_its_replies_go_back() {
    let mut host = Setup::blocking::<Lengths>().start().expect("no settings");
    let peer = Address::Ip("192.0.2.7:7".parse().expect("an address"));
    for (payload, answer, sent) in [
        (&b"four"[..], Ok(()), Some("4")),
        (b"", Ok(()), Some("0")),
        (b"other", Ok(()), Some("back to the peer")),
        (b"fail", Err(Error::Failed), None),
        (b"panic", Err(Error::Panicked), None),
    ] {
        assert_eq!(host.datagram(peer, payload), answer);
        let found: Vec<(Address, String)> = host
            .take_sent()
            .into_iter()
            .map(|sent| (sent.to, String::from_utf8(sent.payload).expect("UTF-8")))
            .collect();
        let expected: Vec<_> = sent
            .map(|text| (peer, text.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(found, expected);
    }
    assert_eq!(host.take_faults().len(), 1);
    assert_eq!(host.log()[0].text, "from 192.0.2.7:7");
}

/// Has the sum of what it is fed worked out on a thread.
#[derive(Default)]
struct Sums;

impl Protocol for Sums {
    type Session = ();

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let bytes = input.to_vec();
        cx.work(move || {
            assert!(bytes != b"panic", "told to");
            (from, bytes.iter().map(|b| u64::from(*b)).sum::<u64>())
        })?;
        Ok(input.len())
    }

    fn worked(&mut self, cx: &mut Context, work: WorkId, result: Result<Box<dyn Any + Send>>) {
        match result.map(|sum| sum.downcast::<(SessionId, u64)>()) {
            Ok(Ok(sum)) => drop(cx.write(sum.0, format!("{}\n", sum.1).as_bytes())),
            Ok(Err(_)) => cx.error("another type"),
            Err(error) => cx.info(format!("{work:?}: {error}")),
        }
    }
}

#[test]
fn a_job_is_run_when_a_thread_takes_it_and_its_result_comes_back() {
    let mut host = Setup::of::<Sums>().start().expect("no settings");
    let peer = host.connect();
    host.send(peer, &[1, 2, 3]);
    host.send(peer, &[200, 200]);
    assert_eq!((host.works(), host.received(peer)), (2, &b""[..]));
    assert!(host.run_work());
    assert_eq!(host.received(peer), b"6\n");
    assert!(host.run_work());
    assert_eq!(host.received(peer), b"6\n400\n");
    assert!(!host.run_work());
}

#[test]
fn a_job_that_panics_counts_and_says_so_and_one_that_never_runs_is_given_back() {
    let mut host = Setup::of::<Sums>().start().expect("no settings");
    let peer = host.connect();
    host.send(peer, b"panic");
    assert!(host.run_work());
    let faults = host.take_faults();
    assert!(faults[0].starts_with("work panicked at "), "{faults:?}");
    host.send(peer, b"never");
    host.destroy();
    let lines: Vec<String> = host.log().into_iter().map(|line| line.text).collect();
    assert_eq!(
        lines,
        ["WorkId(1): the plugin panicked", "WorkId(2): cancelled"]
    );
}

#[test]
fn a_job_too_many_is_refused_and_whoever_insists_loses_the_session() {
    let setup = Setup::of::<Sums>().work_max(1);
    let mut host = setup.start().expect("no settings");
    let (first, second) = (host.connect(), host.connect());
    host.send(first, &[1]);
    host.send(second, &[2]);
    assert_eq!(host.works(), 1);
    assert_eq!(host.end(second), Some(End::Aborted));
    assert!(host.run_work());
    assert_eq!(host.received(first), b"1\n");
}

#[test]
fn the_kit_names_what_a_handler_may_not_do() {
    type Serve = unsafe extern "C" fn(
        *mut std::ffi::c_void,
        *const abi::Stream,
        *const abi::SessionInfo,
    ) -> abi::Status;
    unsafe extern "C" fn nowhere(
        _: *mut std::ffi::c_void,
        stream: *const abi::Stream,
        _: *const abi::SessionInfo,
    ) -> abi::Status {
        // SAFETY: the stream is lent until the return; where the bytes go is the misdeed.
        unsafe {
            let read = (*stream).read.expect("every host has it");
            read((*stream).inner, ptr::null_mut(), 1, 0, ptr::null_mut())
        }
    }
    unsafe extern "C" fn flags(
        _: *mut std::ffi::c_void,
        stream: *const abi::Stream,
        _: *const abi::SessionInfo,
    ) -> abi::Status {
        // SAFETY: as above; the flags are the misdeed.
        unsafe {
            let write = (*stream).write.expect("every host has it");
            write((*stream).inner, ptr::null(), 0, 64)
        }
    }
    unsafe extern "C" fn positive(
        _: *mut std::ffi::c_void,
        _: *const abi::Stream,
        _: *const abi::SessionInfo,
    ) -> abi::Status {
        3
    }
    for (serve, named) in [
        (nowhere as Serve, "read without a place for bytes"),
        (flags, "write with unknown flags"),
        (positive, "serve answered 3: success is 0"),
    ] {
        let misdeed = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut host = Setup::table(raw(serve)).start().expect("a plugin");
            host.serve(Script::new().says(b"x"));
        }));
        let message = misdeed.expect_err("the kit complains");
        let message = message.downcast_ref::<String>().expect("a text");
        assert!(message.contains(named), "{message}");
    }
}

/// A table whose only function is `serve`.
fn raw(
    serve: unsafe extern "C" fn(
        *mut std::ffi::c_void,
        *const abi::Stream,
        *const abi::SessionInfo,
    ) -> abi::Status,
) -> Table {
    thread_local!(static NEXT: std::cell::Cell<*const abi::Blocking1> =
        const { std::cell::Cell::new(ptr::null()) });
    unsafe extern "C" fn extension(id: *const std::ffi::c_char) -> *const std::ffi::c_void {
        // SAFETY: ids end in NUL.
        let id = unsafe { std::ffi::CStr::from_ptr(id) };
        if id.to_bytes() == abi::EXT_BLOCKING.as_bytes() {
            NEXT.get().cast()
        } else {
            ptr::null()
        }
    }
    NEXT.set(Box::leak(Box::new(abi::Blocking1 {
        size: size_of::<abi::Blocking1>() as u32,
        max_parallel: 0,
        serve: Some(serve),
        serve_datagram: None,
    })));
    // SAFETY: all zero is a valid table: numbers, null pointers, absent functions.
    let mut plugin: abi::Plugin = unsafe { std::mem::zeroed() };
    plugin.magic = abi::MAGIC;
    plugin.major = abi::MAJOR;
    plugin.size = size_of::<abi::Plugin>() as u32;
    plugin.name = c"raw".as_ptr();
    plugin.extension = Some(extension);
    // SAFETY: leaked, so it lives for ever.
    unsafe { Table::from_raw(Box::leak(Box::new(plugin))) }
}
