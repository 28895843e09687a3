//! The keys of `[services.NAME.limits]`: what one service may spend, on all peers and on each.
//!
//! Each has a default, a consequence when it is passed, and a counter in `status`; what these are
//! stands in the manual's table of limits. "0" is no limit where it is allowed.

use super::Preset::Is;
use super::{Key, Kind, YEAR_MS, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "services.*.limits.connections",
        Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        Is("10000"),
        "Connections open at once in the whole service; more wait in the queue.",
    ),
    key(
        "services.*.limits.per_source",
        Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        Is("100"),
        "Connections of one IPv4 address or IPv6 /64 over all workers; further ones are refused, 0 \
         is no limit. Peers on the loopback are counted only if this is written.",
    ),
    key(
        "services.*.limits.rate",
        Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        Is("0"),
        "New connections a second in the whole service; further ones are refused, 0 is no limit. \
         Peers on the loopback or a Unix socket are counted only if this is written.",
    ),
    key(
        "services.*.limits.burst",
        Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        Is("0"),
        "New connections that may come at once after a quiet time; 0 is as many as `rate`.",
    ),
    key(
        "services.*.limits.pending",
        Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        Is("0"),
        "Connections in the whole service whose peers have not sent a byte yet; beyond it the oldest \
         of them is closed, 0 is no limit.",
    ),
    key(
        "services.*.limits.idle",
        Kind::Duration {
            min_ms: 0,
            max_ms: YEAR_MS,
        },
        Is(r#""5m""#),
        "A connection without a byte either way for so long is closed; \"0\" never closes.",
    ),
    key(
        "services.*.limits.lifetime",
        Kind::Duration {
            min_ms: 0,
            max_ms: YEAR_MS,
        },
        Is(r#""0""#),
        "A connection is closed when it is so old, whatever it does; \"0\" never closes.",
    ),
    key(
        "services.*.limits.progress",
        Kind::Duration {
            min_ms: 0,
            max_ms: YEAR_MS,
        },
        Is(r#""0""#),
        "A connection whose input the plugin leaves waiting for more for so long is closed, such as \
         half a line; \"0\" never closes.",
    ),
    key(
        "services.*.limits.stall",
        Kind::Duration {
            min_ms: 0,
            max_ms: YEAR_MS,
        },
        Is(r#""60s""#),
        "A peer that takes nothing for so long while output waits for it is closed; \"0\" never \
         closes.",
    ),
    key(
        "services.*.limits.bandwidth",
        Kind::Size {
            min: 0,
            max: 1 << 40,
        },
        Is(r#""0""#),
        "Bytes a second that one connection may receive, and as many that it may send; \"0\" is no \
         limit.",
    ),
    key(
        "services.*.limits.input",
        Kind::Size {
            min: 1 << 10,
            max: 1 << 30,
        },
        Is(r#""64KiB""#),
        "Bytes of one connection that the plugin may leave waiting for more.",
    ),
    key(
        "services.*.limits.output",
        Kind::Size {
            min: 1 << 10,
            max: 1 << 30,
        },
        Is(r#""256KiB""#),
        "Bytes queued for one peer that reads slowly.",
    ),
    key(
        "services.*.limits.datagram_rate",
        Kind::Count {
            min: 0,
            max: 1_000_000,
        },
        Is("0"),
        "Datagrams a second that one source may send (an IPv4 address or an IPv6 /64); 0 sets no \
         limit. Its workers share it. Peers on this machine are held to it only if it is written.",
    ),
    key(
        "services.*.limits.datagram_burst",
        Kind::Count {
            min: 1,
            max: 1_000_000,
        },
        Is("200"),
        "Datagrams of one source that may come at once before `datagram_rate` holds them back.",
    ),
    key(
        "services.*.limits.threads",
        Kind::Count { min: 1, max: 256 },
        Is("64"),
        "Threads of one worker for handlers and jobs that block; none is made before it is needed.",
    ),
    key(
        "services.*.limits.queue",
        Kind::Count {
            min: 0,
            max: 65_536,
        },
        Is("128"),
        "Connections or jobs of one worker that may wait for a thread; more are refused.",
    ),
    key(
        "services.*.limits.handler",
        Kind::Duration {
            min_ms: 0,
            max_ms: YEAR_MS,
        },
        Is(r#""0""#),
        "A handler that blocks may serve one connection for so long; \"0\" sets no limit.",
    ),
];
