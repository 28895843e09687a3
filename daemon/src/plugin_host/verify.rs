//! Where a plugin's code comes from, and the store that keeps it for one generation.
//!
//! The supervisor takes a plugin file into the store: it looks at owners and modes all the way down
//! its path, reads the bytes once and writes them under a name made of their hash. It never maps or
//! interprets them. Probes and workers confirm the hash before they load the stored file, so the
//! checked code is the loaded code, and overwriting the plugin in place harms nobody.
//!
//! Invariant: a [`StoredPlugin`] names a file whose content had that hash when it was written, and
//! below whose directories only root and the daemon can write.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use sha2::{Digest, Sha256};

use super::error::LoadError;
use super::nearby;
use crate::channel::StoredPlugin;
use crate::plan::{DaemonPlan, ServicePlan};

/// A larger file is not a plugin.
const FILE_BYTES_MAX: u64 = 256 << 20;
const STORE: &str = "plugins";

/// Who may own a plugin's file besides root: this process, and whoever the workers become.
pub fn owners(daemon: &DaemonPlan, service: &ServicePlan) -> Vec<u32> {
    let identity = daemon.identity_for(service).map(|identity| identity.uid);
    [Uid::effective().as_raw()]
        .into_iter()
        .chain(identity)
        .collect()
}

/// Copies a service's plugin into the store of `state_dir`, if it is what the service pins.
pub fn take_for(
    service: &ServicePlan,
    daemon: &DaemonPlan,
    state_dir: &Path,
) -> Result<StoredPlugin, LoadError> {
    let stored = take(&service.plugin, state_dir, &owners(daemon, service))?;
    compare(&stored, service)?;
    Ok(stored)
}

/// What was stored beside what the service pins.
pub fn compare(stored: &StoredPlugin, service: &ServicePlan) -> Result<(), LoadError> {
    match &service.pin {
        Some(pin) if *pin != stored.hash => Err(LoadError::Pinned {
            path: service.plugin.clone(),
            pinned: pin.clone(),
            found: stored.hash.clone(),
        }),
        _ => Ok(()),
    }
}

/// Copies `source` into the store of `state_dir`. Besides root, `owners` may own it.
pub fn take(source: &Path, state_dir: &Path, owners: &[u32]) -> Result<StoredPlugin, LoadError> {
    let real = source
        .canonicalize()
        .map_err(|error| refused_path(source, &error))?;
    let mut file = open_trusted(&real, owners)?;

    let store = open_store(state_dir)?;
    let stem = store_stem(&real);
    let temporary = format!(".{stem}.{}.tmp", std::process::id());
    let copied = copy_hashed(&mut file, &real, &store, &temporary).and_then(|hash| {
        let name = format!("{stem}-{}.so", &hash[..16]);
        let path = store.path.join(&name);
        // What is there already may be in use by another service or an older worker, which compare
        // inodes: it is replaced only if it is not what its name says.
        let stored = StoredPlugin { path, hash };
        if confirm(&stored).is_err() {
            renameat(&store.directory, &*temporary, &store.directory, &*name)
                .map_err(|errno| store.error(&name, errno))?;
        }
        Ok(stored)
    });
    // After a rename there is nothing to remove; what stays behind otherwise is for `prune`.
    let _ = unlinkat(&store.directory, &*temporary, UnlinkatFlags::NoRemoveDir);
    copied
}

/// Opens a program by the rules that hold for plugins: it becomes the supervisor itself.
pub fn open_program(path: &Path) -> Result<OwnedFd, LoadError> {
    let real = path
        .canonicalize()
        .map_err(|error| refused_path(path, &error))?;
    let file = open_trusted(&real, &[Uid::effective().as_raw()])?;
    Ok(file.into())
}

