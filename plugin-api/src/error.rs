//! What can go wrong between a plugin and its host, as one closed set.
//!
//! Errors carry no text: what an administrator should read is logged or given as the reason of a
//! close. Invariant: every status of the ABI maps to exactly one `Error` and back; a status that
//! nobody knows is a plain failure.

use std::fmt;
use std::io;

use crate::abi;

/// Why a call failed, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No better word.
    Failed,
    /// An argument that the ABI forbids.
    Argument,
    /// This host, kernel or transport cannot.
    Unsupported,
    /// The session, timer or instance has ended.
    Gone,
    /// A limit is reached and nothing was done. As the answer of [`feed`](crate::Protocol::feed):
    /// feed the same bytes again when there is room.
    Full,
    /// The settings are refused.
    Config,
    /// The plugin panicked.
    Panicked,
    /// Given up because the instance drains.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// Called from a thread that may not.
    Thread,
    /// Too much waits already, and nothing was done.
    Busy,
}

/// What most calls answer.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

const STATUSES: [(abi::Status, Error); 11] = [
    (abi::E_FAIL, Error::Failed),
    (abi::E_ARG, Error::Argument),
    (abi::E_UNSUPPORTED, Error::Unsupported),
    (abi::E_GONE, Error::Gone),
    (abi::E_FULL, Error::Full),
    (abi::E_CONFIG, Error::Config),
    (abi::E_PANIC, Error::Panicked),
    (abi::E_CANCELLED, Error::Cancelled),
    (abi::E_TIMEOUT, Error::TimedOut),
    (abi::E_THREAD, Error::Thread),
    (abi::E_BUSY, Error::Busy),
];

impl Error {
    /// What an error of a [`Stream`](crate::Stream) carries; any other is a plain failure.
    pub fn of(error: &io::Error) -> Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        inner.copied().unwrap_or(Error::Failed)
    }

    pub(crate) fn status(self) -> abi::Status {
        STATUSES
            .iter()
            .find(|(_, error)| *error == self)
            .map_or(abi::E_FAIL, |(status, _)| *status)
    }

    /// Negative is an error; 0 and what is above it is not.
    pub(crate) fn check(status: abi::Status) -> Result {
        if status >= abi::OK {
            return Ok(());
        }
        Err(STATUSES
            .iter()
            .find(|(known, _)| *known == status)
            .map_or(Error::Failed, |(_, error)| *error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Failed => "failed",
            Error::Argument => "forbidden argument",
            Error::Unsupported => "not supported by this host",
            Error::Gone => "already ended",
            Error::Full => "a limit is reached",
            Error::Config => "settings refused",
            Error::Panicked => "the plugin panicked",
            Error::Cancelled => "cancelled",
            Error::TimedOut => "timed out",
            Error::Thread => "called from a wrong thread",
            Error::Busy => "too much waits already",
        })
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error {
            Error::TimedOut => io::ErrorKind::TimedOut,
            Error::Gone => io::ErrorKind::ConnectionReset,
            Error::Argument => io::ErrorKind::InvalidInput,
            Error::Unsupported => io::ErrorKind::Unsupported,
            // Not Interrupted, which would be tried again.
            Error::Cancelled => io::ErrorKind::Other,
            Error::Failed
            | Error::Full
            | Error::Config
            | Error::Panicked
            | Error::Thread
            | Error::Busy => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_errors_map_both_ways_and_unknown_ones_are_failures() {
        for (status, error) in STATUSES {
            assert_eq!(error.status(), status);
            assert_eq!(Error::check(status), Err(error));
        }
        assert_eq!(Error::check(abi::OK), Ok(()));
        assert_eq!(Error::check(-999), Err(Error::Failed));
    }

    #[test]
    fn an_error_survives_the_way_through_io_and_is_never_retried() {
        for (_, error) in STATUSES {
            let io = io::Error::from(error);
            assert_eq!(Error::of(&io), error);
            assert_ne!(io.kind(), io::ErrorKind::Interrupted, "{error}");
        }
        let foreign = io::Error::from(io::ErrorKind::InvalidData);
        assert_eq!(Error::of(&foreign), Error::Failed);
    }
}
