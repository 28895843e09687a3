//! The channel: messages between the supervisor and one child.

mod message;

pub use message::{
    Brief, CheckBrief, ListenerBrief, Order, ProbeBrief, Report, StoredPlugin, WorkerBrief,
};
