//! What is counted of a service: each counter's place on the scoreboard, and its name.
//!
//! A name is for ever: operators have alerts on it, and a program that takes over finds what the dead
//! had counted by it.
//!
//! Invariant: `ALL` names every counter, in the order of their places.

/// What is counted. `Connections` goes up and down; all others only up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Counter {
    /// Open now.
    Connections = 0,
    Accepted,
    /// Turned away, for whatever reason; the reasons are counted below.
    Refused,
    BytesIn,
    BytesOut,
    /// Panics and broken rules of the plugin that ended a session only.
    PluginFaults,
    ClosedIdle,
    ClosedLimit,
    /// Descriptors ran out while accepting.
    OutOfDescriptors,
    /// Log lines that a plugin's flood cost.
    LogDropped,
    /// Received whole.
    DatagramsIn,
    DatagramsOut,
    /// Answers that did not leave: no room in the batch or the socket, no name or way back.
    DatagramsDropped,
    /// Over `limits.datagram_rate`.
    DatagramsLimited,
    /// Longer than a datagram may be.
    DatagramsTruncated,
    /// Lost by the kernel because the socket's queue was full.
    ReceiveQueueFull,
    /// What a host on the way, or the peer's, said against an answer.
    IcmpErrors,
    /// The plugin answered with an error.
    DatagramsFailed,
    /// Turned away by the lists or the hours of `access`.
    RefusedAccess,
    /// Turned away because its source is banned.
    RefusedBanned,
    /// Turned away at the limit for one source.
    RefusedSource,
    /// Turned away at the limit on new connections a second.
    RefusedRate,
    /// Turned away by the plugin itself.
    RefusedVeto,
    /// Turned away with the reserve descriptor, because there was no other.
    RefusedDescriptors,
    /// Came to a sensor.
    Trapped,
    /// Let in uncounted, because the table of sources had no room.
    SourcesFull,
    ClosedLifetime,
    ClosedProgress,
    ClosedStalled,
    ClosedPending,
    /// A proxy's header was none, or did not come in time.
    ClosedProxy,
    /// Open when its source was banned.
    ClosedBanned,
    /// Ended because an operator wanted it.
    ClosedAsked,
    /// Turned away because too many waited for a thread.
    RefusedBusy,
    /// Turned away because the plugin keeps failing and its service is suspended.
    RefusedFailing,
    /// Closed because a file became shorter while it was sent, or could not be read.
    FilesShort,
    /// Taken over from another worker.
    CarriedIn,
    /// Given to another worker.
    CarriedOut,
    /// Ended because it could not go on here: the plugin, or a ban, was against it.
    CarryRefused,
    /// Messages of a handover that were wrong or came without their sockets.
    CarryBroken,
    LogLost,
    /// Open when their worker ended; the supervisor counts them.
    ClosedDeath,
    /// Served for longer than a handler has.
    ClosedHandler,
    /// Times that a worker, having all its connections, left a listener alone.
    HeldConnections,
    /// Times that a connection had moved all its bytes and had to wait.
    HeldBandwidth,
}

impl Counter {
    pub const ALL: [Counter; 45] = [
        Counter::Connections,
        Counter::Accepted,
        Counter::Refused,
        Counter::BytesIn,
        Counter::BytesOut,
        Counter::PluginFaults,
        Counter::ClosedIdle,
        Counter::ClosedLimit,
        Counter::OutOfDescriptors,
        Counter::LogDropped,
        Counter::DatagramsIn,
        Counter::DatagramsOut,
        Counter::DatagramsDropped,
        Counter::DatagramsLimited,
        Counter::DatagramsTruncated,
        Counter::ReceiveQueueFull,
        Counter::IcmpErrors,
        Counter::DatagramsFailed,
        Counter::RefusedAccess,
        Counter::RefusedBanned,
        Counter::RefusedSource,
        Counter::RefusedRate,
        Counter::RefusedVeto,
        Counter::RefusedDescriptors,
        Counter::Trapped,
        Counter::SourcesFull,
        Counter::ClosedLifetime,
        Counter::ClosedProgress,
        Counter::ClosedStalled,
        Counter::ClosedPending,
        Counter::ClosedProxy,
        Counter::ClosedBanned,
        Counter::ClosedAsked,
        Counter::RefusedBusy,
        Counter::RefusedFailing,
        Counter::FilesShort,
        Counter::CarriedIn,
        Counter::CarriedOut,
        Counter::CarryRefused,
        Counter::CarryBroken,
        Counter::LogLost,
        Counter::ClosedDeath,
        Counter::ClosedHandler,
        Counter::HeldConnections,
        Counter::HeldBandwidth,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Counter::Connections => "connections",
            Counter::Accepted => "accepted",
            Counter::Refused => "refused",
            Counter::BytesIn => "bytes_in",
            Counter::BytesOut => "bytes_out",
            Counter::PluginFaults => "plugin_faults",
            Counter::ClosedIdle => "closed_idle",
            Counter::ClosedLimit => "closed_limit",
            Counter::OutOfDescriptors => "out_of_descriptors",
            Counter::LogDropped => "log_dropped",
            Counter::DatagramsIn => "datagrams_in",
            Counter::DatagramsOut => "datagrams_out",
            Counter::DatagramsDropped => "datagrams_dropped",
            Counter::DatagramsLimited => "datagrams_limited",
            Counter::DatagramsTruncated => "datagrams_truncated",
            Counter::ReceiveQueueFull => "receive_queue_full",
            Counter::IcmpErrors => "icmp_errors",
            Counter::DatagramsFailed => "datagrams_failed",
            Counter::RefusedAccess => "refused_access",
            Counter::RefusedBanned => "refused_banned",
            Counter::RefusedSource => "refused_source",
            Counter::RefusedRate => "refused_rate",
            Counter::RefusedVeto => "refused_veto",
            Counter::RefusedDescriptors => "refused_descriptors",
            Counter::Trapped => "trapped",
            Counter::SourcesFull => "sources_full",
            Counter::ClosedLifetime => "closed_lifetime",
            Counter::ClosedProgress => "closed_progress",
            Counter::ClosedStalled => "closed_stalled",
            Counter::ClosedPending => "closed_pending",
            Counter::ClosedProxy => "closed_proxy",
            Counter::ClosedBanned => "closed_banned",
            Counter::ClosedAsked => "closed_asked",
            Counter::RefusedBusy => "refused_busy",
            Counter::RefusedFailing => "refused_failing",
            Counter::FilesShort => "files_short",
            Counter::CarriedIn => "carried_in",
            Counter::CarriedOut => "carried_out",
            Counter::CarryRefused => "carry_refused",
            Counter::CarryBroken => "carry_broken",
            Counter::LogLost => "log_lost",
            Counter::ClosedDeath => "closed_death",
            Counter::ClosedHandler => "closed_handler",
            Counter::HeldConnections => "held_connections",
            Counter::HeldBandwidth => "held_bandwidth",
        }
    }
}
