//! What the documents say of the code, held against the code.
//!
//! Documents are read as text: tables, code in backticks, fenced blocks, links. Whether a sentence
//! is true is a reader's work; here are only the things in it that can be looked up, so that a
//! renamed file, a new verb or a new limit cannot leave them behind.
//!
//! Invariant: each check has found something to check, or it fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyport::config::schema::{KEYS, Preset};

#[test]
fn the_readme_quotes_the_smallest_plugins_byte_for_byte() {
    let readme = read("README.md");
    for (language, file) in [("rust", "smallest.rs"), ("c", "smallest.c")] {
        let text = read(&format!("plugin-api/examples/{file}"));
        let quoted = format!("\n```{language}\n{text}```\n");
        assert!(readme.contains(&quoted), "README.md does not quote {file}");
    }
}

#[test]
fn the_tutorial_and_the_page_of_extensions_quote_the_code_that_their_tests_run() {
    let finger = [
        ("rust", "finger.rs"),
        ("rust", "../tests/talks/finger.rs"),
        ("rust", "finger_blocking.rs"),
        ("c", "finger.c"),
    ];
    let each_extension = [
        "greeting.c",
        "blocking.c",
        "proving.c",
        "sending.c",
        "carrying.c",
        "shouting.c",
        "counting.c",
    ]
    .map(|file| ("c", file));
    for (document, quotes) in [
        ("docs/writing-plugins.md", &finger[..]),
        ("docs/extensions.md", &each_extension[..]),
    ] {
        let text = read(document);
        for (language, file) in quotes {
            let code = read(&format!("plugin-api/examples/{file}"));
            let quoted = format!("\n```{language}\n{code}```\n");
            assert!(text.contains(&quoted), "{document} does not quote {file}");
        }
        let fences = text.matches("\n```\n").count();
        assert_eq!(fences, quotes.len(), "{document}: code that nobody runs");
    }
}

#[test]
fn the_readme_names_the_verbs_that_there_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_polyport"))
        .arg("--help")
        .output()
        .expect("the binary runs");
    let help = String::from_utf8(output.stdout).expect("help is UTF-8");
    let commands = help.split("Commands:\n").nth(1).expect("a list of verbs");
    let there_are: BTreeSet<String> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect();
    let named: BTreeSet<String> = section("README.md", "Verbs")
        .lines()
        .filter_map(|line| code_words(cells(line).first()?).into_iter().next())
        .collect();
    assert_eq!(named, there_are);
}

#[test]
fn the_readme_explains_the_exit_codes_as_the_source_does() {
    let in_source = polyport::exit::MEANINGS.iter();
    let in_source: Vec<(String, String)> = in_source
        .map(|(code, meaning)| (code.to_string(), (*meaning).to_owned()))
        .collect();
    let in_readme: Vec<(String, String)> = section("README.md", "Exit codes")
        .lines()
        .map(cells)
        .filter(|cells| cells.len() == 2 && cells[0].parse::<u8>().is_ok())
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    assert!(!in_source.is_empty());
    assert_eq!(in_readme, in_source);
}

#[test]
fn every_word_of_the_glossary_is_used_where_it_is_at_home() {
    let mut words = BTreeSet::new();
    let mut strangers = Vec::new();
    for line in read("docs/glossary.md").lines() {
        let [word, _, home] = &cells(line)[..] else {
            continue;
        };
        let Some(home) = code_words(home).into_iter().next() else {
            continue;
        };
        let parts = parts_of(word);
        let text = parts_of(&read(&home));
        if !text.windows(parts.len()).any(|run| run == parts) {
            strangers.push(format!("{word} is not a word of {home}"));
        }
        assert!(words.insert(parts), "{word} is explained twice");
    }
    assert!(strangers.is_empty(), "{strangers:#?}");
    assert!(words.len() > 50, "the table was read: {words:?}");
}

#[test]
fn every_path_that_a_document_names_exists() {
    for document in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "README.md",
        "SECURITY.md",
        "docs/extensions.md",
        "docs/life-of-a-byte.md",
        "docs/limits.md",
        "docs/promises.md",
        "docs/writing-plugins.md",
    ] {
        let paths = paths_in(&read(document));
        assert!(!paths.is_empty(), "{document} names no file");
        for path in paths {
            assert!(root().join(&path).exists(), "{document} names {path}");
        }
    }
    for document in folder("docs/adr") {
        for path in paths_in(&read(&document)) {
            assert!(root().join(&path).exists(), "{document} names {path}");
        }
    }
}

