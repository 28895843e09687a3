//! Memory files mapped shared, seen as words that may change at any moment.
//!
//! It promises that a mapping lives as long as its value and that no other type than an atomic word
//! is ever made from it. It gives no meaning to the words: that is `scoreboard`'s.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
}

impl SharedWords {
    /// A zeroed memory file of a fixed size: sealed against growing and shrinking, so that nobody
    /// who shares it can turn a read of ours into SIGBUS.
    pub fn file(name: &str, bytes: usize) -> io::Result<OwnedFd> {
        let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        let fd = memfd_create(&*name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let file = File::from(fd);
        file.set_len(bytes as u64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(OwnedFd::from(file))
    }

    pub fn map(file: impl AsFd) -> io::Result<SharedWords> {
        let bytes = size_of_file(&file)?;
        SharedWords::map_part(file, 0, bytes)
    }

    /// So many bytes of it; `from` is at the start of a page.
    pub fn map_part(file: impl AsFd, from: usize, bytes: usize) -> io::Result<SharedWords> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        map_shared(file, from, bytes, protection)
    }
}

/// Words that others write: this process cannot, not even by a stray pointer.
#[derive(Debug)]
pub struct SharedView(SharedWords);

impl SharedView {
    pub fn map(file: impl AsFd) -> io::Result<SharedView> {
        let bytes = size_of_file(&file)?;
        map_shared(file, 0, bytes, ProtFlags::PROT_READ).map(SharedView)
    }

    /// How many words there are.
    pub fn words(&self) -> usize {
        self.0.len()
    }

    pub fn load(&self, at: usize) -> u64 {
        self.0[at].load(SeqCst)
    }
}

fn size_of_file(file: impl AsFd) -> io::Result<usize> {
    Ok(nix::sys::stat::fstat(file)?.st_size as usize)
}

fn map_shared(
    file: impl AsFd,
    from: usize,
    bytes: usize,
    protection: ProtFlags,
) -> io::Result<SharedWords> {
    // Touching a page behind the file's end would be SIGBUS (mmap(2)).
    if from.saturating_add(bytes) > size_of_file(&file)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let length = NonZeroUsize::new(bytes - bytes % 8).ok_or(io::ErrorKind::InvalidInput)?;
    let offset = i64::try_from(from).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, offset)? };
    Ok(SharedWords {
        start: start.cast(),
        words: length.get() / 8,
    })
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `words` long and lives until drop (mmap(2)); every
        // bit pattern is a valid AtomicU64, and other processes change it by whole words only or
        // tear values, which relaxed loads of a number tolerate.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: start and length are those of our own mapping; no reference outlives self.
        let _ = unsafe { munmap(self.start.cast(), self.words * 8) };
    }
}

// SAFETY: the only access is through atomics, which any thread may use.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}
