//! The supervisor.
mod listeners;
