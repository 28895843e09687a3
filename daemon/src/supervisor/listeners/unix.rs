//! Unix sockets: one for all workers, under a path or an abstract name.
//!
//! The path of a stream socket is bound under a temporary name beside it, given its owner and
//! permissions, and renamed when it already listens: whoever finds it may connect and is answered.
//! What lies there already is replaced only if it is a socket on which nobody answers, as a killed
//! daemon leaves it.
//!
//! Invariant: a file that this made is removed with its value, and no other.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};

use serde::{Deserialize, Serialize};

use super::error::Trouble;
use super::options;
use crate::plan::{Address, SocketPlan, Transport, UnixName};

/// The file of a bound socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct BoundFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// It is removed with this value. A description of it that travels does not own it.
    #[serde(skip)]
    owned: Cell<bool>,
}

pub(super) fn bind_name(
    address: &Address,
    name: &UnixName,
    plan: &SocketPlan,
) -> Result<(OwnedFd, Option<BoundFile>), Trouble> {
    let kind = match address.transport() {
        Transport::Stream => SockType::Stream,
        Transport::Datagram => SockType::Datagram,
    };
    let socket = fresh_socket(kind)?;
    options::set(&socket, address, plan, false)?;
    match name {
        UnixName::Abstract(name) => {
            bind(
                socket.as_raw_fd(),
                &UnixAddr::new_abstract(name.as_bytes())?,
            )?;
            start_listening(&socket, kind, plan)?;
            Ok((socket, None))
        }
        UnixName::Path(path) => {
            refuse_what_is_there(path, kind)?;
            let file = bind_path(&socket, path, kind, plan)?;
            Ok((socket, Some(file)))
        }
    }
}

fn fresh_socket(kind: SockType) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, kind, flags, None)
}

fn start_listening(socket: &OwnedFd, kind: SockType, plan: &SocketPlan) -> Result<(), Errno> {
    if kind == SockType::Stream {
        listen(
            socket,
            Backlog::new(plan.backlog).unwrap_or(Backlog::MAXCONN),
        )?;
    }
    Ok(())
}

fn refuse_what_is_there(path: &Path, kind: SockType) -> Result<(), Trouble> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(errno_of(&error).into()),
    };
    if !found.file_type().is_socket() {
        return Err(Trouble::NoSocket);
    }
    let probe = fresh_socket(kind)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(()),
        // Somebody took it, or has too much to do, or speaks another kind of socket.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(Errno::EADDRINUSE.into()),
        Err(error) => Err(error.into()),
    }
}

fn bind_path(
    socket: &OwnedFd,
    path: &Path,
    kind: SockType,
    plan: &SocketPlan,
) -> Result<BoundFile, Trouble> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = match kind {
        // Answers come from the name that was bound, whatever the file is called later, and peers
        // compare it; so there is a moment without the path instead.
        SockType::Datagram => path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        _ => format!(".polyport-{}", std::process::id()),
    };
    let temporary = folder.join(&name);
    // The path of a dead datagram socket, or left by a killed daemon of the same pid.
    let _ = fs::remove_file(&temporary);
    // A socket's file is born with the permissions of its socket, less the umask; so there is no
    // moment with more of them than wanted.
    let mode = Mode::from_bits_truncate(plan.file.mode);
    fchmod(socket, mode)?;
    bind_in(socket, folder, &name, &temporary)?;
    let file = BoundFile::new(temporary.clone()).map_err(|error| errno_of(&error))?;
    // Neither of these follows a link that somebody may have put there meanwhile.
    fchmodat(AT_FDCWD, &temporary, mode, FchmodatFlags::NoFollowSymlink)?;
    lchown(&temporary, plan.file.uid, plan.file.gid)
        .map_err(|error| Trouble::Owner(errno_of(&error)))?;
    start_listening(socket, kind, plan)?;
    fs::rename(&temporary, path).map_err(|error| errno_of(&error))?;
    Ok(file.renamed(path))
}

/// The temporary name may be longer than an address holds where the real one is not; then the way
/// to it is shortened through the folder's descriptor.
fn bind_in(socket: &OwnedFd, folder: &Path, name: &str, whole: &Path) -> Result<(), Errno> {
    match UnixAddr::new(whole) {
        Ok(address) => bind(socket.as_raw_fd(), &address),
        Err(_) => {
            let mut options = fs::OpenOptions::new();
            options
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_DIRECTORY);
            let folder = options.open(folder).map_err(|error| errno_of(&error))?;
            let short = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
            bind(socket.as_raw_fd(), &UnixAddr::new(short.as_str())?)
        }
    }
}

impl BoundFile {
    fn new(path: PathBuf) -> io::Result<BoundFile> {
        let found = fs::symlink_metadata(&path)?;
        Ok(BoundFile {
            path,
            device: found.st_dev(),
            inode: found.st_ino(),
            owned: Cell::new(true),
        })
    }

    fn renamed(mut self, path: &Path) -> BoundFile {
        path.clone_into(&mut self.path);
        self
    }
}

impl BoundFile {
    /// What describes the same file and does not own it.
    pub(in crate::supervisor) fn described(&self) -> BoundFile {
        let described = self.clone();
        described.owned.set(false);
        described
    }

    /// From here on it is removed with this value.
    pub(in crate::supervisor) fn own(&self) {
        self.owned.set(true);
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        if !self.owned.get() {
            return;
        }
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.st_dev(), found.st_ino()) == (self.device, self.inode));
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// A folder whose path is so long that a name in it just fits an address.
    fn deep_folder(name: &str) -> PathBuf {
        let base = std::env::temp_dir().join(format!("pp-{name}-{}", std::process::id()));
        let left = 104 - base.as_os_str().len();
        let folder = base.join("d".repeat(left));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn the_longest_path_is_bound_and_removed_unless_another_took_it() {
        let folder = deep_folder("long");
        let path = folder.join("x");
        assert_eq!(path.as_os_str().len(), 107);
        let name = UnixName::Path(path.clone());
        let address = Address::UnixDatagram(name.clone());
        let plan = SocketPlan::default();
        let (_socket, file) = bind_name(&address, &name, &plan).expect("bound");
        let peer = UnixDatagram::unbound().expect("a socket");
        peer.send_to(b"x", &path).expect("it is there");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
        drop(file);
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);

        let (_socket, file) = bind_name(&address, &name, &plan).expect("bound");
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, "another's").expect("written");
        drop(file);
        assert_eq!(fs::read(&path).expect("it stayed"), b"another's");
        fs::remove_dir_all(folder.parent().expect("a folder above")).expect("removed");
    }
}
