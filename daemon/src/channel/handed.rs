//! Memory files that ride from parent to child and back: the brief, and the answer to it.
//!
//! A brief can be larger than a message; it is sealed, so that what was checked is what is read. An
//! answer is written by a child that nobody trusts: it is read up to a bound and parsed, no more.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The hidden verb of a child's command line.
pub const CHILD_VERB: &str = "child";

/// The hidden verb of a program that takes a supervisor's place.
pub const ADOPT_VERB: &str = "supervisor";

/// No brief and no answer is longer.
pub const HANDED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The descriptors that every child is started with, from `sys::spawn::FIRST_FD` on. The third is a
/// scoreboard for a worker, and the answer's file for others. A worker's further ones follow: the
/// table of sources, then its listeners.
pub const FIXED_FDS: usize = 3;

/// Only who made it could have written it: this is no file that somebody has put in the way.
pub fn is_sealed(file: impl AsFd) -> bool {
    let seals = fcntl(file, FcntlArg::F_GET_SEALS);
    seals.is_ok_and(|seals| seals & SealFlag::F_SEAL_WRITE.bits() != 0)
}

/// A sealed memory file with `value` in it.
pub fn brief(value: &impl Serialize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"polyport-brief", flags)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// An empty memory file for a child to answer in.
pub fn answer_file() -> io::Result<OwnedFd> {
    Ok(memfd_create(c"polyport-answer", MFdFlags::MFD_CLOEXEC)?)
}

/// Writes an answer; returns its length.
pub fn answer(file: OwnedFd, value: &impl Serialize) -> io::Result<u64> {
    let bytes = serde_json::to_vec(value)?;
    let mut file = File::from(file);
    file.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

/// What lies in a memory file, whoever wrote it.
pub fn read<T: DeserializeOwned>(file: impl AsFd) -> io::Result<T> {
    read_up_to(file, HANDED_BYTES_MAX)
}

pub fn read_up_to<T: DeserializeOwned>(file: impl AsFd, bytes_max: u64) -> io::Result<T> {
    let mut file = File::from(file.as_fd().try_clone_to_owned()?);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("longer than {bytes_max} bytes")));
    }
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_is_read_as_written_and_cannot_be_changed() {
        let fd = brief(&vec![1, 2, 3]).expect("written");
        assert_eq!(read::<Vec<i32>>(&fd).expect("read"), [1, 2, 3]);
        assert_eq!(read::<Vec<i32>>(&fd).expect("read again"), [1, 2, 3]);
        assert!(File::from(fd).write_all(b"x").is_err());
    }

    #[test]
    fn an_answer_beyond_the_bound_is_refused() {
        let fd = answer_file().expect("made");
        let file = File::from(fd);
        file.set_len(HANDED_BYTES_MAX + 1).expect("grown");
        let error = read::<String>(&file).expect_err("too long").to_string();
        assert!(error.contains("longer than"), "{error}");
    }
}
