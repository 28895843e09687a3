//! What is in memory of a file: reading that does not wait for a disk.
//!
//! Nothing here opens a file or remembers one.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Reads at `offset` what can be had at once. EAGAIN: a disk or another machine has to be asked for
/// the first byte already. EOPNOTSUPP: this file system cannot say.
pub fn read_in_memory(file: impl AsFd, buffer: &mut [u8], offset: u64) -> nix::Result<usize> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    let place = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the one place is a buffer that is borrowed for the call, with its own length;
    // preadv2(2) writes no more than that.
    let read = unsafe { libc::preadv2(fd, &raw const place, 1, offset, libc::RWF_NOWAIT) };
    Errno::result(read).map(|bytes| bytes as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_just_written_is_in_memory_and_what_follows_is_nothing() {
        let mut file = std::fs::File::from(
            nix::sys::memfd::memfd_create(c"probe", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
                .expect("a memory file"),
        );
        file.write_all(b"here").expect("it is ours");
        let mut buffer = [0; 8];
        match read_in_memory(&file, &mut buffer, 1) {
            Ok(bytes) => assert_eq!(&buffer[..bytes], b"ere"),
            // An old kernel's memory files cannot say.
            Err(error) => assert_eq!(error, Errno::EOPNOTSUPP),
        }
        assert_eq!(
            read_in_memory(&file, &mut buffer, u64::MAX),
            Err(Errno::EOVERFLOW)
        );
    }
}
