//! Ctrl-C, and its kin, as something to wait for.
//!
//! Invariant: once it has come it stays, so nobody has to ask at the right moment.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

#[derive(Debug)]
pub(super) struct Interrupt {
    pipe: UnixStream,
    has_come: bool,
}

impl Interrupt {
    pub(super) fn install() -> io::Result<Interrupt> {
        let (ours, handlers) = UnixStream::pair()?;
        handlers.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            pipe::register(signal, handlers.try_clone()?)?;
        }
        Ok(Interrupt {
            pipe: ours,
            has_come: false,
        })
    }

    /// Waits so long, or until it has come.
    pub(super) fn comes_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.has_come {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let read = self
                .pipe
                .set_read_timeout(Some(left))
                .and_then(|()| self.pipe.read(&mut [0]));
            match read {
                Err(error) if is_passing(error.kind()) => {}
                // A pipe that says nothing any more could never say that it has come.
                Ok(_) | Err(_) => self.has_come = true,
            }
        }
        self.has_come
    }
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
