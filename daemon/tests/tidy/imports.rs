//! Which room of the daemon may use which, as one table, and what the two cores must not know.
//!
//! Paths are found in the code wherever they stand, in `use` and in line, and groups are taken
//! apart. A room that is not in the table is refused: adding one is a decision about borders.

use crate::tree::{Finding, Source, root};

/// A room, what it may use of other rooms, and why no more.
const ROOMS: [(&str, &[&str], &str); 18] = [
    (
        "channel",
        &["config", "plan", "sys"],
        "it carries plans; it decides nothing",
    ),
    (
        "config",
        &[],
        "text in, text as written out: the first link",
    ),
    (
        "control",
        &[
            "channel",
            "config",
            "exit",
            "lifecycle",
            "plan",
            "scoreboard",
            "sys",
        ],
        "the operator's words about plans and lives; it starts no process",
    ),
    ("exit", &[], "numbers that mean one thing everywhere"),
    (
        "hub",
        &["channel", "exit", "log", "plan", "seeds", "sys"],
        "a process of its own, and the pure end of it in workers; it knows no plugin and no peer",
    ),
    (
        "log",
        &["plan"],
        "it writes lines; what is in them is others' business",
    ),
    (
        "operator",
        &[
            "channel",
            "config",
            "control",
            "exit",
            "plan",
            "plugin_host::verify",
            "supervisor",
            // The doctor tries how far it closes.
            "sys::sandbox",
            "terminal",
        ],
        "verbs of the command line; they load no plugin into their own process",
    ),
    (
        "role",
        &[
            "channel",
            "config",
            "exit",
            "hub",
            "log",
            "plan",
            "plugin_host",
            "supervisor::rehearse",
            "sys",
            "terminal",
            "worker",
        ],
        "a child of the supervisor is one thing only, and a supervisor at a rehearsal at most",
    ),
    (
        "engine",
        &["plan", "seeds"],
        "a pure core: it learns limits from the plan and nothing from the system",
    ),
    (
        "lifecycle",
        &["config", "plan"],
        "a pure core: it knows plans only",
    ),
    ("plan", &["config"], "it resolves what was written"),
    (
        "plugin_host",
        &[
            "channel",
            "config",
            "engine",
            "hub",
            "plan",
            "scoreboard",
            "sys",
        ],
        "behind the engine's seam; it knows neither of the processes",
    ),
    ("scoreboard", &["sys"], "memory that both processes share"),
    ("seeds", &[], "which worlds tests play; nobody else has it"),
    (
        "supervisor",
        &[
            "channel",
            "config",
            "control",
            "exit",
            "lifecycle",
            "log",
            "plan",
            "plugin_host::verify",
            "scoreboard",
            "sys",
            "terminal",
        ],
        "it runs no plugin and serves no peer, so of plugins it may only check files",
    ),
    (
        "sys",
        &["plan::Needs", "plan::SandboxPolicy"],
        "the ground floor: of the plan it knows what a sandbox is to allow",
    ),
    (
        "terminal",
        &["exit"],
        "words for whoever started the process, and the code that goes with them",
    ),
    (
        "worker",
        &[
            "channel",
            "config",
            "engine",
            "exit",
            "hub",
            "log",
            "plan",
            "plugin_host",
            "scoreboard",
            "sys",
        ],
        "it serves peers, and meets the supervisor on the channel only",
    ),
];

const CORES: [&str; 2] = ["daemon/src/lifecycle/", "daemon/src/engine/"];
/// What makes a core impure.
const IMPURE: [&str; 14] = [
    "libc",
    "nix",
    "signal_hook",
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::io",
    "tracing",
    "crossbeam",
];
/// Of the above, what are only values.
const VALUES: [&str; 9] = [
    "std::io::ErrorKind",
    "std::io::IoSlice",
    "std::net::AddrParseError",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::net::SocketAddr",
    "std::net::SocketAddrV4",
    "std::net::SocketAddrV6",
];

