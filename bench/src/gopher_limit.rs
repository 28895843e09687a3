//! The limit of gopher: a bare server of one folder on one event loop, which does nothing that answering
//! does not need.
//!
//! One thread; a connection is accepted once its request is there, is answered at once and closed. Files
//! leave with sendfile, short ones and menus with one send, menus made beforehand. It looks for nothing
//! but the file of that name below the folder, as any server has to, and shares no code with the daemon.
//!
//! Invariant: only what did not fit into a socket is registered for its event.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};
use nix::sys::stat::{Mode, fstat};
use polyport::sys::socket_option::set_int;

const EVENTS_MAX: usize = 1024;
const REQUEST_BYTES: usize = 4096;
/// What is shorter is read and sent; sendfile costs more there.
const COPIED_BYTES: usize = 16 * 1024;

/// What is still owed to a connection.
enum Owed {
    Request,
    Bytes(Arc<[u8]>, usize),
    File(File, i64, i64),
}

struct Served {
    folder: OwnedFd,
    menus: HashMap<Vec<u8>, Arc<[u8]>>,
    buffer: Vec<u8>,
}

/// Serves until the event queue fails or the process ends.
pub(crate) fn serve(listener: &TcpListener, root: &Path) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    // Sockets that are accepted inherit it.
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    // Accepted once the request is there, as the daemon does it for such a plugin.
    set_int(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?;
    let port = listener.local_addr()?.port();
    let mut served = Served {
        folder: open(root, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?,
        menus: menus(root, port)?,
        buffer: vec![0; COPIED_BYTES],
    };
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let listener_event = listener.as_raw_fd() as u64;
    let event = EpollEvent::new(EpollFlags::EPOLLIN, listener_event);
    epoll.add(listener, event)?;
    let mut waiting: Vec<Option<(TcpStream, Owed)>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
    loop {
        let heard = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => 0,
            heard => heard?,
        };
        for event in &events[..heard] {
            if event.data() == listener_event {
                accept_all(listener, &epoll, &mut served, &mut waiting)?;
                continue;
            }
            let place = &mut waiting[event.data() as usize];
            if let Some((socket, owed)) = place.take() {
                *place = served.go_on(&socket, owed).map(|owed| (socket, owed));
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: &Epoll,
    served: &mut Served,
    waiting: &mut Vec<Option<(TcpStream, Owed)>>,
) -> io::Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        if let Some(owed) = served.go_on(&socket, Owed::Request) {
            let number = socket.as_raw_fd() as usize;
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            epoll.add(socket.as_fd(), EpollEvent::new(interest, number as u64))?;
            if waiting.len() <= number {
                waiting.resize_with(number + 1, || None);
            }
            waiting[number] = Some((socket, owed));
        }
    }
}

impl Served {
    /// As far as the socket takes it; what is left then. Without any, the connection is closed.
    fn go_on(&mut self, socket: &TcpStream, mut owed: Owed) -> Option<Owed> {
        loop {
            owed = match owed {
                Owed::Request => self.asked(socket)?,
                Owed::Bytes(bytes, at) => match send(
                    socket.as_raw_fd(),
                    &bytes[at..],
                    MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
                ) {
                    Ok(sent) if at + sent < bytes.len() => Owed::Bytes(bytes, at + sent),
                    Ok(_) => return end(socket),
                    Err(Errno::EAGAIN) => return Some(Owed::Bytes(bytes, at)),
                    Err(_) => return None,
                },
                Owed::File(file, mut at, length) => {
                    let left = usize::try_from(length - at).unwrap_or(0);
                    match sendfile64(socket, &file, Some(&mut at), left) {
                        Ok(0) => return None,
                        Ok(_) if at < length => Owed::File(file, at, length),
                        Ok(_) => return end(socket),
                        Err(Errno::EAGAIN) => return Some(Owed::File(file, at, length)),
                        Err(_) => return None,
                    }
                }
            };
        }
    }

    fn asked(&mut self, socket: &TcpStream) -> Option<Owed> {
        let mut request = [0; REQUEST_BYTES];
        let read = match recv(socket.as_raw_fd(), &mut request, MsgFlags::MSG_DONTWAIT) {
            Ok(read) => read,
            Err(Errno::EAGAIN) => return Some(Owed::Request),
            Err(_) => return None,
        };
        let path = request[..read].strip_suffix(b"\r\n")?.strip_prefix(b"/")?;
        let folder = path.strip_suffix(b"/").unwrap_or(path);
        if let Some(menu) = self.menus.get(folder) {
            return Some(Owed::Bytes(Arc::clone(menu), 0));
        }
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = openat2(&self.folder, path, how).ok()?;
        let length = fstat(&file).ok()?.st_size;
        let file = File::from(file);
        if length > COPIED_BYTES as i64 {
            // The only call that does not take it with each request.
            socket.set_nonblocking(true).ok()?;
            return Some(Owed::File(file, 0, length));
        }
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut self.buffer, 0).ok()?;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(socket.as_raw_fd(), &self.buffer[..read], flags) {
            Ok(sent) if sent < read => Some(Owed::Bytes(self.buffer[sent..read].into(), 0)),
            Ok(_) => end(socket),
            Err(Errno::EAGAIN) => Some(Owed::Bytes(self.buffer[..read].into(), 0)),
            Err(_) => None,
        }
    }
}

/// In order: all that was sent arrives before the end.
fn end(socket: &TcpStream) -> Option<Owed> {
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
    None
}

/// Of each folder in the root.
fn menus(root: &Path, port: u16) -> io::Result<HashMap<Vec<u8>, Arc<[u8]>>> {
    let mut menus = HashMap::new();
    for folder in std::fs::read_dir(root)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        let name = folder.file_name().to_string_lossy().into_owned();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let lines = names
            .iter()
            .map(|file| format!("0{file}\t/{name}/{file}\t127.0.0.1\t{port}\r\n"));
        let menu = lines.collect::<String>() + ".\r\n";
        menus.insert(name.into_bytes(), menu.into_bytes().into());
    }
    Ok(menus)
}
