//! Rows of plugins that are refused at the start, played as the services of one daemon.
//!
//! Each text must say what the row expects, name a fix, be like no other, and be the same in
//! `status` and in `check`; and nothing of the service may have been started.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::scene::{Peer, Scene, family_and_strays, good_service, service_table};
use crate::support::daemon::Daemon;

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) plugin: PathBuf,
    pub(super) settings: &'static str,
    pub(super) texts: Vec<String>,
}

pub(super) fn row<const N: usize>(name: &'static str, plugin: PathBuf, texts: [&str; N]) -> Row {
    Row {
        name,
        plugin,
        settings: "",
        texts: texts.map(str::to_owned).to_vec(),
    }
}

/// One daemon with a service per row, and the neighbour.
pub(super) fn refuse(name: &str, rows: Vec<Row>) {
    let mut text = format!("[daemon]\n{}", good_service());
    for row in &rows {
        let settings = match row.settings {
            "" => String::new(),
            lines => format!("[services.{}.settings]\n{lines}", row.name),
        };
        text += &service_table(row.name, &row.plugin, &settings);
    }
    let mut scene = Scene::of(Daemon::start(name, &text));
    let file = fs::read_to_string(scene.daemon.directory().join("polyport.toml")).expect("read");

    let status = scene.daemon.status();
    let check = scene.daemon.operate(&["check", "--json"]);
    assert_eq!(
        check.status.code(),
        Some(5),
        "check rejects such a configuration"
    );
    let check: serde_json::Value = serde_json::from_slice(&check.stdout).expect("JSON");
    assert_eq!(check["services"]["good"]["accepted"], true);
    let mut seen = BTreeMap::new();
    for row in &rows {
        let service = &status["services"][row.name];
        let failure = service["failure"]
            .as_str()
            .unwrap_or_else(|| panic!("{} serves", row.name));
        let problem = check["services"][row.name]["problem"]
            .as_str()
            .expect("check's word");
        for text in &row.texts {
            let text = with_line(text, &file, row.name);
            assert!(
                failure.contains(&text),
                "{}: {text:?} is missing from:\n{failure}",
                row.name
            );
            // The check speaks to a terminal through the same words, escaped when shown.
            if !text.contains("\\u{") {
                assert!(
                    problem.contains(&text),
                    "{}: {text:?} in check:\n{problem}",
                    row.name
                );
            }
        }
        assert!(
            failure.contains("\n  fix: "),
            "{}: no fix in:\n{failure}",
            row.name
        );
        assert!(
            failure.starts_with(&format!("services.{}: plugin ", row.name)),
            "{failure}"
        );
        let problem_alone = failure
            .replace(row.name, "")
            .replace(row.plugin.to_str().expect("text"), "");
        if let Some(other) = seen.insert(problem_alone, row.name) {
            assert!(
                ["empty", "text", "pipe", "folder"].contains(&row.name),
                "{} and {other} read the same:\n{failure}",
                row.name
            );
        }
        assert_eq!(service["state"], "gone");
        assert_eq!(service["listen"].as_array().map(Vec::len), Some(0));
        assert_eq!(service["workers"].as_array().map(Vec::len), Some(0));
    }
    let page = scene.daemon.operate(&["status"]);
    assert_eq!(page.status.code(), Some(7), "a service has failed");
    assert!(
        !page.stdout.contains(&0x1b),
        "a plugin reached the terminal"
    );
    assert_eq!(
        family_and_strays(&scene.daemon),
        scene.daemon.worker_pids("good")
    );
    scene.neighbour_is_unharmed();
    Peer::connect(scene.daemon.address("good", 0)).echoes("still\n");
    scene.finish(&["failed, and stays so"]);
}

/// Replaces `{key}` by the number of the line of the row's section that sets the key.
fn with_line(text: &str, file: &str, service: &str) -> String {
    let Some((before, rest)) = text.split_once("toml:{") else {
        return text.to_owned();
    };
    let (key, after) = rest.split_once('}').expect("a closing brace");
    let section = format!("[services.{service}.settings]");
    let mut lines = (1..)
        .zip(file.lines())
        .skip_while(|(_, line)| *line != section);
    let found = lines.find(|(_, line)| line.starts_with(key));
    let (number, _) = found.expect("the key is in the file");
    format!("{before}toml:{number}{after}")
}
