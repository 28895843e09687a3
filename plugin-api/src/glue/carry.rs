//! Sessions that move: from the table of `polyport.carry/1` to the two methods of a [`Protocol`] that
//! write a session down and make one again.
//!
//! Invariant: what a protocol has exported leaves whole or not at all.

use std::ffi::c_void;
use std::ptr;

use super::{Events, Panicked, Seat, instance_of, lent, seat_of};
use crate::abi;
use crate::context::SessionId;
use crate::{Error, Protocol};

impl<P: Protocol> Events<P> {
    /// Null for a protocol that carries no sessions.
    pub(super) const CARRY_OR_NULL: *const c_void = match P::CARRY_FORMAT {
        Some(_) if P::STREAMS => ptr::from_ref(Self::CARRY).cast(),
        _ => ptr::null(),
    };

    const CARRY: &'static abi::Carry1 = &abi::Carry1 {
        size: size_of::<abi::Carry1>() as u32,
        format: match P::CARRY_FORMAT {
            Some(format) => format,
            None => 0,
        },
        export_session: Some(export_session::<P>),
        import_session: Some(import_session::<P>),
    };
}

unsafe extern "C" fn export_session<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    state: *mut c_void,
    into: *mut u8,
    capacity: usize,
    written: *mut usize,
) -> abi::Status {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the session is alive and nothing else runs in it.
    let seat = unsafe { seat_of::<P>(state) };
    let mut out = Vec::new();
    let answer = instance.call_seated("export", seat, |protocol, cx, state| {
        protocol.export(cx, SessionId(session), state, &mut out)
    });
    match answer {
        Ok(Ok(())) if out.len() > capacity => Error::Full.status(),
        Ok(Ok(())) => {
            // SAFETY: `capacity` bytes at `into` are the host's to be written to, and `out` is ours.
            unsafe { out.as_ptr().copy_to_nonoverlapping(into, out.len()) };
            // SAFETY: `written` is the caller's place for the result.
            unsafe { written.write(out.len()) };
            abi::OK
        }
        Ok(Err(error)) => error.status(),
        // Fail closed: the fault that was reported ends the session.
        Err(Panicked) => abi::E_PANIC,
    }
}

unsafe extern "C" fn import_session<P: Protocol>(
    instance: *mut c_void,
    session: abi::Session,
    info: *const abi::SessionInfo,
    format: u32,
    bytes: *const u8,
    n: usize,
    state: *mut *mut c_void,
    why: *mut abi::Text,
) -> abi::Status {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: the facts are valid during the call.
    let Some(facts) = (unsafe { lent::facts(info) }) else {
        return abi::E_ARG;
    };
    // SAFETY: the host lends the bytes until the return.
    let bytes = unsafe { lent::bytes(bytes, n) };
    match instance.call("import", |protocol, cx| {
        protocol.import(cx, SessionId(session), &facts, format, bytes)
    }) {
        Ok(Ok(made)) => {
            let seat: Seat<P> = Some(made);
            // SAFETY: `state` is the caller's place for the result.
            unsafe { state.write(Box::into_raw(Box::new(seat)).cast()) };
            abi::OK
        }
        Ok(Err(reason)) => {
            // SAFETY: the text is the caller's and ours alone during the call.
            unsafe { lent::write_text(why, &reason) };
            abi::E_FAIL
        }
        // Fail closed: the session is refused.
        Err(Panicked) => abi::E_PANIC,
    }
}
