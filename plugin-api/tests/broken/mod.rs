//! A plugin that does one thing wrong, when it is created, fed or its timer fires, and that echoes
//! otherwise. What it shall do is in its instance; `create` finds it where the test has put it.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::thread;

pub(crate) use polyport_plugin::abi::Plugin;
use polyport_plugin::{Table, abi};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    None,
    Overconsume,
    PositiveStatus,
    WriteToNobody,
    WriteNull,
    WriteFlags,
    CloseHow,
    LogBytes,
    LogLevel,
    TimerNowhere,
    CancelNothing,
    SendUnasked,
    OtherThread,
    FreeTwice,
    WakeFreed,
    LeakWaker,
    Fault,
    EndlessTimer,
    WriteInCreate,
}

thread_local!(static NEXT: Cell<Misdeed> = const { Cell::new(Misdeed::None) });

struct Instance {
    api: abi::HostApi,
    host: *mut abi::Host,
    misdeed: Misdeed,
}

pub(crate) fn table(misdeed: Misdeed) -> Table {
    leaked(plugin(misdeed))
}

pub(crate) fn leaked(plugin: Plugin) -> Table {
    // SAFETY: leaked, so it lives for ever; its misdeeds are such that the kit can notice.
    unsafe { Table::from_raw(Box::leak(Box::new(plugin))) }
}

/// The table of a plugin; the next instance made on this thread will do what `misdeed` says.
pub(crate) fn plugin(misdeed: Misdeed) -> Plugin {
    NEXT.set(misdeed);
    Plugin {
        magic: abi::MAGIC,
        size: size_of::<Plugin>() as u32,
        major: abi::MAJOR,
        minor: abi::MINOR,
        min_host_minor: 0,
        reserved0: 0,
        flags: 0,
        name: c"broken".as_ptr(),
        version: ptr::null(),
        build_info: ptr::null(),
        options: ptr::null(),
        option_count: 0,
        option_stride: 0,
        required_ext: ptr::null(),
        extension: None,
        check: None,
        create: Some(create),
        drain: None,
        destroy: Some(destroy),
        open: None,
        feed: Some(feed),
        peer_finished: None,
        writable: None,
        closed: None,
        datagram: None,
        timer: Some(timer),
        wake: None,
        refusal: ptr::null(),
        refusal_length: 0,
    }
}

unsafe extern "C" fn create(
    api: *const abi::HostApi,
    host: *mut abi::Host,
    _: *const abi::Settings,
    instance: *mut *mut c_void,
    _: *mut abi::Text,
) -> abi::Status {
    let misdeed = NEXT.get();
    // SAFETY: the kit's table is whole unless a test shortens it, and no test here does.
    let api = unsafe { *api };
    let made = Instance { api, host, misdeed };
    if made.misdeed == Misdeed::WriteInCreate {
        made.write(1, b"early", 0);
    }
    // SAFETY: the kit's place for the result.
    unsafe { instance.write(Box::into_raw(Box::new(made)).cast()) };
    abi::OK
}

/// Refuses, and claims more text than there was room for.
pub(crate) unsafe extern "C" fn create_that_boasts(
    _: *const abi::HostApi,
    _: *mut abi::Host,
    _: *const abi::Settings,
    _: *mut *mut c_void,
    error: *mut abi::Text,
) -> abi::Status {
    // SAFETY: the kit's memory for the reason.
    unsafe { (*error).len = (*error).cap + 1 };
    abi::E_CONFIG
}

unsafe extern "C" fn destroy(instance: *mut c_void) {
    // SAFETY: `create` has made it, and this is the last call.
    drop(unsafe { Box::from_raw(instance.cast::<Instance>()) });
}

unsafe extern "C" fn feed(
    instance: *mut c_void,
    session: abi::Session,
    _: *mut c_void,
    bytes: *const u8,
    n: usize,
    consumed: *mut usize,
) -> abi::Status {
    // SAFETY: `create` has made it, and callbacks do not overlap.
    let it = unsafe { &*instance.cast::<Instance>() };
    // SAFETY: the kit's place for the result.
    unsafe { consumed.write(n + usize::from(it.misdeed == Misdeed::Overconsume)) };
    it.misbehave(session);
    if it.misdeed == Misdeed::PositiveStatus {
        return 1;
    }
    // SAFETY: the kit lends n bytes.
    it.write(session, unsafe { std::slice::from_raw_parts(bytes, n) }, 0)
}

