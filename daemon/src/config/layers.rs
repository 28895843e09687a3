//! All layers into one [`Config`]: defaults, files, environment, command line.
//!
//! Each layer is walked first, so what `config` lays over each other and serde types here has the
//! right kinds already; an error from there would be a fault of the schema, and is still only a
//! complaint.
//!
//! Invariant: the same sources and surroundings give the same `Config`, complaints included.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ::config::builder::DefaultState;
use ::config::{ConfigBuilder, ConfigError};
use toml_edit::{Item, Table, Value};

use super::complaint::{COMPLAINTS_MAX, Complaint, Fault, shown};
use super::document::{Lines, overlong_key, parse};
use super::kind::read as read_kind;
use super::schema::{KEYS, Kind, Node, Preset, node};
use super::sources::{Sources, Surroundings, Text, gather};
use super::variables::{Variable, judge};
use super::walk::{Layer, Notes, Walk};
use super::written::Config;

const COMMAND_LINE: &str = "command line";
const SERVICES_MAX: usize = 1000;

/// Everything that was written, and every complaint about it.
pub fn read(sources: &Sources, surroundings: &Surroundings) -> Config {
    let gathered = gather(sources);
    let mut notes = Notes::default();
    let mut layers = Vec::new();
    // Files that could not be read come first in the order of complaints.
    let mut files: Vec<(Arc<str>, bool)> = Vec::new();
    for complaint in gathered.complaints {
        files.push((complaint.file.as_str().into(), true));
        notes.complain(complaint);
    }
    for text in gathered.texts {
        let (layer, broken) = file_layer(&text, &mut notes);
        layers.push(layer);
        files.push((text.name, broken));
    }
    layers.extend(environment_layers(surroundings, &mut notes));
    let base = surroundings.current_dir.as_path();
    for written in &sources.overrides {
        layers.extend(override_layer(written, base, &mut notes));
    }
    if notes.services.len() > SERVICES_MAX {
        let found = notes.services.len();
        let problem = format!("{found} services, at most {SERVICES_MAX} are possible");
        let file = files.last().map_or(COMMAND_LINE, |(name, _)| name);
        notes.complain(Complaint::of_file(file, None, Fault::new(problem)));
    }
    typed(layers, notes, files)
}

fn typed(layers: Vec<Layer>, mut notes: Notes, files: Vec<(Arc<str>, bool)>) -> Config {
    let mut config = match laid(layers, &notes.services) {
        Ok(config) => config,
        Err(error) => {
            let file = files.first().map_or(COMMAND_LINE, |(name, _)| name);
            let problem = format!("cannot be understood: {}", shown(&error.to_string()));
            notes.complain(Complaint::of_file(file, None, Fault::new(problem)));
            laid(Vec::new(), &BTreeSet::new()).expect("the defaults are a configuration")
        }
    };
    config.places = notes.places;
    config.complaints = notes.complaints;
    config.refused = notes.refused;
    config.files = files;
    config
}

fn laid(layers: Vec<Layer>, services: &BTreeSet<String>) -> Result<Config, ConfigError> {
    let mut builder = ::config::Config::builder();
    for key in KEYS {
        let Preset::Is(written) = key.default else {
            continue;
        };
        if key.path.contains('*') {
            for service in services {
                builder =
                    with_default(builder, &key.path.replace('*', service), key.kind, written)?;
            }
        } else {
            builder = with_default(builder, key.path, key.kind, written)?;
        }
    }
    for layer in layers {
        builder = builder.add_source(layer);
    }
    builder.build()?.try_deserialize()
}

fn with_default(
    builder: ConfigBuilder<DefaultState>,
    path: &str,
    kind: Kind,
    written: &str,
) -> Result<ConfigBuilder<DefaultState>, ConfigError> {
    let item = Item::Value(written.parse().expect("the schema's defaults are TOML"));
    let value = read_kind(kind, &item, None).expect("each default is of its own kind");
    builder.set_default(path, value)
}

/// A file's layer, and whether parts of the file are missing in it.
fn file_layer(text: &Text, notes: &mut Notes) -> (Layer, bool) {
    let parsed = parse(&text.text);
    let broken = !parsed.faults.is_empty();
    for (line, fault) in parsed.faults {
        notes.complain(Complaint::of_file(&text.name, Some(line), fault));
    }
    let walk = Walk {
        origin: text.name.clone(),
        lines: Some(Lines::of(&text.text)),
        base: None,
        notes,
        accepting: true,
    };
    (walk.layer(parsed.document.as_table()), broken)
}

