//! The engine: what happens to connections, decided without a socket, a clock or a pointer.
//!
//! [`Streams`] is its whole face towards the worker, [`session::Protocol`] and [`desk::Desk`] are
//! its face towards a plugin. Everything is a function of what it was told and of `now`, so that it
//! can be tested in simulated worlds.

mod carrying;
mod connection;
mod datagrams;
mod deadlines;
pub mod desk;
mod lists;
pub mod outbox;
mod output;
pub mod rates;
pub mod replies;
pub mod session;
mod streams;
mod telling;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod simulation;

pub use connection::{LINGER_BYTES_MAX, LINGER_MS};
pub use lists::Parted;
pub use output::{PIECES_MAX, Pieces};
pub use streams::{After, READ_BYTES, Streams, Tally};
