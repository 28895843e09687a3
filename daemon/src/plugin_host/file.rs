//! `polyport.file/1` from the daemon's side: a range of a file is taken from a callback.
//!
//! A small one that lies in memory is copied among the written bytes, so that it leaves in one call
//! with what was said around it. Any other is queued with its descriptor, and the worker sends it; of one
//! that was made in memory and is nowhere else this is said, so that nobody looks for it.
//!
//! Invariant: a descriptor is the daemon's from the moment that its range was taken, and not before.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::stat::{SFlag, fstat};
use polyport_plugin::abi::{self, Status};

use super::host_state::{refused, status, token_from};
use crate::engine::desk::{Desk, Said};
use crate::engine::files::{FILE_RANGES_MAX, HeldFile};
use crate::engine::session::Token;
use crate::sys::file::{is_of_memory, read_in_memory};

/// Up to here copying is cheaper than another call for the file alone.
const COPIED_BYTES_MAX: u64 = 16 * 1024;

// The header promises what the engine keeps.
const _: () = assert!(FILE_RANGES_MAX == abi::FILE_RANGES as usize);

/// The host's side; one for all instances of a process.
pub(super) static TABLE: abi::File1 = abi::File1 {
    size: size_of::<abi::File1>() as u32,
    reserved0: 0,
    send: Some(send),
};

unsafe extern "C" fn send(
    host: *mut abi::Host,
    session: abi::Session,
    fd: RawFd,
    offset: u64,
    length: u64,
) -> Status {
    // SAFETY: null or what `create` was given, as the header demands.
    unsafe {
        status(host, |inside| {
            take(&mut inside.desk, token_from(session)?, fd, offset, length)
        })
    }
}

fn take(
    desk: &mut Desk,
    session: Token,
    fd: RawFd,
    offset: u64,
    length: u64,
) -> Result<(), Status> {
    if fd < 0 {
        return Err(abi::E_ARG);
    }
    // SAFETY: not -1, and as the header demands a descriptor of the plugin's that stays open during
    // the call; one that is not open is answered by the kernel.
    let file = unsafe { BorrowedFd::borrow_raw(fd) };
    let facts = fstat(file).map_err(|_| abi::E_ARG)?;
    let is_regular = facts.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    let inside = offset
        .checked_add(length)
        .is_some_and(|end| end <= facts.st_size.unsigned_abs());
    if !is_regular || !inside {
        return Err(abi::E_ARG);
    }
    if length == 0 {
        desk.write(session, Said::Bytes(&[]), false)
            .map_err(refused)?;
        drop(own(fd));
        return Ok(());
    }
    if length <= COPIED_BYTES_MAX {
        let read = |place: &mut [u8]| read_in_memory(file, place, offset) == Ok(place.len());
        let said = desk.write_read(session, length as usize, read);
        if said.map_err(refused)? {
            drop(own(fd));
            return Ok(());
        }
    }
    let held = || match is_of_memory(facts.st_dev) {
        true => HeldFile::of_memory(own(fd)),
        false => HeldFile::new(own(fd)),
    };
    desk.send_file(session, offset, length, held)
        .map_err(refused)
}

/// To be called once the plugin will be told that its range was taken.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: it is open, as fstat(2) has just shown, and with PP_OK the plugin gives it away.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