fn environment_layers(surroundings: &Surroundings, notes: &mut Notes) -> Vec<Layer> {
    let mut variables = surroundings.environment.iter().collect::<Vec<_>>();
    variables.sort();
    let mut layers = Vec::new();
    for (name, value) in variables {
        // What is no text in its own name cannot be ours.
        let Some(name) = name.to_str() else {
            continue;
        };
        let origin = format!("environment {}", shown(name));
        let key = match judge(name) {
            Variable::SomebodyElses => continue,
            Variable::Mistyped(fault) => {
                notes.complain(Complaint::of_file(&origin, None, fault));
                continue;
            }
            Variable::Key(key) => key,
        };
        let Some(value) = value.to_str() else {
            let fault = Fault::new("not valid UTF-8");
            notes.complain(Complaint::of_file(&origin, None, fault));
            continue;
        };
        let mut path = vec!["daemon"];
        path.extend(key.iter().map(String::as_str));
        let base = surroundings.current_dir.as_path();
        layers.extend(outer_layer(&origin, &path, value, base, notes));
    }
    layers
}

/// "services.echo.settings.mode=line"
fn override_layer(written: &str, base: &Path, notes: &mut Notes) -> Option<Layer> {
    let mut refuse = |fault: Fault| {
        notes.complain(Complaint::of_file(COMMAND_LINE, None, fault));
        None
    };
    let Some((key, value)) = written.split_once('=') else {
        let problem = format!("expected KEY=VALUE, found \"{}\"", shown(written));
        return refuse(Fault::new(problem).hint("for example daemon.log.level=debug"));
    };
    let path = key.trim().split('.').collect::<Vec<_>>();
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if path
        .iter()
        .any(|part| part.is_empty() || !part.bytes().all(bare))
    {
        let problem = format!("expected a dotted key before =, found \"{}\"", shown(key));
        return refuse(Fault::new(problem).hint("for example daemon.log.level=debug"));
    }
    outer_layer(COMMAND_LINE, &path, value.trim(), base, notes)
}

/// One key from outside the files: the same walk, without lines.
fn outer_layer(
    origin: &str,
    path: &[&str],
    written: &str,
    base: &Path,
    notes: &mut Notes,
) -> Option<Layer> {
    // Both nest, and nesting is recursion.
    if path.len() > 16 || overlong_key(written).is_some() {
        let fault = Fault::new("a dotted key of too many parts");
        notes.complain(Complaint::of_file(origin, None, fault));
        return None;
    }
    let mut pattern = path.to_vec();
    if let ["services", name, ..] = &mut pattern[..] {
        *name = "*";
    }
    let mut item = Item::Value(outer_value(&pattern.join("."), written));
    for name in path.iter().rev() {
        let mut table = Table::new();
        table.insert(name, item);
        item = Item::Table(table);
    }
    let walk = Walk {
        origin: origin.into(),
        lines: None,
        base: Some(base),
        notes,
        accepting: true,
    };
    item.as_table().map(|root| walk.layer(root))
}

/// Text needs no quotes here: shells take them away. Where a number may stand, one is recognised.
fn outer_value(pattern: &str, written: &str) -> Value {
    let parsed = written.parse::<Value>().ok();
    match node(pattern) {
        Node::Key(key) => match key.kind {
            Kind::Text
            | Kind::Line { .. }
            | Kind::Path
            | Kind::Duration { .. }
            | Kind::Microseconds { .. }
            | Kind::Size { .. }
            | Kind::Choice { .. } => parsed
                .filter(Value::is_str)
                .unwrap_or_else(|| written.into()),
            Kind::TextList { .. } => {
                let one = || Value::Array([written].into_iter().collect());
                parsed.filter(Value::is_array).unwrap_or_else(one)
            }
            Kind::Count { .. } | Kind::AutoOrCount { .. } | Kind::Boolean | Kind::FreeTable => {
                parsed.unwrap_or_else(|| written.into())
            }
        },
        Node::Table | Node::Unknown => parsed.unwrap_or_else(|| written.into()),
    }
}

/// Complaints as they are shown: in the order of the files and of their lines, and not endless.
pub(crate) fn in_order(
    mut complaints: Vec<Complaint>,
    files: &[(Arc<str>, bool)],
) -> Vec<Complaint> {
    let rank = |complaint: &Complaint| {
        let file = files.iter().position(|(name, _)| **name == *complaint.file);
        (file.unwrap_or(files.len()), complaint.line)
    };
    complaints.sort_by_cached_key(rank);
    if complaints.len() > COMPLAINTS_MAX {
        complaints.truncate(COMPLAINTS_MAX);
        let last = complaints[COMPLAINTS_MAX - 1].clone();
        let fault = Fault::new("more complaints are not shown").hint("mend these first");
        complaints.push(Complaint::of_file(&last.file, None, fault));
    }
    complaints
}
