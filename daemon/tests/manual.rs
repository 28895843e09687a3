//! What operators look things up in: the manual's pages, as man(1) takes them without a warning and with
//! everything in them that there is, and the table of metrics.
//!
//! What there is, is asked of the program itself and of the header, not of the code that prints the pages.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use polyport::config::schema::KEYS;
use polyport::exit;

use support::daemon::Daemon;
use support::plugins::smallest;

const PAGES: [&str; 3] = ["polyport.8", "polyport.toml.5", "polyport-plugins.7"];

#[test]
fn the_formatter_has_nothing_to_complain_of() {
    for page in PAGES {
        let text = printed(&["manual", page]);
        let mut groff = Command::new("groff")
            .args(["-man", "-ww", "-Tutf8", "-Kutf8"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("groff, from the package groff-base");
        let mut input = groff.stdin.take().expect("piped");
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let output = groff.wait_with_output().expect("it ends");
        writer.join().expect("no panic").expect("all of it read");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}");
        assert!(
            output.status.success() && output.stdout.len() > 1_000,
            "{page}"
        );
    }
}

#[test]
fn every_verb_and_every_option_has_its_place() {
    let page = plain(&printed(&["manual", "polyport.8"]));
    let mut verbs = Vec::new();
    gather(&[], &mut verbs);
    assert!(verbs.len() > 25, "{verbs:?}");
    for verb in verbs {
        let name = verb.join(" ");
        let heading = format!(".SS \"polyport {name} ");
        assert!(page.contains(&heading), "polyport.8 lacks `{name}`");
        let help = help(&verb);
        let options = help.split("Options:\n").nth(1).expect("each has --help");
        for option in options
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
        {
            let option = option.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(
                page.contains(option),
                "polyport.8 lacks {option} of `{name}`"
            );
        }
    }
}

#[test]
fn every_key_code_and_extension_is_looked_up_successfully() {
    let keys = plain(&printed(&["manual", "polyport.toml.5"]));
    for key in KEYS {
        let term = format!(".TP\n{}\n", key.path);
        assert!(keys.contains(&term), "polyport.toml.5 lacks {}", key.path);
    }
    let verbs = plain(&printed(&["manual", "polyport.8"]));
    let flat = verbs.split_whitespace().collect::<Vec<_>>().join(" ");
    for (code, meaning) in exit::MEANINGS {
        assert!(
            verbs.contains(&format!(".TP\n{code}\n")),
            "polyport.8 lacks {code}"
        );
        let meaning = meaning.replace('`', "");
        assert!(flat.contains(&meaning), "polyport.8 lacks {meaning}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let header = root.join("plugin-api/include/polyport_plugin.h");
    let header = fs::read_to_string(header).expect("the header");
    let defined = header
        .lines()
        .filter(|line| line.starts_with("#define PP_EXT_"));
    let ids: BTreeSet<&str> = defined.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(ids.len() >= 6, "{ids:?}");
    let plugins = plain(&printed(&["manual", "polyport-plugins.7"]));
    for id in ids {
        assert!(
            plugins.contains(&format!(".TP\n{id}\n")),
            "polyport-plugins.7 lacks {id}"
        );
    }
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let config = format!(
        "[services.echo]\nplugin = {:?}\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n",
        smallest()
    );
    let daemon = Daemon::start("metrics-explained", &config);
    let answer = daemon.ask(r#"{"verb":"metrics"}"#)["answer"].clone();
    let families = answer["families"].as_array().expect("families");
    let names = families.iter().filter_map(|family| family["name"].as_str());
    let names: BTreeSet<&str> = names
        .filter(|name| !name.starts_with("polyport_worker_"))
        .collect();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let document = fs::read_to_string(document).expect("the document");
    let rows = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `polyport_"));
    let rows = rows.filter_map(|row| row.split('`').next());
    let explained: Vec<String> = rows.map(|name| format!("polyport_{name}")).collect();
    let once: BTreeSet<&str> = explained.iter().map(String::as_str).collect();
    assert_eq!(once, names, "docs/operations.md, Metrics");
    assert_eq!(once.len(), explained.len(), "one is explained twice");
    daemon.finish(&[]);
}

/// Verbs that do something by themselves, as help lists them.
fn gather(verb: &[String], verbs: &mut Vec<Vec<String>>) {
    let help = help(verb);
    let Some(listed) = help.split("Commands:\n").nth(1) else {
        return verbs.push(verb.to_vec());
    };
    for line in listed.lines().take_while(|line| !line.is_empty()) {
        // A line that is further in goes on with the one before.
        let name = line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with(' '));
        if let Some(name) = name.and_then(|rest| rest.split_whitespace().next())
            && name != "help"
        {
            gather(&[verb, &[name.to_owned()]].concat(), verbs);
        }
    }
}

fn help(verb: &[String]) -> String {
    let mut words: Vec<&str> = verb.iter().map(String::as_str).collect();
    words.push("--help");
    printed(&words)
}

fn printed(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_polyport"))
        .args(words)
        .output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Without fonts and escapes.
fn plain(page: &str) -> String {
    let mut text = page.to_owned();
    for (from, to) in [
        ("\\fB", ""),
        ("\\fR", ""),
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\e", "\\"),
    ] {
        text = text.replace(from, to);
    }
    text
}