#[test]
fn a_byte_and_a_datagram_pass_at_most_eight_files_and_the_functions_are_in_them() {
    let text = read("docs/life-of-a-byte.md");
    let (byte, datagram) = text.split_once("\n## A datagram\n").expect("two ways");
    for way in [byte, datagram] {
        let mut files = BTreeSet::new();
        let mut functions = 0;
        for paragraph in way.split("\n\n") {
            // Each stop names its file first and then the functions in it.
            let mut named: Option<String> = None;
            for word in code_words(paragraph) {
                if is_path(&word) {
                    files.extend(word.starts_with("daemon/").then(|| word.clone()));
                    named = Some(word);
                } else if let Some(function) = word.strip_suffix("()") {
                    let file = named.as_ref();
                    let file = file.unwrap_or_else(|| panic!("{function} stands before its file"));
                    let text = read(file);
                    let marks = [format!(" {function}("), format!("fn {function}<")];
                    let is_there = marks.iter().any(|mark| text.contains(mark));
                    assert!(is_there, "{function} is not in {file}");
                    functions += 1;
                }
            }
        }
        assert!(files.len() <= 8, "{files:?}");
        assert!(functions > 10, "only {functions} functions were looked up");
    }
}

#[test]
fn every_limit_of_the_source_is_in_the_table_of_limits() {
    let named: BTreeSet<(String, String)> = read("docs/limits.md")
        .split('`')
        .collect::<Vec<_>>()
        .windows(3)
        .filter(|window| window[1] == " in ")
        .map(|window| (window[2].to_owned(), window[0].to_owned()))
        .collect();
    let mut there_are = BTreeSet::new();
    for path in rust_files("daemon/src") {
        for name in constants(&path) {
            if name.ends_with("_MAX") || name.ends_with("_MS") {
                there_are.insert((path.clone(), name));
            }
        }
    }
    let missing: Vec<_> = there_are.difference(&named).collect();
    assert!(missing.is_empty(), "not in docs/limits.md: {missing:#?}");
    for (path, name) in &named {
        let text = read(path);
        let found =
            text.contains(&format!("const {name}: ")) || text.contains(&format!("fn {name}("));
        assert!(found, "docs/limits.md: {name} is not in {path}");
    }
    assert!(there_are.len() > 40, "the source was read: {there_are:?}");
}

#[test]
fn every_promise_has_a_test_that_is_there() {
    let text = read("docs/promises.md");
    let words: Vec<&str> = text.split('`').collect();
    let named = words.windows(3).filter(|window| window[1] == " in ");
    let mut tests = BTreeSet::new();
    for window in named {
        let (name, path) = (window[0], window[2]);
        let is_there = read(path).contains(&format!("fn {name}("));
        assert!(is_there, "docs/promises.md: {name} is not in {path}");
        tests.insert(name);
    }
    assert!(
        tests.len() > 40,
        "only {} tests were looked up",
        tests.len()
    );
}

#[test]
fn every_configured_limit_is_in_the_table_with_its_default() {
    let rows: Vec<Vec<String>> = section("docs/limits.md", "Configured")
        .lines()
        .map(cells)
        .filter(|cells| cells.len() == 5)
        .collect();
    for key in KEYS {
        let Some(name) = key.path.strip_prefix("services.*.") else {
            continue;
        };
        if !name.starts_with("limits.") {
            continue;
        }
        let Preset::Is(default) = key.default else {
            panic!("{name} has no default");
        };
        let row = rows.iter().find(|row| row[0] == format!("`{name}`"));
        let row = row.unwrap_or_else(|| panic!("docs/limits.md lacks {name}"));
        assert_eq!(row[1], format!("`{}`", default.trim_matches('"')), "{name}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = without_code(&read(&document));
        let here = Path::new(&document)
            .parent()
            .expect("a document has a folder");
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or(rest);
            let target = target.split('#').next().unwrap_or(target);
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let path = root().join(here).join(target);
            assert!(path.exists(), "{document} links to {target}");
        }
    }
    assert!(links > 10, "only {links} links were found");
}

