//! From a path to what is there, below one directory handle.
//!
//! The kernel keeps us inside (openat2, beneath, no magic links), whatever links and renames do
//! meanwhile. What is opened for reading was found to be a regular file before, and is found to be one
//! again after, so that no FIFO and no device is ever opened in earnest.
//!
//! On the loop only what the kernel can answer from memory is asked for; everything else is
//! [`Miss::NotNow`], and asked again on a thread that may wait. Invariant: nothing here blocks while
//! the patience is [`Patience::None`].

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags, RawMode, ResolveFlags, Stat, fstat, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Whether the disk may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Enough,
}

/// Why there is nothing to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// Peers are told that it is not there, whatever the reason, which the log has.
    NotHere(&'static str),
    /// It would have to be waited for.
    NotNow,
}

/// Why a file that is there is not read whole.
pub(crate) const TOO_LONG: &str = "it is too long";

/// How links and permissions are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) follow_links: bool,
    pub(crate) world_readable: bool,
}

/// What a file was when it was looked at; equal stamps mean the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    modified_ns: i128,
    /// Of its content, its owner or its mode; nobody can set it.
    changed_ns: i128,
    pub(crate) size: u64,
    pub(crate) owner: u32,
    mode: RawMode,
}

impl Stamp {
    fn of(stat: &Stat) -> Stamp {
        Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            owner: stat.st_uid,
            mode: stat.st_mode,
        }
    }

    #[cfg(test)]
    pub(crate) fn of_times(modified_ns: i128, changed_ns: i128) -> Stamp {
        Stamp {
            device: 1,
            inode: 2,
            modified_ns,
            changed_ns,
            size: 3,
            owner: 4,
            mode: 0o100_644,
        }
    }

    pub(crate) fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }

    pub(crate) fn modified_s(&self) -> i64 {
        i64::try_from(self.modified_ns.div_euclid(1_000_000_000)).unwrap_or(0)
    }

    pub(crate) fn modified_ns(&self) -> i128 {
        self.modified_ns
    }

    /// Of its content, its owner or its mode; of two times the later one, for the first can be set.
    pub(crate) fn last_change_ns(&self) -> i128 {
        self.modified_ns.max(self.changed_ns)
    }
}

/// One root, or one folder below which things are looked up, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk<'a> {
    pub(crate) folder: BorrowedFd<'a>,
    pub(crate) rules: Rules,
    pub(crate) patience: Patience,
}

impl Disk<'_> {
    /// What is at this path, if it is a file or a folder that may be shown. It is not opened.
    pub(crate) fn look(&self, path: &[u8]) -> Result<Stamp, Miss> {
        let place = self.open(path, OFlags::PATH)?;
        self.judge(&place)
    }

    /// A file to read from, and what it is.
    pub(crate) fn file(&self, path: &[u8]) -> Result<(File, Stamp), Miss> {
        if !self.look(path)?.is_file() {
            return Err(Miss::NotHere("it is no file"));
        }
        self.known_file(path)
    }

    /// The same for what was a regular file when it was looked at before: without looking again
    /// first. If it has become something else meanwhile, opening does not wait and nothing is read.
    pub(crate) fn known_file(&self, path: &[u8]) -> Result<(File, Stamp), Miss> {
        let place = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stamp = self.judge(&place)?;
        match stamp.is_file() {
            true => Ok((File::from(place), stamp)),
            false => Err(Miss::NotHere("it is no file")),
        }
    }

    /// A folder to list, and what it is.
    pub(crate) fn folder(&self, path: &[u8]) -> Result<(OwnedFd, Stamp), Miss> {
        let place = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let stamp = self.judge(&place)?;
        Ok((place, stamp))
    }

    /// All of a file, unless it is longer than `bytes_max`.
    pub(crate) fn read(&self, path: &[u8], bytes_max: u64) -> Result<(Vec<u8>, Stamp), Miss> {
        let (file, stamp) = self.file(path)?;
        if stamp.size > bytes_max {
            return Err(Miss::NotHere(TOO_LONG));
        }
        let mut bytes = vec![0; usize::try_from(stamp.size).unwrap_or(0)];
        let read = read_at(&file, &mut bytes, 0).map_err(|_| Miss::NotHere("it cannot be read"))?;
        bytes.truncate(read);
        Ok((bytes, stamp))
    }

    fn judge(&self, place: &OwnedFd) -> Result<Stamp, Miss> {
        let stat = fstat(place).map_err(missed)?;
        let stamp = Stamp::of(&stat);
        if !stamp.is_file() && !stamp.is_folder() {
            return Err(Miss::NotHere("it is neither a file nor a folder"));
        }
        let asked = if stamp.is_folder() { 0o005 } else { 0o004 };
        if self.rules.world_readable && stamp.mode & asked != asked {
            return Err(Miss::NotHere("not everybody may read it"));
        }
        Ok(stamp)
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Miss> {
        if self.rules.world_readable {
            self.judge_way(path)?;
        }
        self.open_any(path, flags)
    }

    /// Everybody has to get through each folder on the way.
    fn judge_way(&self, path: &[u8]) -> Result<(), Miss> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in ends {
            let folder = self.open_any(&path[..end], OFlags::PATH)?;
            if fstat(&folder).map_err(missed)?.st_mode & 0o001 == 0 {
                return Err(Miss::NotHere("not everybody may go there"));
            }
        }
        Ok(())
    }

    fn open_any(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Miss> {
        let path = if path.is_empty() { b"." } else { path };
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if !self.rules.follow_links {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        if self.patience == Patience::None {
            resolve |= ResolveFlags::CACHED;
        }
        loop {
            let opened = openat2(
                self.folder,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            );
            match opened {
                Ok(place) => return Ok(place),
                // A rename somewhere has disturbed the kernel's proof that we stayed inside.
                Err(Errno::AGAIN) if self.patience == Patience::Enough => {}
                Err(Errno::INTR) => {}
                Err(error) => return Err(missed(error)),
            }
        }
    }
}

/// Until the buffer is full or the file ends; how many bytes that were.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The first so many bytes of a file, if all of them are in memory.
pub(crate) fn in_memory(file: &File, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let place = &mut [IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, place, 0, ReadWriteFlags::NOWAIT);
    (read == Ok(length)).then_some(bytes)
}

/// A folder of the administrator's, opened once.
pub(crate) fn root(path: &str) -> Result<OwnedFd, String> {
    let file = File::open(path).map_err(|error| format!("{path} cannot be opened: {error}"))?;
    let stat = fstat(&file).map_err(|error| format!("{path}: {error}"))?;
    match Stamp::of(&stat).is_folder() {
        true => Ok(file
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| error.to_string())?),
        false => Err(format!("{path} is not a folder")),
    }
}

fn missed(error: Errno) -> Miss {
    Miss::NotHere(match error {
        Errno::AGAIN => return Miss::NotNow,
        // An older kernel does not know how to answer from memory only.
        Errno::INVAL => return Miss::NotNow,
        Errno::NOENT => "it does not exist",
        Errno::NOTDIR => "a part of its path is no folder",
        Errno::ACCESS | Errno::PERM => "the worker may not read it",
        Errno::XDEV => "a link leads out of the root",
        Errno::LOOP => "links lead around, or are not followed",
        Errno::NAMETOOLONG => "its name is too long",
        Errno::MFILE | Errno::NFILE => "too many files are open",
        _ => "it cannot be opened",
    })
}