/// Removes what no generation uses any more, and what an interrupted copy left behind.
pub fn prune(state_dir: &Path, keep: &[&StoredPlugin]) -> std::io::Result<()> {
    let directory = state_dir.join(STORE);
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let kept = keep
            .iter()
            .any(|plugin| plugin.path.file_name() == Some(&name));
        let ours = name
            .to_str()
            .is_some_and(|name| name.ends_with(".so") || name.ends_with(".tmp"));
        if ours && !kept {
            std::fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

/// A stored plugin whose content was found unchanged through `file`.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// Before loading: the stored file still has its hash and may be a library of this machine.
pub(super) fn confirm(stored: &StoredPlugin) -> Result<Confirmed, LoadError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open(&stored.path, flags, Mode::empty())
        .map_err(|errno| refused_path(&stored.path, &errno.into()))?;
    let mut file = File::from(fd);
    let mut head = Vec::new();
    let hash = hash_of(&mut file, &stored.path, |bytes| {
        let missing = ELF_HEAD.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        Ok(())
    })?;
    if hash != stored.hash {
        return Err(LoadError::Changed {
            path: stored.path.clone(),
        });
    }
    check_elf(&head)?;
    Ok(Confirmed {
        file,
        path: stored.path.clone(),
    })
}

// --- ELF ---------------------------------------------------------------------------------------

/// Bytes of a file that [`check_elf`] looks at.
const ELF_HEAD: usize = 20;

/// Tells the usual mistakes apart before the loader's terser words.
fn check_elf(head: &[u8]) -> Result<(), LoadError> {
    const CLASS_64: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    const SHARED: u16 = 3;
    if head.len() < ELF_HEAD || !head.starts_with(b"\x7fELF") {
        return Err(LoadError::NotALibrary);
    }
    if head[4] != CLASS_64 || head[5] != LITTLE_ENDIAN {
        return Err(LoadError::OtherWidth);
    }
    let word = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let machine = machine_name(word(18));
    if machine != std::env::consts::ARCH {
        return Err(LoadError::OtherArchitecture { found: machine });
    }
    if word(16) != SHARED {
        return Err(LoadError::NotShared);
    }
    Ok(())
}

/// The `e_machine` of elf(5), named as Rust names architectures.
fn machine_name(machine: u16) -> String {
    match machine {
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        21 => "powerpc64".to_owned(),
        22 => "s390x".to_owned(),
        258 => "loongarch64".to_owned(),
        other => format!("machine {other}"),
    }
}

// --- trust -------------------------------------------------------------------------------------

/// Opens a file by a real path of which no other user can have changed any component.
///
/// Each component is opened below the one before it, so that what was looked at is what is used.
fn open_trusted(real: &Path, owners: &[u32]) -> Result<File, LoadError> {
    let walk = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at = open("/", walk, Mode::empty()).map_err(|e| refused_path(real, &e.into()))?;
    let mut path = PathBuf::from("/");
    let names = || {
        real.components()
            .filter(|part| matches!(part, Component::Normal(_)))
    };
    let depth = names().count();
    for (index, name) in names().enumerate() {
        trust(&at, &path, owners)?;
        path.push(name);
        let flags = if index + 1 < depth {
            walk | OFlag::O_DIRECTORY
        } else {
            // Without O_NONBLOCK, opening a FIFO would stop the supervisor.
            OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC
        };
        at = openat(&at, name.as_os_str(), flags, Mode::empty())
            .map_err(|errno| refused_path(&path, &errno.into()))?;
    }
    let facts = trust(&at, &path, owners)?;
    if kind_of(&facts) != SFlag::S_IFREG {
        return Err(LoadError::NotRegular { path });
    }
    if facts.st_size as u64 > FILE_BYTES_MAX {
        return Err(LoadError::TooLarge {
            path,
            bytes_max: FILE_BYTES_MAX,
        });
    }
    Ok(File::from(at))
}

fn trust(fd: &OwnedFd, path: &Path, owners: &[u32]) -> Result<FileStat, LoadError> {
    let facts = fstat(fd).map_err(|errno| refused_path(path, &errno.into()))?;
    let untrusted = |why: String, fix: String| LoadError::Untrusted {
        path: path.to_owned(),
        why,
        fix,
    };
    if facts.st_uid != 0 && !owners.contains(&facts.st_uid) {
        return Err(untrusted(
            format!(
                "it belongs to user {}, who is neither root nor the daemon's",
                facts.st_uid
            ),
            format!("chown root {}, or use another place", path.display()),
        ));
    }
    let mode = Mode::from_bits_truncate(facts.st_mode);
    // In a sticky directory only the owner of an entry can replace it, and owners are checked.
    let sticky = kind_of(&facts) == SFlag::S_IFDIR && mode.contains(Mode::S_ISVTX);
    if mode.intersects(Mode::S_IWGRP | Mode::S_IWOTH) && !sticky {
        return Err(untrusted(
            format!(
                "others than its owner can write it (mode {:04o})",
                facts.st_mode & 0o7777
            ),
            format!("chmod go-w {}", path.display()),
        ));
    }
    Ok(facts)
}

fn kind_of(facts: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(facts.st_mode) & SFlag::S_IFMT
}

fn refused_path(path: &Path, error: &std::io::Error) -> LoadError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return LoadError::NotFound {
            path: path.to_owned(),
            near: nearby::meant(path),
        };
    }
    LoadError::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

// --- the store ---------------------------------------------------------------------------------

struct Store {
    directory: OwnedFd,
    path: PathBuf,
}