#[test]
fn tables_code_and_words_are_read_as_they_are_meant() {
    assert_eq!(cells("| a | `b` c |"), ["a", "`b` c"]);
    assert!(cells("no table").is_empty());
    assert_eq!(code_words("`a` or `b c`, not d"), ["a", "b c"]);
    assert_eq!(
        parts_of("StoredPlugin back_off x-ray"),
        ["stored", "plugin", "back", "off", "x", "ray"]
    );
    assert_eq!(parts_of("pages, IO"), ["page", "io"]);
    assert!(is_path("daemon/src/exit.rs") && is_path("docs/adr"));
    assert!(!is_path("state_dir/plugins") && !is_path("/etc/polyport") && !is_path("exit.rs"));
    assert_eq!(without_code("a\n```c\n](x)\n```\nb\n    ](y)\n"), "a\nb\n");
}

// --- documents as text -------------------------------------------------------------------------

/// What stands below a heading, up to the next one of the same depth.
fn section(document: &str, heading: &str) -> String {
    let text = read(document);
    let start = format!("\n## {heading}\n");
    let after = text.split(&start).nth(1);
    let after = after.unwrap_or_else(|| panic!("{document} has no section {heading}"));
    after.split("\n## ").next().unwrap_or(after).to_owned()
}

/// The cells of a table's row; none if it is no row.
fn cells(line: &str) -> Vec<String> {
    let Some(row) = line
        .strip_prefix("| ")
        .and_then(|row| row.strip_suffix(" |"))
    else {
        return Vec::new();
    };
    row.split(" | ")
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// What stands in backticks.
fn code_words(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Lower-case parts of words and names, without the `s` of a plural.
fn parts_of(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for character in text.chars() {
        if before.is_lowercase() && character.is_uppercase() {
            spaced.push(' ');
        }
        spaced.push(if character.is_alphanumeric() {
            character
        } else {
            ' '
        });
        before = character;
    }
    let words = spaced.split_whitespace().map(str::to_lowercase);
    words
        .map(|word| word.strip_suffix('s').unwrap_or(&word).to_owned())
        .collect()
}

fn paths_in(text: &str) -> Vec<String> {
    let words = code_words(&without_code(text)).into_iter();
    words.filter(|word| is_path(word)).collect()
}

/// A path in this repository, and not one on an administrator's machine.
fn is_path(word: &str) -> bool {
    let first = word.split('/').next().unwrap_or(word);
    let ours = ["daemon", "docs", "etc", "plugin-api", "plugins", "scripts"];
    let plain = |c: char| c.is_alphanumeric() || "/-_.".contains(c);
    ours.contains(&first) && word.contains('/') && word.chars().all(plain) && !word.contains("NAME")
}

/// Without fenced and indented blocks.
fn without_code(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

// --- the tree ----------------------------------------------------------------------------------

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package lies in the workspace")
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder, from the root, without build output, `run` and what is hidden.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in folder_names(folder) {
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        if root().join(&path).is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn folder_names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("our file names are UTF-8"))
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !(folder.is_empty() && ["target", "run"].contains(&name.as_str())))
        .collect();
    names.sort();
    names
}

fn folder(path: &str) -> Vec<String> {
    folder_names(path)
        .iter()
        .map(|name| format!("{path}/{name}"))
        .collect()
}

fn documents() -> Vec<String> {
    files("")
        .into_iter()
        .filter(|path| path.ends_with(".md"))
        .collect()
}

/// Sources without the files and folders that hold tests only.
fn rust_files(folder: &str) -> Vec<String> {
    let of_tests = ["/tests", "/cases", "/simulation"];
    let is_source = |path: &String| {
        let inside = of_tests
            .iter()
            .any(|name| path.contains(&format!("{name}.rs")) || path.contains(&format!("{name}/")));
        path.ends_with(".rs") && !inside
    };
    files(folder).into_iter().filter(is_source).collect()
}

/// Names of the constants of a file, those of its tests left out.
fn constants(path: &str) -> Vec<String> {
    let text = read(path);
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
    let declared = code.lines().filter_map(|line| line.split_once("const "));
    let names = declared.filter_map(|(_, rest)| rest.split(": ").next());
    names.map(str::to_owned).collect()
}
