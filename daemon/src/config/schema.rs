//! The schema: every key there is, as one table: where it stands, what it takes, its default, what it is for.
//!
//! The table is data. The walk over files checks against it, defaults are laid from it, the shipped
//! example is compared with it. It holds only keys that
//! have an effect in this release: an unknown key is an error, never a promise.
//!
//! Invariant: each default is accepted by its own kind.

mod access;
mod bus;
mod limits;
mod socket;

/// Processes that one service can have.
pub const WORKERS_MAX: u16 = 256;

/// What the value of a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not empty, without control characters.
    Text,
    /// A path; absolute in files, else taken from the current directory.
    Path,
    Count {
        min: i64,
        max: i64,
    },
    /// The word "auto", or a count.
    AutoOrCount {
        min: i64,
        max: i64,
    },
    Boolean,
    /// Text with units, kept in milliseconds.
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    /// Text with units down to "us", kept in microseconds.
    Microseconds {
        max_us: u64,
    },
    /// Text with a unit, kept in bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// One of these words; some others have an answer of their own.
    Choice {
        words: &'static [&'static str],
        refused: &'static [(&'static str, &'static str)],
    },
    TextList {
        max: usize,
    },
    /// Text that may have line ends in it, of at most so many bytes.
    Line {
        max: usize,
    },
    /// Any keys: they belong to somebody else.
    FreeTable,
}

/// What holds when nobody wrote the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// It must be written.
    Required,
    /// Nothing; the help says what that means.
    Unset,
    /// This, as it would be written in a file.
    Is(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Dotted; `*` stands for the name of a service.
    pub path: &'static str,
    pub kind: Kind,
    pub default: Preset,
    pub help: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: Preset, help: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        help,
    }
}

use Preset::{Is, Required, Unset};

const YEAR_MS: u64 = 365 * 86_400_000;
const WORDS_ONLY: &[(&str, &str)] = &[];

