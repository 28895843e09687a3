//! Socket options that nix has no type for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// An option of one C `int`, as most are (socket(7), tcp(7), ip(7)).
pub fn set_int(socket: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    let pointer = (&raw const value).cast();
    // SAFETY: the pointer is to an int that lives to the end of the call, and the length is its own.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, pointer, length) };
    Errno::result(result)?;
    Ok(())
}

/// Hold a connection back until its first bytes are there, for about this many seconds at most.
pub fn defer_accept(listener: impl AsFd, seconds: i32) -> io::Result<()> {
    set_int(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}
