//! What can go wrong between a plugin and its host, as one closed set.
//!
//! Errors carry no text: what an administrator should read is logged or given as the reason of a
//! close. Invariant: every status of the ABI maps to exactly one `Error` and back; a status that
//! nobody knows is a plain failure.

use std::fmt;

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
}

/// What most calls answer.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

const STATUSES: [(abi::Status, Error); 10] = [
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
];

impl Error {
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
        })
    }
}

impl std::error::Error for Error {}

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
}
