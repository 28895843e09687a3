//! The keys of `[services.NAME.access]`: who may come in and when, and what those hear who may not.
//!
//! Lists are text here; what is in them is read where a plan is resolved. A peer on a Unix socket has
//! no address: who may come there says the mode of its file, and of this the hours and the banner hold.

use super::Preset::{Is, Unset};
use super::{Key, Kind, YEAR_MS, key};

/// Networks in one list.
const NETWORKS_MAX: usize = 1024;

pub(super) const KEYS: &[Key] = &[
    key(
        "services.*.access.allow",
        Kind::TextList { max: NETWORKS_MAX },
        Unset,
        "Addresses and networks that may come in. The longest prefix in `allow` and `deny` decides; \
         who is in neither comes in only if there is no `allow`.",
    ),
    key(
        "services.*.access.deny",
        Kind::TextList { max: NETWORKS_MAX },
        Unset,
        "Addresses and networks that are refused; what is in both lists is refused.",
    ),
    key(
        "services.*.access.times",
        Kind::TextList { max: 64 },
        Unset,
        "Hours, in UTC, at which connections are taken: \"08:00-18:00\", \"Mon-Fri 08:00-18:00\".",
    ),
    key(
        "services.*.access.banner_refused",
        Kind::Line { max: 1024 },
        Unset,
        "Text sent to those who are refused by `access` or by a limit on coming in.",
    ),
    key(
        "services.*.access.sensor",
        Kind::Boolean,
        Is("false"),
        "true makes a trap of it: whoever connects is banned from all services.",
    ),
    key(
        "services.*.access.sensor_ban",
        Kind::Duration {
            min_ms: 1_000,
            max_ms: YEAR_MS,
        },
        Is(r#""1h""#),
        "How long a sensor bans.",
    ),
    key(
        "services.*.access.proxy_from",
        Kind::TextList { max: NETWORKS_MAX },
        Unset,
        "Addresses and networks of proxies, which must begin with a PROXY header (v1 or v2) and whose \
         word for the peer's address is taken.",
    ),
];
