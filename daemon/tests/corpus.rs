//! The kept corpus of the fuzzer: what once reached something new, or broke something, is fed again
//! to the same targets on every run, as it is and with what a seed changes of it.
//!
//! Invariant: each target has a folder in `fuzz/corpus` and an entry
//! in `fuzz/fuzz_targets`, and each of these has a target.

#[path = "support/dice.rs"]
mod dice;
#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;
#[path = "support/kept_corpus.rs"]
mod kept_corpus;
#[path = "support/mutation.rs"]
mod mutation;
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use folder::Folder;
use kept_corpus::entries;
use targets::{descriptor, plugin, written};

/// These take a plugin as well.
const SETTINGS: &str = "settings";
const PLUGIN: &str = "plugin";
const DESCRIPTOR: &str = "descriptor";

/// Of each corpus, in a run that is not to last.
const MUTATIONS: u64 = 300;

/// Fed by tests of the same name in `plugins/gopher`, `plugins/line-chat` and `plugins/echo`.
const OF_PLUGINS: [&str; 10] = [
    "chat_bus",
    "chat_carried",
    "chat_json",
    "chat_session",
    "echo_carried",
    "echo_session",
    "gopher_http",
    "gopher_map",
    "gopher_plus",
    "gopher_selector",
];

#[test]
fn every_target_keeps_its_promise_on_the_kept_corpus_and_mutations_of_it() {
    for (name, target) in targets::ALL {
        feed(name, target);
    }
    let folder = Folder::new("corpus");
    let asks = folder.admit("asks").unwrap_or_else(|e| panic!("{e}"));
    feed(SETTINGS, |bytes| {
        written::settings(&asks, bytes) == Some(true)
    });
    let stored = |fixture| {
        let taken = folder.take(&folder.install(fixture));
        taken.unwrap_or_else(|e| panic!("{e}"))
    };
    let (plays, drawn) = (stored("plays"), stored("drawn"));
    feed(PLUGIN, |bytes| plugin::plugin(&plays, bytes));
    feed(DESCRIPTOR, |bytes| descriptor::descriptor(&drawn, bytes));
}

fn feed(name: &str, target: impl Fn(&[u8]) -> bool) {
    kept_corpus::feed(&root().join("corpus").join(name), MUTATIONS, target);
}

#[test]
fn corpus_targets_and_the_fuzzer_s_programs_are_the_same() {
    let mut names: BTreeSet<String> = targets::ALL.map(|(name, _)| name.to_owned()).into();
    names.extend([SETTINGS, PLUGIN, DESCRIPTOR].map(str::to_owned));
    names.extend(OF_PLUGINS.map(str::to_owned));
    for folder in ["corpus", "fuzz_targets"] {
        let stems = entries(&root().join(folder)).into_iter().map(|path| {
            path.file_stem()
                .expect("named")
                .to_string_lossy()
                .into_owned()
        });
        assert_eq!(stems.collect::<BTreeSet<_>>(), names, "{folder}");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    for name in names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}
