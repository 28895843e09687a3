//! `polyport plugins check` as an author meets it: which rules a plugin is found to break, and that
//! breaking one, even by dying of it, leaves the verdict on the others alone.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::daemon::{Directory, polyport, run_to_end};
use support::fixtures::build_fixture;
use support::plugins::{folder, smallest};

/// A plugin, what its peers say, and the rules that it breaks, with a part of the problem.
type Row<'a> = (PathBuf, &'a [&'a Path], &'a [(&'a str, &'a str)]);

#[test]
fn each_broken_rule_is_found_and_no_other() {
    let place = Directory::new("conformance");
    let rude = place.path().join("rude.txt");
    fs::write(&rude, "hello\n!\n").expect("written");
    let rude: &[&Path] = &[&rude];
    let rows: [Row<'_>; 8] = [
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
            build_fixture("breaks-memory"),
            &[],
            &[("leaks", "bytes more")],
        ),
        (build_fixture("breaks-descriptor"), &[], &[("leaks", "")]),
        (build_fixture("breaks-null"), &[], &[("noise", "SIGSEGV")]),
        (
            build_fixture("rude-overconsume"),
            rude,
            &[("pieces", "consumed"), ("full", "consumed")],
        ),
    ];
    for (plugin, inputs, expected) in rows {
        let document = check(&plugin, inputs, &[]);
        let rules = document["rules"].as_array().expect("a list");
        assert_eq!(rules.len(), 7, "{document:#}");
        assert_eq!(document["accepted"], true, "{document:#}");
        assert_eq!(document["conforms"], expected.is_empty(), "{document:#}");
        for rule in rules {
            let (name, problem) = (rule["name"].as_str(), rule["problem"].as_str());
            let awaited = expected.iter().find(|(broken, _)| Some(*broken) == name);
            match (awaited, problem) {
                (Some((_, part)), Some(text)) => assert!(text.contains(part), "{document:#}"),
                (None, None) => {}
                // The others may suffer from it as well: an input that kills it does so everywhere.
                (None, Some(_)) if !inputs.is_empty() => {}
                _ => panic!("{}: {name:?}\n{document:#}", plugin.display()),
            }
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
    ] {
        let file = folder().join(format!("libpolyport_{plugin}.so"));
        let document = check(&file, &[], settings);
        assert_eq!(
            document["conforms"], true,
            "{plugin} {settings:?}: {document:#}"
        );
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
