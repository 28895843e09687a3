//! House rules, kept by reading the source tree as text: one test a rule, and each finding names its
//! file and line.
//!
//! It compiles nothing and knows no types; where that makes a rule blunt, the rule errs towards
//! asking for plainer code. Each rule is a function over text, so that it is shown here to find what
//! it forbids before it is let loose on the tree.

mod imports;
mod packages;
mod rules;
mod tree;

use tree::{Finding, Source};

#[test]
fn imports_go_one_way() {
    bad(
        "daemon/src/lifecycle/x.rs",
        "fn f() {}\nuse crate::supervisor::Loop;",
        2,
        imports::directions,
    );
    bad(
        "daemon/src/supervisor/mod.rs",
        "use crate::plugin_host::{verify, load};",
        1,
        imports::directions,
    );
    bad(
        "daemon/src/engine/x.rs",
        "use crate::{\n  plan::Plan, sys::shared_memory};",
        1,
        imports::directions,
    );
    bad(
        "daemon/src/worker/loop.rs",
        "use super::super::supervisor::Loop;",
        1,
        imports::directions,
    );
    bad(
        "daemon/src/cellar/mod.rs",
        "//! A room that nobody knows.",
        1,
        imports::directions,
    );
    good(
        "daemon/src/supervisor/mod.rs",
        "use crate::plugin_host::verify::{take, Hash};",
        imports::directions,
    );
    good(
        "daemon/src/engine/x.rs",
        "// crate::sys\nlet s = \"crate::sys::x\";",
        imports::directions,
    );
    good(
        "daemon/src/main.rs",
        "use crate::worker::run;",
        imports::directions,
    );
    keep(imports::directions);
}

#[test]
fn the_cores_know_no_clock_and_no_system() {
    let core = "daemon/src/engine/x.rs";
    bad(
        core,
        "let now = std::time::Instant::now();",
        1,
        imports::purity,
    );
    bad(
        core,
        "use std::{\n  fmt,\n  thread,\n};",
        1,
        imports::purity,
    );
    bad(core, "use std::time;", 1, imports::purity);
    bad(core, "use std::net::*;", 1, imports::purity);
    bad(
        "daemon/src/lifecycle/x.rs",
        "\nuse std::net::{IpAddr, UdpSocket};",
        2,
        imports::purity,
    );
    bad(
        "daemon/src/lifecycle/x.rs",
        "libc::getpid();",
        1,
        imports::purity,
    );
    good(
        core,
        "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;",
        imports::purity,
    );
    good(
        "daemon/src/worker/x.rs",
        "use std::time::Instant;",
        imports::purity,
    );
    keep(imports::purity);
}

#[test]
fn unsafe_stays_in_its_places() {
    let code = "fn f() {\n    unsafe { g() }\n}";
    bad("daemon/src/worker/x.rs", code, 2, rules::places_of_unsafe);
    bad("plugins/echo/src/lib.rs", code, 2, rules::places_of_unsafe);
    bad(
        "plugin-api/src/lib.rs",
        "#[unsafe(no_mangle)]",
        1,
        rules::places_of_unsafe,
    );
    good("daemon/src/sys/x.rs", code, rules::places_of_unsafe);
    good("plugin-api/src/glue/host.rs", code, rules::places_of_unsafe);
    good(
        "daemon/tests/plugins/crashes/src/lib.rs",
        code,
        rules::places_of_unsafe,
    );
    good(
        "daemon/src/lib.rs",
        "#![deny(unsafe_code)] // unsafe",
        rules::places_of_unsafe,
    );
    keep(rules::places_of_unsafe);
}

#[test]
fn a_file_opens_with_what_it_is_for() {
    bad("daemon/src/x.rs", "use a;\nfn f() {}\n", 1, rules::opening);
    bad(
        "daemon/src/x.rs",
        "// Not a doc comment.\nuse a;\nfn f() {}\n",
        1,
        rules::opening,
    );
    good("daemon/src/x.rs", "//! For this.\nuse a;\n", rules::opening);
    keep(rules::opening);
}

#[test]
fn no_file_passes_five_hundred_lines() {
    bad("daemon/src/x.rs", &"x\n".repeat(501), 501, rules::length);
    good("daemon/src/x.rs", &"x\n".repeat(500), rules::length);
    keep(rules::length);
}

