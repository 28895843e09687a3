//! A member's end of the hub: its socket, what of a frame has come by it, and what is awaited of it.
//!
//! Nothing is read or written here. Invariant: what the event queue looks for is `watched`.

use std::os::fd::OwnedFd;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// A member's socket, and what of a frame has come by it.
pub(super) struct End {
    pub(super) socket: OwnedFd,
    pub(super) input: Vec<u8>,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Nothing more comes, and nothing can be sent; why.
    pub(super) over: Option<&'static str>,
    /// What the event queue looks for; `None` if it does not know of this end.
    watched: Option<EpollFlags>,
}

impl End {
    pub(super) fn of(socket: OwnedFd) -> End {
        End {
            socket,
            input: Vec::new(),
            readable: false,
            writable: true,
            over: None,
            watched: None,
        }
    }

    /// What the event queue is to look for; nothing any more once it is over.
    fn interest(&self, may_hear: bool) -> Option<EpollFlags> {
        if self.over.is_some() {
            return None;
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, may_hear);
        flags.set(EpollFlags::EPOLLOUT, !self.writable);
        Some(flags)
    }

    /// The event queue looks for that, under this number; nearly always it does so already.
    pub(super) fn watch(&mut self, epoll: &Epoll, number: u64, may_hear: bool) -> nix::Result<()> {
        let wanted = self.interest(may_hear);
        if wanted == self.watched {
            return Ok(());
        }
        let event = |flags| EpollEvent::new(flags, number);
        match (self.watched, wanted) {
            (None, Some(flags)) => epoll.add(&self.socket, event(flags))?,
            (_, Some(flags)) => epoll.modify(&self.socket, &mut event(flags))?,
            (_, None) => epoll.delete(&self.socket)?,
        }
        self.watched = wanted;
        Ok(())
    }

    pub(super) fn close(self, epoll: &Epoll) {
        if self.watched.is_some() {
            let _ = epoll.delete(&self.socket);
        }
    }
}
