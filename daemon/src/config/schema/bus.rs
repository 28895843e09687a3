//! The keys of `[daemon.bus]`: how much is kept, and who numbers messages and gives leases.
//!
//! That `backend = "nats"` needs a server, and which of the keys of `[daemon.bus.nats]` need each other,
//! is checked where a plan is resolved.

use super::Preset::{Is, Unset};
use super::{Key, Kind, WORDS_ONLY, YEAR_MS, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "daemon.bus.history",
        Kind::Count {
            min: 0,
            max: 1_000_000_000,
        },
        Is("10000"),
        "Messages of each topic of the bus that are kept; 0 keeps none.",
    ),
    key(
        "daemon.bus.keep",
        Kind::Duration {
            min_ms: 1_000,
            max_ms: 100 * YEAR_MS,
        },
        Is(r#""30d""#),
        "How long messages of the bus are kept.",
    ),
    key(
        "daemon.bus.backend",
        Kind::Choice {
            words: &["local", "nats"],
            refused: WORDS_ONLY,
        },
        Is(r#""local""#),
        "\"local\" is a bus of this machine alone; \"nats\" is one with all daemons that use the same \
         NATS server or cluster with JetStream.",
    ),
    key(
        "daemon.bus.nats.servers",
        Kind::TextList { max: 64 },
        Unset,
        "NATS servers, as nats://HOST:PORT or tls://HOST:PORT; one of them is enough to begin with.",
    ),
    key(
        "daemon.bus.nats.user",
        Kind::Text,
        Unset,
        "Who the daemon is to the servers, where they ask for a name and a password.",
    ),
    key(
        "daemon.bus.nats.credentials",
        Kind::Path,
        Unset,
        "File with what the servers ask for, readable by the daemon's user: a .creds file, the seed of \
         an nkey, the password of `user`, or else a token.",
    ),
    key(
        "daemon.bus.nats.tls",
        Kind::Choice {
            words: &["auto", "required", "first"],
            refused: WORDS_ONLY,
        },
        Is(r#""auto""#),
        "\"auto\" speaks TLS to servers that ask for it and to tls:// ones, \"required\" to all, \
         \"first\" to all and before anything else.",
    ),
    key(
        "daemon.bus.nats.ca",
        Kind::Path,
        Unset,
        "File with the certificates that vouch for the servers; without it, those of the system.",
    ),
    key(
        "daemon.bus.nats.certificate",
        Kind::Path,
        Unset,
        "File with the daemon's own certificate, where the servers ask for one.",
    ),
    key(
        "daemon.bus.nats.key",
        Kind::Path,
        Unset,
        "File with the key of `certificate`, readable by the daemon's user.",
    ),
    key(
        "daemon.bus.nats.prefix",
        Kind::Text,
        Is(r#""polyport""#),
        "What the names of streams, subjects and buckets begin with; daemons with the same prefix share \
         their services' bus.",
    ),
    key(
        "daemon.bus.nats.replicas",
        Kind::Count { min: 1, max: 5 },
        Is("1"),
        "Servers of a NATS cluster that keep each stream and bucket, when they are made.",
    ),
    key(
        "daemon.bus.nats.node_timeout",
        Kind::Duration {
            min_ms: 3_000,
            max_ms: 300_000,
        },
        Is(r#""15s""#),
        "When the others have not heard of this daemon for so long, they free what it holds.",
    ),
];