impl Store {
    fn error(&self, name: &str, errno: Errno) -> LoadError {
        LoadError::Store {
            path: self.path.join(name),
            why: errno.desc().to_owned(),
        }
    }
}

fn open_store(state_dir: &Path) -> Result<Store, LoadError> {
    let failed = |path: &Path, why: String| LoadError::Store {
        path: path.to_owned(),
        why,
    };
    let state_dir = state_dir
        .canonicalize()
        .map_err(|error| failed(state_dir, error.to_string()))?;
    let path = state_dir.join(STORE);
    // Workers of another identity must reach it, so the mode does not follow the umask.
    match mkdirat(AT_FDCWD, &path, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(failed(&path, errno.desc().to_owned())),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory =
        open(&path, flags, Mode::empty()).map_err(|e| failed(&path, e.desc().to_owned()))?;
    // Who could rename a folder above the store could put another in its place.
    for above in path.ancestors() {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = open(above, flags, Mode::empty())
            .map_err(|errno| failed(above, errno.desc().to_owned()))?;
        trust(&folder, above, &[Uid::effective().as_raw()])?;
    }
    Ok(Store { directory, path })
}

fn copy_hashed(
    from: &mut File,
    from_path: &Path,
    store: &Store,
    name: &str,
) -> Result<String, LoadError> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let create = || openat(&store.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
    let fd = create()
        .or_else(|errno| match errno {
            // Left by a predecessor with this process id.
            Errno::EEXIST => {
                unlinkat(&store.directory, name, UnlinkatFlags::NoRemoveDir)?;
                create()
            }
            other => Err(other),
        })
        .map_err(|errno| store.error(name, errno))?;
    let mut to = File::from(fd);
    let hash = hash_of(from, from_path, |bytes| {
        to.write_all(bytes).map_err(|error| LoadError::Store {
            path: store.path.join(name),
            why: error.to_string(),
        })
    })?;
    fchmod(to.as_fd(), Mode::from_bits_truncate(0o555)).map_err(|e| store.error(name, e))?;
    Ok(hash)
}

/// SHA-256 of what is read; each piece is shown to `piece` on the way.
fn hash_of(
    from: &mut File,
    path: &Path,
    mut piece: impl FnMut(&[u8]) -> Result<(), LoadError>,
) -> Result<String, LoadError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut total: u64 = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(refused_path(path, &error)),
        };
        total += count as u64;
        if total > FILE_BYTES_MAX {
            return Err(LoadError::TooLarge {
                path: path.to_owned(),
                bytes_max: FILE_BYTES_MAX,
            });
        }
        hasher.update(&buffer[..count]);
        piece(&buffer[..count])?;
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// "libpolyport_echo" of "/x/libpolyport_echo.so", kept to what is harmless in a name.
fn store_stem(real: &Path) -> String {
    let stem = real
        .file_stem()
        .map(|stem| stem.to_string_lossy())
        .unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '_'
        }
    };
    stem.chars().take(100).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_elf_head_tells_the_usual_mistakes_apart() {
        let this = match std::env::consts::ARCH {
            "x86_64" => 62,
            "aarch64" => 183,
            _ => 243,
        };
        let head = |class: u8, order: u8, kind: u16, machine: u16| {
            let mut head = vec![0x7f, b'E', b'L', b'F', class, order];
            head.resize(16, 0);
            head.extend(kind.to_le_bytes());
            head.extend(machine.to_le_bytes());
            head
        };
        let other = || LoadError::OtherArchitecture {
            found: "s390x".to_owned(),
        };
        let cases = [
            (head(2, 1, 3, this), Ok(())),
            (
                b"#!/bin/sh\necho hello\n".to_vec(),
                Err(LoadError::NotALibrary),
            ),
            (b"\x7fELF".to_vec(), Err(LoadError::NotALibrary)),
            (Vec::new(), Err(LoadError::NotALibrary)),
            (head(1, 1, 3, this), Err(LoadError::OtherWidth)),
            (head(2, 2, 3, this), Err(LoadError::OtherWidth)),
            (head(2, 1, 3, 22), Err(other())),
            (head(2, 1, 1, this), Err(LoadError::NotShared)),
        ];
        for (head, expected) in cases {
            assert_eq!(check_elf(&head), expected, "{head:02x?}");
        }
    }

    #[test]
    fn a_store_name_holds_nothing_that_means_something_to_a_shell() {
        assert_eq!(store_stem(Path::new("/p/echo.so")), "echo");
        assert_eq!(store_stem(Path::new("/p/a b;$(c).so")), "a_b___c_");
        assert_eq!(
            store_stem(Path::new(&format!("/p/{}.so", "n".repeat(300)))).len(),
            100
        );
    }
}
