//! What was published as 1.0 is still there: each line of its layout, and plugins in C that know of no
//! later header.
//!
//! `tests/frozen/1.0` is never blessed: it changes with no command, and what fails here breaks plugins
//! that exist. What may be added, and where, is said at the top of the header.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use polyport_plugin::abi;
use polyport_plugin::testing::Setup;

mod compiler;
mod loaded;

/// Those that may become longer at their end, as the header promises.
const GROW: [&str; 10] = [
    "pp_host_api",
    "pp_plugin",
    "pp_option",
    "pp_value",
    "pp_settings",
    "pp_session_info",
    "pp_datagram",
    "pp_bus_message",
    "pp_stream",
    "pp_metric",
];

/// A layout by what each line is about: constants, texts and the entry by their name, fields by their
/// struct's and theirs.
type Layout = BTreeMap<String, String>;

fn layout(text: &str) -> Layout {
    let mut layout = Layout::new();
    let mut of = String::new();
    for line in text.lines() {
        let (name, what) = match line.strip_prefix("  ") {
            Some(field) => {
                let name = field.split([' ', ':']).nth(2).expect("its name");
                (format!("{of}.{name}"), field)
            }
            None => {
                let mut words = line.split(' ');
                let (kind, name) = (words.next(), words.next().expect("its name"));
                if kind == Some("struct") {
                    of = name.to_owned();
                }
                (name.to_owned(), line)
            }
        };
        let before = layout.insert(name, what.to_owned());
        assert_eq!(before, None, "{line}");
    }
    layout
}

/// What of the older layout today's breaks.
fn broken(then: &Layout, now: &Layout) -> Vec<String> {
    let number = |line: &str| {
        line.rsplit(' ')
            .next()
            .and_then(|it| it.parse::<u64>().ok())
    };
    let holds = |name: &str, then: &str| {
        let Some(now) = now.get(name) else {
            return false;
        };
        let is_more = number(now) >= number(then) && number(then).is_some();
        let may_be_more = GROW.contains(&name) || name == "PP_MINOR" || is_capacity(name);
        now == then || (may_be_more && is_more)
    };
    let lost = then.iter().filter(|(name, then)| !holds(name, then));
    lost.map(|(name, then)| format!("{name}: was {then:?}, is {:?}", now.get(name)))
        .collect()
}

/// Numbers that the header promises to be "at least as large as here".
fn is_capacity(name: &str) -> bool {
    ["_MAX", "_BYTES", "_RANGES"]
        .iter()
        .any(|end| name.ends_with(end))
        || name == "PP_REPLIES"
}

fn then() -> PathBuf {
    compiler::folder().join("tests/frozen/1.0")
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_line_of_the_published_layout_holds() {
    let then = layout(&read(then().join("layout.txt")));
    let now = layout(&read(compiler::folder().join("layout.txt")));
    assert_eq!(broken(&then, &now), Vec::<String>::new());
    for (name, bytes) in abi::PUBLISHED {
        let expected = format!("struct {name} size {bytes}");
        assert_eq!(then.get(*name), Some(&expected), "the least size of {name}");
    }
}

#[test]
fn what_may_not_change_is_noticed_and_what_may_is_not() {
    let then = "constant PP_MINOR 0\nconstant PP_E_GONE -4\nconstant PP_REPLIES 960\n\
                struct pp_stream size 16\n  0 4 size: uint32_t\n  8 8 inner: void *\n\
                struct pp_bytes size 8\n  0 8 ptr: const uint8_t *";
    for (from, to, expected) in [
        ("MINOR 0", "MINOR 1", None),
        ("GONE -4", "GONE -5", Some("PP_E_GONE")),
        ("GONE -4", "GONE -3", Some("PP_E_GONE")),
        ("constant PP_E_GONE -4\n", "", Some("PP_E_GONE")),
        ("REPLIES 960", "REPLIES 1024", None),
        ("REPLIES 960", "REPLIES 64", Some("PP_REPLIES")),
        ("stream size 16", "stream size 24", None),
        ("stream size 16", "stream size 8", Some("pp_stream")),
        ("bytes size 8", "bytes size 16", Some("pp_bytes")),
        ("8 8 inner", "12 8 inner", Some("pp_stream.inner")),
        ("inner: void *", "inner: int64_t", Some("pp_stream.inner")),
        ("size: uint32_t", "length: uint32_t", Some("pp_stream.size")),
        ("GONE -4", "GONE -4\nconstant PP_E_NEW -12", None),
    ] {
        let now = then.replacen(from, to, 1);
        assert_ne!(now, then, "{from}");
        let found = broken(&layout(then), &layout(&now));
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{to}"),
            Some(name) => {
                let is_told = found.len() == 1 && found[0].starts_with(&format!("{name}: "));
                assert!(is_told, "{to}: {found:?}");
            }
        }
    }
}

#[test]
fn the_probe_reaches_every_type() {
    let probe = read(compiler::folder().join("tests/probe.c"));
    let layout = read(compiler::folder().join("layout.txt"));
    let structs = layout.lines().filter_map(|it| it.strip_prefix("struct "));
    for line in structs {
        let name = line.split(' ').next().expect("its name");
        assert!(probe.contains(&format!("REACHES({name})")), "{name}");
    }
}

#[test]
fn plugins_in_c_with_the_header_of_then_are_served() {
    let header = then();
    let header = header.to_str().expect("a path in UTF-8");
    for name in ["smallest", "counting"] {
        let source = compiler::folder().join(format!("examples/{name}.c"));
        let library = compiler::scratch("frozen").join(format!("{name}.so"));
        // The first folder of headers is the one that counts.
        let flags = ["-std=c99", "-pedantic", "-shared", "-fPIC", "-I", header];
        compiler::compile("cc", &flags, &source, &library);
        let setup = Setup::table(loaded::loaded(&library));
        let mut host = setup.start().expect("it takes no settings");
        let peer = host.connect();
        host.send(peer, b"hello\n");
        host.peer_finishes(peer);
        assert_eq!(host.received(peer), b"hello\n", "{name}");
    }
}
