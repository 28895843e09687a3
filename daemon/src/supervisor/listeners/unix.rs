//! Unix sockets: one for all workers, under a path or an abstract name.
//!
//! The path of a stream socket is bound under a temporary name beside it, given its owner and
//! permissions, and renamed when it already listens: whoever finds it may connect and is answered.
//! What lies there already is replaced only if it is a socket on which nobody answers, as a killed
//! daemon leaves it. A datagram socket is bound under its own name (ADR 24).
//!
//! Invariant: a file that this made is changed by it and removed with its value, and no other.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};

use serde::{Deserialize, Serialize};

use super::error::Trouble;
use super::options::{self, OptionError};
use crate::plan::{Address, SocketFile, SocketPlan, Transport, UnixName};

/// The file of a bound socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct BoundFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// User and group of whoever made it.
    #[serde(default)]
    maker: Option<(u32, u32)>,
    /// What was set last. Whatever somebody else has set since stays until another is written.
    #[serde(default)]
    given: Cell<Option<SocketFile>>,
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
        // Answers come from the name that was bound, whatever the file is called later.
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
    file.set(plan.file)?;
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
            let short = format!("{}/{name}", link_to(&folder));
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
            maker: Some((found.st_uid(), found.st_gid())),
            given: Cell::new(None),
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

    /// Permissions, owner and group are as written from here on.
    pub(super) fn set(&self, wanted: SocketFile) -> Result<(), OptionError> {
        if self.given.get() == Some(wanted) {
            return Ok(());
        }
        let (file, found) = self.open()?;
        let (uid, gid) = self.parties(wanted);
        self.given.set(None);
        // Nobody is let in meanwhile who may in neither way. The owner comes last: whoever has given a
        // file away may not be allowed to change it.
        set_mode(&file, found.st_mode() & wanted.mode)?;
        give(&file, None, gid.filter(|gid| *gid != found.st_gid()))?;
        set_mode(&file, wanted.mode)?;
        give(&file, uid.filter(|uid| *uid != found.st_uid()), None)?;
        self.given.set(Some(wanted));
        Ok(())
    }

    /// Whether `set` will be allowed; nothing changes.
    pub(super) fn try_out(&self, wanted: SocketFile) -> Result<(), OptionError> {
        if self.given.get() == Some(wanted) {
            return Ok(());
        }
        let (file, found) = self.open()?;
        set_mode(&file, found.st_mode())?;
        let trial = memfd_create(c"owner", MFdFlags::MFD_CLOEXEC)
            .map_err(|error| file_error("owner", None, error))?;
        let (uid, gid) = self.parties(wanted);
        give(&trial, None, gid.filter(|gid| *gid != found.st_gid()))?;
        give(&trial, uid.filter(|uid| *uid != found.st_uid()), None)
    }

    /// Who it is to belong to, where that is known.
    fn parties(&self, wanted: SocketFile) -> (Option<u32>, Option<u32>) {
        let (uid, gid) = self.maker.unzip();
        (wanted.uid.or(uid), wanted.gid.or(gid))
    }

    /// The file and no other, were it exchanged a moment later: links are not followed, and what is
    /// changed is what was looked at.
    fn open(&self) -> Result<(fs::File, fs::Metadata), OptionError> {
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_NOFOLLOW);
        let opened = options.open(&self.path);
        let found = opened.and_then(|file| file.metadata().map(|found| (file, found)));
        let (file, found) = found.map_err(|error| file_error(WHOLE, None, errno_of(&error)))?;
        match (found.st_dev(), found.st_ino()) == (self.device, self.inode) {
            true => Ok((file, found)),
            false => Err(file_error(WHOLE, None, Errno::ENOENT)),
        }
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

/// The keys of a file, where it is not one of them alone.
const WHOLE: &str = "mode, owner or group";

fn file_error(key: &'static str, needs: Option<&'static str>, error: Errno) -> OptionError {
    OptionError { key, needs, error }
}

fn set_mode(file: &impl AsRawFd, mode: u32) -> Result<(), OptionError> {
    fs::set_permissions(link_to(file), fs::Permissions::from_mode(mode & 0o7777))
        .map_err(|error| file_error("mode", Some("CAP_FOWNER"), errno_of(&error)))
}

fn give(file: &impl AsRawFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), OptionError> {
    if (uid, gid) == (None, None) {
        return Ok(());
    }
    let key = if uid.is_some() { "owner" } else { "group" };
    chown(link_to(file), uid, gid)
        .map_err(|error| file_error(key, Some("CAP_CHOWN"), errno_of(&error)))
}

/// proc(5): it leads to what is open, whatever its path means by now. A descriptor with O_PATH is
/// good for nothing but such a path.
fn link_to(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
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

    #[test]
    fn only_its_own_file_is_changed_and_only_when_something_else_is_written() {
        let folder = deep_folder("set");
        let path = folder.join("x");
        let name = UnixName::Path(path.clone());
        let address = Address::Unix(name.clone());
        let plan = SocketPlan::default();
        let (_socket, file) = bind_name(&address, &name, &plan).expect("bound");
        let file = file.expect("it has a path");
        let mode = || fs::metadata(&path).expect("it is there").st_mode() & 0o7777;
        let wanted = |mode| SocketFile { mode, ..plan.file };
        file.try_out(wanted(0o640)).expect("it is ours");
        assert_eq!(mode(), plan.file.mode, "nothing but tried");
        for expected in [0o640, 0o666, 0o600] {
            file.set(wanted(expected)).expect("it is ours");
            assert_eq!(mode(), expected);
        }
        // What an administrator has done by hand is no business of a change of something else.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("it is ours");
        file.set(wanted(0o600)).expect("it is set");
        assert_eq!(mode(), 0o604);

        fs::rename(&path, folder.join("y")).expect("it is there");
        let refused = |file: &BoundFile| {
            let tried = file.try_out(wanted(0o666)).map_err(|error| error.error);
            let set = file.set(wanted(0o666)).map_err(|error| error.error);
            [tried, set] == [Err(Errno::ENOENT); 2]
        };
        assert!(refused(&file), "it is gone");
        fs::write(&path, "another's").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("ours");
        assert!(refused(&file), "it is another's");
        assert_eq!(mode(), 0o604);
        fs::remove_dir_all(folder.parent().expect("a folder above")).expect("removed");
    }
}
