//! The engine: what happens to connections, decided without a socket, a clock or a pointer.

mod connection;
mod deadlines;
pub mod desk;
mod output;
pub mod session;
mod streams;
mod telling;

#[cfg(test)]
mod simulation;

pub use connection::{LINGER_BYTES_MAX, LINGER_MS};
pub use output::{PIECES_MAX, Pieces};
pub use streams::{After, Parted, READ_BYTES, Streams, Tally};
