//! What is in memory of a file: reading that does not wait for a disk.
//!
//! Nothing here opens a file or remembers one.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::LazyLock;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;

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

/// Whether what lies on this device was made with memfd_create(2): nothing of it is ever to be waited for,
/// though kernels up to now answer EOPNOTSUPP when they are asked.
pub fn is_of_memory(device: libc::dev_t) -> bool {
    // One for all such files of the system.
    static DEVICE: LazyLock<Option<libc::dev_t>> = LazyLock::new(|| {
        let file = memfd_create(c"probe", MFdFlags::MFD_CLOEXEC).ok()?;
        fstat(&file).ok().map(|facts| facts.st_dev)
    });
    *DEVICE == Some(device)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_was_just_written_is_in_memory_and_what_follows_is_nothing() {
        let mut file = std::fs::File::from(
            memfd_create(c"probe", MFdFlags::MFD_CLOEXEC).expect("a memory file"),
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

    #[test]
    fn a_memory_file_is_known_by_its_device_and_no_other_file_is() {
        let is_it = |file: std::fs::File| is_of_memory(fstat(file).expect("it is open").st_dev);
        let memory = memfd_create(c"another", MFdFlags::MFD_CLOEXEC).expect("a memory file");
        assert!(is_it(memory.into()));
        for path in ["/dev/null", "/proc/self/exe", "/"] {
            assert!(
                !is_it(std::fs::File::open(path).expect("Linux has it")),
                "{path}"
            );
        }
    }
}