const GENERAL: &[Key] = &[
    key(
        "daemon.plugin_dir",
        Kind::Path,
        Is(r#""/usr/lib/polyport/plugins""#),
        "Folder in which plugins are looked for by name.",
    ),
    key(
        "daemon.run_dir",
        Kind::Path,
        Is(r#""/run/polyport""#),
        "Folder of the control socket and the lock that keeps a second daemon out; made if missing.",
    ),
    key(
        "daemon.state_dir",
        Kind::Path,
        Is(r#""/var/lib/polyport""#),
        "Folder of what outlives the daemon, such as its copies of plugins; made if missing.",
    ),
    key(
        "daemon.user",
        Kind::Text,
        Unset,
        "User that workers become; without it they keep the user who started the daemon.",
    ),
    key(
        "daemon.group",
        Kind::Text,
        Unset,
        "Group that workers become; without it the primary group of `user`.",
    ),
    key(
        "daemon.drain_timeout",
        Kind::Duration {
            min_ms: 0,
            max_ms: YEAR_MS,
        },
        Is(r#""30s""#),
        "How long open connections may finish when a worker stops.",
    ),
    key(
        "daemon.hang_timeout",
        Kind::Duration {
            min_ms: 100,
            max_ms: YEAR_MS,
        },
        Is(r#""10s""#),
        "A plugin that does not return from a call for so long has its worker killed and replaced.",
    ),
    key(
        "daemon.thread_hang_timeout",
        Kind::Duration {
            min_ms: 100,
            max_ms: YEAR_MS,
        },
        Is(r#""30s""#),
        "The same for a handler or job on a thread; time in which it waits for its peer does not count.",
    ),
    key(
        "daemon.sandbox",
        Kind::Choice {
            words: &["best-effort", "required", "log", "off"],
            refused: WORDS_ONLY,
        },
        Is(r#""best-effort""#),
        "How workers are closed in: as far as the kernel can, or failing without it, or not at all; \"log\" \
         refuses nothing and logs what would be refused, for writing a plugin.",
    ),
    key(
        "daemon.log.target",
        Kind::Choice {
            words: &["stderr", "journal", "syslog", "file"],
            refused: &[("journald", "write \"journal\"")],
        },
        Is(r#""stderr""#),
        "Where the log goes; \"stderr\" speaks the journal's own protocol where systemd has connected it \
         to the journal.",
    ),
    key(
        "daemon.log.file",
        Kind::Path,
        Unset,
        "The log file when `target` is \"file\".",
    ),
    key(
        "daemon.log.facility",
        Kind::Choice {
            words: &[
                "daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5",
                "local6", "local7",
            ],
            refused: WORDS_ONLY,
        },
        Is(r#""daemon""#),
        "The facility when `target` is \"syslog\", by which that daemon sorts what it gets.",
    ),
    key(
        "daemon.log.level",
        Kind::Choice {
            words: &["debug", "info", "warning", "error"],
            refused: &[("warn", "write \"warning\"")],
        },
        Is(r#""info""#),
        "The least severity that is logged.",
    ),
    key(
        "daemon.log.format",
        Kind::Choice {
            words: &["text", "json"],
            refused: WORDS_ONLY,
        },
        Is(r#""text""#),
        "Lines for people or for programs; the journal gets fields in any case.",
    ),
    key(
        "daemon.control.operators",
        Kind::TextList { max: 64 },
        Unset,
        "Users, and groups as @GROUP, who may change what the daemon does; root and its own user may anyway.",
    ),
    key(
        "services.*.plugin",
        Kind::Text,
        Required,
        "Name of a plugin in `plugin_dir` (NAME.so, else libpolyport_NAME.so), or its absolute path.",
    ),
    key(
        "services.*.listen",
        Kind::TextList { max: 64 },
        Required,
        "Endpoints, as tcp://HOST:PORT, udp://HOST:PORT, unix:PATH (streams) or unixgram:PATH \
         (datagrams): HOST is an IPv4 address, an [IPv6] address or * for 0.0.0.0 (all of IPv4); \
         PORT is a number or a name from /etc/services, 0 takes any free port; PATH is absolute, or \
         @NAME for an abstract name.",
    ),
    key(
        "services.*.workers",
        Kind::AutoOrCount {
            min: 1,
            max: WORKERS_MAX as i64,
        },
        Is(r#""auto""#),
        "Processes that serve it: a number, or \"auto\" for one per CPU.",
    ),
    key(
        "services.*.when_failing",
        Kind::Choice {
            words: &["refuse", "close"],
            refused: WORDS_ONLY,
        },
        Is(r#""refuse""#),
        "While its plugin keeps crashing and is not run: connections are told the plugin's refusal, if \
         it has one, and closed, or only closed.",
    ),
    key(
        "services.*.user",
        Kind::Text,
        Unset,
        "User that its workers become, in place of daemon.user; the daemon has to be root for it.",
    ),
    key(
        "services.*.group",
        Kind::Text,
        Unset,
        "Group that its workers become; without it the primary group of `user`.",
    ),
    key(
        "services.*.sha256",
        Kind::Text,
        Unset,
        "SHA-256 that the plugin's file has to have; `polyport plugins verify` prints it. Without it any \
         file is taken that only root or the daemon's users can have written.",
    ),
    key(
        "services.*.enabled",
        Kind::Boolean,
        Is("true"),
        "false keeps the service checked but not served.",
    ),
];

const SETTINGS: &[Key] = &[key(
    "services.*.settings",
    Kind::FreeTable,
    Unset,
    "The plugin's own options; `polyport plugins show NAME` lists them.",
)];

/// In the order in which the manual shows them.
pub const KEYS: &[Key] = &joined::<
    {
        GENERAL.len()
            + limits::KEYS.len()
            + access::KEYS.len()
            + bus::KEYS.len()
            + socket::KEYS.len()
            + SETTINGS.len()
    },
>(&[
    bus::KEYS,
    GENERAL,
    limits::KEYS,
    access::KEYS,
    socket::KEYS,
    SETTINGS,
]);

/// One table out of several.
const fn joined<const LENGTH: usize>(tables: &[&[Key]]) -> [Key; LENGTH] {
    let mut keys = [SETTINGS[0]; LENGTH];
    let (mut table, mut row, mut at) = (0, 0, 0);
    while table < tables.len() {
        if row < tables[table].len() {
            keys[at] = tables[table][row];
            (row, at) = (row + 1, at + 1);
        } else {
            (table, row) = (table + 1, 0);
        }
    }
    keys
}

/// What stands at a dotted path of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    Key(&'static Key),
    /// Keys stand below it.
    Table,
    Unknown,
}

/// `pattern` has `*` in place of a service's name; the empty one is the whole file.
pub fn node(pattern: &str) -> Node {
    if let Some(key) = KEYS.iter().find(|key| key.path == pattern) {
        return Node::Key(key);
    }
    match children(pattern).next() {
        Some(_) => Node::Table,
        None => Node::Unknown,
    }
}

/// Names that may stand in the table at `pattern`; a name with keys below it comes once for each.
pub fn children(pattern: &str) -> impl Iterator<Item = &'static str> + '_ {
    KEYS.iter().filter_map(move |key| {
        let below = match pattern {
            "" => key.path,
            _ => key.path.strip_prefix(pattern)?.strip_prefix('.')?,
        };
        below.split('.').next()
    })
}

/// Lower case letters, digits, `-` and `_`, a letter or digit first, at most 32: fit for file names,
/// logs and variables.
pub fn is_service_name(name: &str) -> bool {
    let ordinary = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 32
        && bytes.first().is_some_and(|b| ordinary(*b))
        && bytes.iter().all(|b| ordinary(*b) || b"-_".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_no_key_stands_below_another() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(!key.help.is_empty() && !key.help.contains('\n'));
            for other in &KEYS[i + 1..] {
                assert_ne!(key.path, other.path);
                assert!(!other.path.starts_with(&format!("{}.", key.path)));
            }
        }
    }

    #[test]
    fn a_path_is_a_key_a_table_or_unknown() {
        assert_eq!(node(""), Node::Table);
        assert_eq!(node("daemon"), Node::Table);
        assert_eq!(node("services.*"), Node::Table);
        assert_eq!(node("services.*.limits"), Node::Table);
        assert!(
            matches!(node("services.*.limits.idle"), Node::Key(key) if key.path.ends_with("idle"))
        );
        for unknown in [
            "demon",
            "daemon.log.levels",
            "services.*.limit",
            "daemon.run",
        ] {
            assert_eq!(node(unknown), Node::Unknown, "{unknown}");
        }
    }

    #[test]
    fn service_names_are_short_and_plain() {
        for good in ["a", "0", "line-chat", "udp_echo", &"x".repeat(32)] {
            assert!(is_service_name(good), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a.b", "ä", "a b", &"x".repeat(33)] {
            assert!(!is_service_name(bad), "{bad}");
        }
    }
}