unsafe extern "C" fn timer(instance: *mut c_void, _: abi::Timer, _: u64) {
    // SAFETY: `create` has made it, and callbacks do not overlap.
    let it = unsafe { &*instance.cast::<Instance>() };
    it.misbehave(0);
}

impl Instance {
    fn write(&self, session: abi::Session, bytes: &[u8], flags: u32) -> abi::Status {
        let write = self.api.write.expect("the kit has it");
        // SAFETY: the kit's function with the kit's host; the bytes live until it returns.
        unsafe {
            write(
                self.host,
                session,
                bytes.as_ptr().cast(),
                bytes.len(),
                flags,
            )
        }
    }

    fn log(&self, level: u32, text: &[u8]) {
        let log = self.api.log.expect("the kit has it");
        // SAFETY: the kit's function with the kit's host; the text lives until it returns.
        unsafe {
            log(
                self.host,
                level,
                0,
                text.as_ptr().cast::<c_char>(),
                text.len(),
            )
        }
    }

    fn set_timer(&self, into: *mut abi::Timer) {
        let timer_set = self.api.timer_set.expect("the kit has it");
        // SAFETY: the kit's function with the kit's host; `into` is NULL or the caller's.
        unsafe { timer_set(self.host, 0, 1, into) };
    }

    fn misbehave(&self, session: abi::Session) {
        let (api, host) = (&self.api, self.host);
        match self.misdeed {
            Misdeed::None | Misdeed::Overconsume | Misdeed::PositiveStatus => {}
            Misdeed::WriteInCreate => {}
            Misdeed::WriteToNobody => drop(self.write(12345, b"x", 0)),
            Misdeed::WriteFlags => drop(self.write(session, b"x", 8)),
            Misdeed::LogBytes => self.log(abi::LOG_INFO, b"\xff"),
            Misdeed::LogLevel => self.log(9, b"x"),
            Misdeed::TimerNowhere => self.set_timer(ptr::null_mut()),
            Misdeed::EndlessTimer => self.set_timer(&mut 0),
            Misdeed::FreeTwice | Misdeed::WakeFreed | Misdeed::LeakWaker => self.misuse_waker(),
            Misdeed::OtherThread => self.ask_from_another_thread(),
            Misdeed::WriteNull => {
                let write = api.write.expect("the kit has it");
                // SAFETY: wrong on purpose; the kit refuses it before it reads.
                unsafe { write(host, session, ptr::null(), 4, 0) };
            }
            Misdeed::CloseHow => {
                let close = api.close.expect("the kit has it");
                // SAFETY: an empty text may be NULL; the rest is wrong on purpose.
                unsafe { close(host, session, 7, ptr::null(), 0) };
            }
            Misdeed::CancelNothing => {
                let cancel = api.timer_cancel.expect("the kit has it");
                // SAFETY: the kit's function with the kit's host.
                unsafe { cancel(host, 99) };
            }
            Misdeed::SendUnasked => {
                let (send, to) = (api.send.expect("the kit has it"), abi::Address::default());
                // SAFETY: the address lives until the call returns; no bytes may be NULL.
                unsafe { send(host, 1, &raw const to, ptr::null(), 0) };
            }
            Misdeed::Fault => {
                let (fault, text) = (api.fault.expect("the kit has it"), "something panicked");
                // SAFETY: the text lives until the call returns.
                unsafe { fault(host, text.as_ptr().cast(), text.len()) };
            }
        }
    }

    fn misuse_waker(&self) {
        let (new, free) = (
            self.api.waker_new,
            self.api.waker_free.expect("the kit has it"),
        );
        let mut waker = ptr::null_mut();
        // SAFETY: the kit's function with the kit's host; the place is ours.
        unsafe { new.expect("the kit has it")(self.host, &raw mut waker) };
        if self.misdeed == Misdeed::LeakWaker {
            return;
        }
        // SAFETY: it was just made.
        unsafe { free(waker) };
        if self.misdeed == Misdeed::FreeTwice {
            // SAFETY: wrong on purpose; the kit keeps the memory until its end.
            unsafe { free(waker) };
        } else {
            let wake = self.api.waker_wake.expect("the kit has it");
            // SAFETY: as above.
            unsafe { wake(waker, 1) };
        }
    }

    fn ask_from_another_thread(&self) {
        let now_ms = self.api.now_ms.expect("the kit has it");
        let host = self.host.expose_provenance();
        let asking = thread::spawn(move || {
            // SAFETY: wrong on purpose; the kit sees the thread before anything else.
            unsafe { now_ms(ptr::with_exposed_provenance_mut(host)) }
        });
        asking.join().expect("the kit does not panic here");
    }
}
