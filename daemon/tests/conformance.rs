//! `polyport plugins check` as an author meets it: which rules a plugin is found to break, and that
//! breaking one, even by dying of it, leaves the verdict on the others alone.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::daemon::{Directory, polyport, run_to_end};
use support::fixtures::{build, build_fixture};
use support::plugins::{folder, smallest};

/// The rules that a plugin breaks, each with a part of the problem.
type Broken<'a> = &'a [(&'a str, &'a str)];

#[test]
fn each_broken_rule_is_found_and_no_other() {
    let panics = || folder().join("libpolyport_fixture_panics.so");
    let rows: [(PathBuf, &[&str], Broken<'_>); 17] = [
        (smallest(), &[], &[]),
        (build_fixture("breaks-none"), &[], &[]),
        (
            build_fixture("breaks-pieces"),
            &[],
            &[("pieces", "the input came as"), ("full", "EveryByte")],
        ),
        (
            build_fixture("breaks-full"),
            &[],
            &[("full", "write 1 was")],
        ),
        (
            build_fixture("breaks-ends"),
            &[],
            &[("ends", "(signal 11 (SIGSEGV))\n  what happened last:")],
        ),
        (build_fixture("breaks-drain"), &[], &[("drain", "SIGSEGV")]),
        (
            build_fixture("breaks-bound"),
            &[],
            &[("threads", "it ran on another thread")],
        ),
        (
            build_fixture("breaks-memory"),
            &[],
            &[("leaks", "bytes more")],
        ),
        (
            build_fixture("breaks-descriptor"),
            &[],
            &[("leaks", "descriptors are still open")],
        ),
        (
            build_fixture("breaks-null"),
            &[],
            &[("noise", "feed 1 \"\\x00")],
        ),
        (
            build_fixture("breaks-unarmed"),
            &[],
            &[("calls", "timer_set is refused")],
        ),
        (
            build_fixture("breaks-unwoken"),
            &[],
            &[("calls", "SIGSEGV")],
        ),
        (
            build_fixture("breaks-divides"),
            &[],
            &[("options", "create pace=\"0\"")],
        ),
        (
            build_fixture("breaks-wordless"),
            &[],
            &[(
                "options",
                "with pace = \"0\": refused with status -6, but no reason",
            )],
        ),
        (build_fixture("breaks-worded"), &[], &[]),
        (panics(), &[], &[("options", "told to panic in create")]),
        (
            panics(),
            &["where=drain"],
            &[
                ("drain", "told to panic in drain"),
                ("options", "told to panic in create"),
            ],
        ),
    ];
    for (plugin, settings, expected) in rows {
        let document = check(&plugin, &[], settings);
        assert_eq!(document["accepted"], true, "{document:#}");
        assert_eq!(document["conforms"], expected.is_empty(), "{document:#}");
        for (name, problem) in problems(&document) {
            let awaited = expected.iter().find(|(broken, _)| *broken == name);
            match (awaited, problem) {
                (Some((_, part)), Some(text)) => assert!(text.contains(part), "{document:#}"),
                (None, None) => {}
                _ => panic!("{}: {name:?}\n{document:#}", plugin.display()),
            }
        }
    }
}

/// What is wrong in every call is found wherever one is made.
#[test]
fn a_plugin_that_breaks_a_rule_at_each_turn_breaks_them_all() {
    let place = Directory::new("conformance");
    let rude = place.path().join("rude.txt");
    fs::write(&rude, "!\n").expect("written");
    let panics = || folder().join("libpolyport_fixture_panics.so");
    let rows: [(PathBuf, &[&str], &[&Path], &str); 4] = [
        (
            build_fixture("breaks-foreign"),
            &[],
            &[],
            "write was called from another thread",
        ),
        (build_fixture("rude-overconsume"), &[], &[&rude], "consumed"),
        (panics(), &["where=feed"], &[], "told to panic in feed"),
        (
            panics(),
            &["where=destroy"],
            &[],
            "told to panic in destroy",
        ),
    ];
    for (plugin, settings, inputs, part) in rows {
        let document = check(&plugin, inputs, settings);
        for name in [
            "pieces", "full", "ends", "drain", "calls", "threads", "leaks",
        ] {
            let found = problems(&document).find(|(rule, _)| *rule == name);
            let said = found.and_then(|(_, problem)| problem).unwrap_or_default();
            assert!(said.contains(part), "{name}: {document:#}");
        }
    }
}

#[test]
fn what_would_not_be_taken_is_held_to_no_rule() {
    for (fixture, part) in [
        ("table-bad_magic", "instead of PP_MAGIC"),
        ("table-newer_minor", "it needs ABI minor"),
        ("table-option_default", "option"),
    ] {
        let document = check(&build_fixture(fixture), &[], &[]);
        assert_eq!(document["accepted"], false, "{document:#}");
        assert_eq!(document["rules"], serde_json::json!([]), "{document:#}");
        let problem = document["problem"].as_str().unwrap_or_default();
        assert!(problem.contains(part), "{fixture}: {problem}");
    }
}

/// Each rule by its name, and what is wrong.
fn problems(document: &Value) -> impl Iterator<Item = (&str, Option<&str>)> {
    let rules = document["rules"].as_array().expect("a list");
    assert_eq!(rules.len(), 9, "{document:#}");
    rules.iter().map(|rule| {
        let name = rule["name"].as_str();
        (name.expect("a name"), rule["problem"].as_str())
    })
}

#[test]
fn the_examples_of_the_extensions_keep_every_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/gopher/about.txt");
    let file = format!(
        "file={}",
        path.canonicalize().expect("it is there").display()
    );
    for (name, settings) in [
        ("greeting", &[file.as_str()][..]),
        ("sending", &[&file]),
        ("proving", &[]),
        ("carrying", &[]),
        ("blocking", &[]),
        ("counting", &[]),
        ("shouting", &[]),
    ] {
        let source = Path::new("../plugin-api/examples")
            .join(name)
            .with_extension("c");
        let plugin = build(&format!("example-{name}"), &source, "none");
        let document = check(&plugin, &[], settings);
        for (rule, problem) in problems(&document) {
            // Whoever of a crowd does not read misses what the others hear.
            let may_lose = name == "shouting" && rule == "full";
            assert!(may_lose || problem.is_none(), "{name}: {document:#}");
        }
    }
}

#[test]
fn the_shipped_plugins_keep_every_rule() {
    let hole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/gopher");
    let hole = hole.canonicalize().expect("the example comes along");
    let root = format!("root={}", hole.display());
    for (plugin, settings) in [
        ("echo", &[][..]),
        ("echo", &["mode=who"]),
        ("echo", &["mode=chargen"]),
        ("udp_echo", &[]),
        ("gopher", &[&root]),
        ("line_chat", &[]),
    ] {
        let file = folder().join(format!("libpolyport_{plugin}.so"));
        let document = check(&file, &[], settings);
        for (rule, problem) in problems(&document) {
            // As of any crowd, with a line that says how much was skipped.
            let skips = |problem: &str| problem.contains("PP_E_FULL");
            let may_lose = plugin == "line_chat" && rule == "full" && problem.is_some_and(skips);
            assert!(
                may_lose || problem.is_none(),
                "{plugin} {settings:?}: {document:#}"
            );
        }
    }
}

fn check(plugin: &Path, inputs: &[&Path], settings: &[&str]) -> Value {
    let mut command = polyport();
    command.args(["plugins", "check", "--json"]).arg(plugin);
    for file in inputs {
        command.arg("--input").arg(file);
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = run_to_end(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {errors}"));
    let code = if document["conforms"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(code), "{document:#}");
    document
}
