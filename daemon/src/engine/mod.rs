//! The engine: what happens to connections, decided without a socket, a clock or a pointer.

pub mod desk;
pub mod session;
