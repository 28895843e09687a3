//! The engine: what happens to connections, decided without a socket, a clock or a pointer.
//!
//! [`Streams`] is its whole face towards the worker, [`protocol::Protocol`] and [`desk::Desk`] are
//! its face towards a plugin, [`handler`] where that one may block. Everything is a function of what
//! it was told and of `now`, so that it
//! can be tested in simulated worlds.

pub mod access;
pub mod bans;
pub mod bucket;
mod buffer;
pub mod carried;
mod carrying;
mod connection;
mod datagrams;
mod deadlines;
pub mod desk;
pub mod files;
mod filing;
mod giving;
pub mod handler;
pub mod handover;
mod introducing;
mod kept;
mod limiting;
mod limits;
mod lists;
mod looking;
mod networks;
mod only_piece;
pub mod outbox;
mod output;
mod pending;
pub mod piece;
pub mod protocol;
pub mod proxy;
pub mod rates;
pub mod replies;
pub mod roll;
pub mod session;
mod spares;
mod streams;
mod tally;
mod telling;
mod whereabouts;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod simulation;

pub use connection::{DRAIN_PAUSE_MS, LINGER_BYTES_MAX, LINGER_MS};
pub use giving::NotTaken;
pub use introducing::GivenAway;
pub use limits::{HEADER_MS, Pace, Passed, Way};
pub use lists::{Introduced, Parted};
pub use looking::Seen;
pub use networks::source_of;
pub use output::{PIECES_MAX, Pieces};
pub use streams::{After, READ_BYTES, Streams};
pub use tally::Tally;