#[test]
fn tests_neither_sleep_nor_look_away() {
    bad(
        "daemon/src/x.rs",
        "#[test]\n#[ignore]\nfn t() {}",
        2,
        rules::honest_tests,
    );
    bad(
        "daemon/src/x.rs",
        "#[should_panic(expected = \"x\")]",
        1,
        rules::honest_tests,
    );
    bad(
        "daemon/tests/x.rs",
        "std::thread::sleep(d);",
        1,
        rules::honest_tests,
    );
    bad(
        "daemon/src/x.rs",
        "#[cfg(test)]\nmod tests {\nsleep(d); }",
        3,
        rules::honest_tests,
    );
    good(
        "plugins/x/src/lib.rs",
        "thread::sleep(d); // a plugin that blocks\n",
        rules::honest_tests,
    );
    keep(rules::honest_tests);
}

#[test]
fn nothing_is_left_for_later() {
    bad(
        "daemon/src/x.rs",
        concat!("fn f() {}\n// TO", "DO: g"),
        2,
        rules::finished,
    );
    bad(
        "daemon/src/x.rs",
        concat!("/* FIX", "ME */"),
        1,
        rules::finished,
    );
    good(
        "daemon/src/x.rs",
        "// a mastodon, to do with age",
        rules::finished,
    );
    keep(rules::finished);
}

#[test]
fn each_dependency_says_why_it_is_here() {
    let manifest = "[dependencies]\n# For a.\na = \"1\"\nb = \"1\"\n\n[package]\nname = \"x\"\n";
    bad(
        "daemon/Cargo.toml",
        manifest,
        4,
        rules::reasons_of_dependencies,
    );
    let manifest = "[dev-dependencies.b]\nversion = \"1\"\n";
    bad(
        "daemon/Cargo.toml",
        manifest,
        1,
        rules::reasons_of_dependencies,
    );
    let manifest = "[target.'cfg(unix)'.dependencies]\n# For a.\na = { version = \"1\", features = [\n\"b\",\n] }\n";
    good(
        "daemon/Cargo.toml",
        manifest,
        rules::reasons_of_dependencies,
    );
    keep_manifests(rules::reasons_of_dependencies);
}

#[test]
fn each_package_takes_the_lints_of_the_workspace() {
    let manifest = "[package]\nname = \"x\"\n[lints.rust]\nworkspace = true\n";
    bad("daemon/Cargo.toml", manifest, 1, rules::lints);
    good(
        "daemon/Cargo.toml",
        "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n",
        rules::lints,
    );
    good("Cargo.toml", "[workspace]\n", rules::lints);
    keep_manifests(rules::lints);
}

#[test]
fn every_package_is_from_the_registry_and_unchanged() {
    let lock = "[[package]]\nname = \"a\"\nsource = \"git+https://example.org/a\"\n";
    bad("Cargo.lock", lock, 3, packages::sources);
    let lock = "source = \"registry+https://example.org/index\"\nchecksum = \"0\"\n";
    bad("Cargo.lock", lock, 1, packages::sources);
    let lock =
        "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\n[[package]]\n";
    bad("Cargo.lock", lock, 1, packages::sources);
    report(packages::sources(&tree::read("Cargo.lock")));
    report(packages::sources(&tree::read("fuzz/Cargo.lock")));
}

#[test]
fn every_package_has_a_licence_that_we_take() {
    for (expression, taken) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0-only", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
        ("", false),
    ] {
        assert_eq!(packages::is_taken(expression), taken, "{expression:?}");
    }
    let licences = packages::licences();
    assert!(
        licences.len() > 10,
        "cargo names the packages: {licences:?}"
    );
    let refused: Vec<_> = licences
        .iter()
        .filter(|(_, l)| !packages::is_taken(l))
        .collect();
    assert!(
        refused.is_empty(),
        "not on the list in tests/tidy/packages.rs: {refused:#?}"
    );
}

type Rule = fn(&Source) -> Vec<Finding>;

/// The rule finds exactly this line of a snippet.
fn bad(path: &str, text: &str, line: usize, rule: Rule) {
    let found: Vec<usize> = rule(&Source::new(path, text))
        .iter()
        .map(|f| f.line)
        .collect();
    assert_eq!(found, [line], "in {path}:\n{text}");
}

fn good(path: &str, text: &str, rule: Rule) {
    let found = rule(&Source::new(path, text));
    assert!(found.is_empty(), "in {path}:\n{text}\n{found:?}");
}

fn keep(rule: Rule) {
    let sources = tree::sources("rs");
    assert!(sources.len() > 10, "the tree was found: {sources:?}");
    report(sources.iter().flat_map(rule).collect());
}

fn keep_manifests(rule: Rule) {
    let manifests: Vec<Source> = tree::sources("toml")
        .into_iter()
        .filter(|source| source.path.ends_with("Cargo.toml"))
        .collect();
    assert!(
        manifests.len() > 3,
        "the manifests were found: {manifests:?}"
    );
    report(manifests.iter().flat_map(rule).collect());
}

fn report(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} findings:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
