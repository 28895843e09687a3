//! `config`: what the daemon goes by, how that differs from its files, and which keys there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

use super::asking::{Asking, understood};
use super::{Output, lines, say_json};
use crate::config::schema::{KEYS, Kind, Preset};
use crate::control::client::Failure;
use crate::control::{Request, RunningConfig};
use crate::exit;
use crate::plan::{self, duration, size};
use crate::terminal::say;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Print every key that the running daemon goes by, defaults included
    Show {
        #[command(flatten)]
        asking: Asking,
    },
    /// Print the keys that a reload would change, from what is in force to what the files say
    ///
    /// The files are those that the daemon was started with. Exit 5 if they would be rejected.
    Diff {
        #[command(flatten)]
        asking: Asking,
    },
    /// Print every key that there is, what it takes and its default
    Schema {
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(verb: Verb) -> u8 {
    match verb {
        Verb::Show { asking } => match running(&asking) {
            Ok(config) if asking.output.json => say_json(exit::DONE, &config.keys),
            Ok(config) => say(exit::DONE, &page(&config.keys)),
            Err(failure) => asking.fail(&failure),
        },
        Verb::Diff { asking } => match running(&asking).and_then(|config| diff(&config)) {
            Ok(changes) if asking.output.json => say_json(exit::DONE, &changes),
            Ok(changes) => say(exit::DONE, &changes_page(&changes)),
            Err(failure) => asking.fail(&failure),
        },
        Verb::Schema { output } => {
            let rows: Vec<Row> = KEYS.iter().map(Row::of).collect();
            match output.json {
                true => say_json(exit::DONE, &rows),
                false => say(exit::DONE, &schema_page(&rows)),
            }
        }
    }
}

fn running(asking: &Asking) -> Result<RunningConfig, Failure> {
    understood(&asking.look(&Request::ShowConfig)?)
}

/// `None` is a key that is not set.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    key: String,
    running: Option<Value>,
    files: Option<Value>,
}

fn diff(running: &RunningConfig) -> Result<Vec<Change>, Failure> {
    let files = plan::run_check(&running.sources).map_err(|complaints| Failure {
        exit: exit::REJECTED,
        text: lines(&complaints),
    })?;
    Ok(changes(&running.keys, &plan::keys_of(&files)))
}

fn changes(running: &BTreeMap<String, Value>, files: &BTreeMap<String, Value>) -> Vec<Change> {
    let keys: BTreeSet<&String> = running.keys().chain(files.keys()).collect();
    let change = |key: &String| Change {
        key: key.clone(),
        running: running.get(key).cloned(),
        files: files.get(key).cloned(),
    };
    let differs = |change: &Change| change.running != change.files;
    keys.into_iter().map(change).filter(differs).collect()
}

/// Dotted keys are TOML.
fn page(keys: &BTreeMap<String, Value>) -> String {
    let lines = keys.iter().map(|(key, value)| format!("{key} = {value}\n"));
    lines.collect()
}

fn changes_page(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "the files say what is in force\n".to_owned();
    }
    let mut page = String::new();
    for Change {
        key,
        running,
        files,
    } in changes
    {
        for (mark, value) in [('-', running), ('+', files)] {
            if let Some(value) = value {
                let _ = writeln!(page, "{mark} {key} = {value}");
            }
        }
    }
    page
}

#[derive(Debug, Serialize)]
struct Row {
    key: &'static str,
    takes: String,
    required: bool,
    /// As it would be written in a file.
    default: Option<&'static str>,
    help: &'static str,
}

impl Row {
    fn of(key: &crate::config::schema::Key) -> Row {
        Row {
            key: key.path,
            takes: takes(key.kind),
            required: key.default == Preset::Required,
            default: match key.default {
                Preset::Is(written) => Some(written),
                Preset::Required | Preset::Unset => None,
            },
            help: key.help,
        }
    }
}

/// What may be written, in words.
pub(super) fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text => "a text".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Count { min, max } => format!("a number, {min} to {max}"),
        Kind::AutoOrCount { min, max } => format!("\"auto\" or a number, {min} to {max}"),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Duration { min_ms, max_ms } => {
            format!("a duration, {} to {}", duration(min_ms), duration(max_ms))
        }
        Kind::Microseconds { max_us } => format!("a duration, 0 to {max_us}us"),
        Kind::Size { min, max } => format!("a size, {} to {}", size(min), size(max)),
        Kind::Choice { words, .. } => format!("one of {}", words.join(", ")),
        Kind::TextList { max } => format!("a list of at most {max} texts"),
        Kind::Line { max } => format!("a text of at most {max} bytes"),
        Kind::FreeTable => "a table".to_owned(),
    }
}

fn schema_page(rows: &[Row]) -> String {
    let mut page = String::new();
    for row in rows {
        let default = match row.default {
            Some(written) => format!("default {written}"),
            None if row.required => "required".to_owned(),
            None => "unset".to_owned(),
        };
        let Row {
            key, takes, help, ..
        } = row;
        let _ = writeln!(page, "{key}\n    {takes}; {default}\n    {help}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_by_keys() {
        let keys = |pairs: &[(&str, Value)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        let running = keys(&[("a", json!(1)), ("b", json!("x")), ("d", json!([1]))]);
        let files = keys(&[("a", json!(1)), ("b", json!("y")), ("c", json!(true))]);
        let found = changes_page(&changes(&running, &files));
        assert_eq!(found, "- b = \"x\"\n+ b = \"y\"\n+ c = true\n- d = [1]\n");
        assert!(changes(&running, &running).is_empty());
    }
}