pub(crate) fn directions(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix("daemon/src/") else {
        return Vec::new();
    };
    let room = inside.split(['/', '.']).next().unwrap_or(inside);
    // lib.rs and main.rs are the roof: they see every room.
    if matches!(inside, "lib.rs" | "main.rs") {
        return Vec::new();
    }
    let Some((_, allowed, why)) = ROOMS.iter().find(|(name, _, _)| *name == room) else {
        return vec![source.finding(
            1,
            format!("the room {room} is not in tests/tidy/imports.rs"),
        )];
    };
    let mut found = Vec::new();
    for (at, path) in paths_from(source, "crate") {
        let path = path.strip_prefix("crate::").unwrap_or("*");
        let own = begins_with(path, room);
        if !own && !allowed.iter().any(|prefix| begins_with(path, prefix)) {
            let text = format!("{room} may not use {path}: {why}");
            found.push(source.finding(source.line_at(at), text));
        }
    }
    for (at, path) in paths_from(source, "super") {
        let target = path
            .trim_start_matches("super::")
            .split("::")
            .next()
            .unwrap_or("");
        let is_room = ROOMS.iter().any(|(name, _, _)| *name == target);
        if is_room && target != room && !has_part(room, target) {
            let text = format!("write crate::{target}, so that the direction shows");
            found.push(source.finding(source.line_at(at), text));
        }
    }
    found
}

pub(crate) fn purity(source: &Source) -> Vec<Finding> {
    if !CORES.iter().any(|core| source.path.starts_with(core)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for origin in ["std", "nix", "libc", "signal_hook", "tracing", "crossbeam"] {
        for (at, path) in paths_from(source, origin) {
            let value = VALUES.iter().any(|value| begins_with(&path, value));
            // A parent of something impure would let it in by another name.
            let reaches = |impure: &str| begins_with(&path, impure) || begins_with(impure, &path);
            if let Some(impure) = IMPURE.iter().find(|i| reaches(i)).filter(|_| !value) {
                let text = format!("a core takes values and the time, it does not use {impure}");
                found.push(source.finding(source.line_at(at), text));
            }
        }
    }
    found
}

/// Is `prefix` the whole of `path`, or its first segments?
fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A room's own part may have the name of another room.
fn has_part(room: &str, name: &str) -> bool {
    let folder = root().join("daemon/src").join(room);
    folder.join(format!("{name}.rs")).exists() || folder.join(name).exists()
}

/// Every path in the code that begins with this word, groups taken apart, a glob left out.
fn paths_from(source: &Source, origin: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for at in source.words(origin) {
        let before = source.code[..at].trim_end();
        let middle = before.ends_with("::") && !is_leading(before);
        let after = source.code[at + origin.len()..].trim_start();
        // `pub(crate)`, a field named so, or the middle of a longer path.
        if middle || !after.starts_with("::") {
            continue;
        }
        let mut ends = Vec::new();
        follow(&source.code[at..], String::new(), &mut ends);
        paths.extend(ends.into_iter().map(|path| (at, path)));
    }
    paths
}

/// `use ::std::...` begins with two colons and is no continuation.
fn is_leading(before: &str) -> bool {
    let rest = before.trim_end_matches("::");
    rest.len() + 2 == before.len() && !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Reads one path or tree of paths; returns what follows it.
fn follow<'a>(code: &'a str, so_far: String, ends: &mut Vec<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut group) = code.strip_prefix('{') {
        loop {
            group = group.trim_start();
            if let Some(after) = group.strip_prefix('}') {
                return after;
            }
            let after = follow(group, so_far.clone(), ends).trim_start();
            // A renamed item: `a as b`.
            let next = after.find([',', '}']).unwrap_or(after.len());
            group = after[next..].strip_prefix(',').unwrap_or(&after[next..]);
            if group.is_empty() {
                return group;
            }
        }
    }
    let end = code
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(code.len());
    let (word, after) = code.split_at(end);
    let path = match (so_far.as_str(), word) {
        (_, "") | (_, "self") => so_far.clone(),
        ("", word) => word.to_owned(),
        (so_far, word) => format!("{so_far}::{word}"),
    };
    match after.trim_start().strip_prefix("::") {
        Some(further) if !word.is_empty() => follow(further, path, ends),
        Some(_) | None => {
            ends.push(path);
            after
        }
    }
}
