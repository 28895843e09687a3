#![deny(unsafe_code)]
pub mod channel;
pub mod config;
pub mod control;
pub mod engine;
pub mod lifecycle;
pub mod plan;
pub mod plugin_host;
pub mod scoreboard;
pub mod supervisor;
pub mod sys;
pub mod worker;
