//! One layer against the schema: accepted values go into the layer, everything else is complained of.
//!
//! The same walk checks files, environment and command line; only positions differ. It never stops
//! at a fault: the key is left out, noted as refused, and the walk goes on.
//!
//! Invariant: a value in a layer has the kind that the schema gives its key, or stands in a free
//! table and can be written as JSON.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ::config::{ConfigError, Map, Source, Value as Accepted};
use toml_edit::{Item, TableLike, Value};

use super::complaint::{COMPLAINTS_MAX, Complaint, Fault, Place, Places, shown};
use super::document::{Lines, header_span};
use super::kind::{expected, nearest, read, text};
use super::schema::{KEYS, Key, Kind, Node, children, is_service_name, node};

/// The accepted values of one file, variable or argument, in a form that `config` can lay over
/// others. Its own file sources would parse the text again and know nothing of what was refused.
#[derive(Clone, Debug)]
pub(super) struct Layer(pub Map<String, Accepted>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Accepted>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// What the walks over all layers find out besides values.
#[derive(Default)]
pub(super) struct Notes {
    pub complaints: Vec<Complaint>,
    pub places: Places,
    pub refused: BTreeSet<String>,
    pub services: BTreeSet<String>,
}

impl Notes {
    pub(super) fn complain(&mut self, complaint: Complaint) {
        self.refused.extend(complaint.key.clone());
        if !self.is_full() {
            self.complaints.push(complaint);
        }
    }

    /// One more is kept than is shown, so that the cut can be noticed.
    fn is_full(&self) -> bool {
        self.complaints.len() > COMPLAINTS_MAX
    }
}

pub(super) struct Walk<'a> {
    pub origin: Arc<str>,
    /// Without lines, places are the origin alone.
    pub lines: Option<Lines>,
    /// What relative paths are taken from; without it they are refused.
    pub base: Option<&'a Path>,
    pub notes: &'a mut Notes,
    /// In the second definition of a service nothing is accepted, only checked.
    pub accepting: bool,
}

impl Walk<'_> {
    pub(super) fn layer(mut self, root: &dyn TableLike) -> Layer {
        Layer(self.table("", "", root))
    }

    /// `path` as written, `pattern` as the schema has it.
    fn table(&mut self, path: &str, pattern: &str, table: &dyn TableLike) -> Map<String, Accepted> {
        let mut accepted = Map::new();
        for (name, item) in table.iter() {
            let key = joined(path, name);
            let place = self.place_of(table, name, item);
            let below = match pattern {
                "services" => "services.*".to_owned(),
                _ => joined(pattern, name),
            };
            let value = match node(&below) {
                Node::Unknown => {
                    let fault = match self.notes.is_full() {
                        true => Fault::new("unknown key"),
                        false => unknown(path, pattern, name),
                    };
                    self.complain(&place, &key, fault);
                    None
                }
                Node::Table => self.section(&key, &below, &place, name, item),
                Node::Key(known) => self.value(&key, known, &place, item),
            };
            accepted.extend(value.map(|value| (name.to_owned(), value)));
        }
        accepted
    }

    fn section(
        &mut self,
        key: &str,
        pattern: &str,
        place: &Place,
        name: &str,
        item: &Item,
    ) -> Option<Accepted> {
        let Some(table) = item.as_table_like() else {
            let fault = expected(&format!("a table, written [{key}]"), item);
            self.complain(place, key, fault);
            return None;
        };
        let was_accepting = self.accepting;
        if pattern == "services.*" {
            self.accepting = self.service(key, place, name);
        }
        let accepted = self.table(key, pattern, table);
        let accepting = std::mem::replace(&mut self.accepting, was_accepting);
        accepting.then(|| accepted.into())
    }

    /// Whether this is a service of its own, rather than the second one of a name or none at all.
    fn service(&mut self, key: &str, place: &Place, name: &str) -> bool {
        if !is_service_name(name) {
            let fault = Fault::new("not a name for a service").hint(
                "use lower case letters, digits, - and _, a letter or digit first, at most 32",
            );
            self.complain(place, key, fault);
            return false;
        }
        match self.notes.places.get(key) {
            // The command line may add to what a file says; another file may not.
            Some(first) if self.lines.is_some() => {
                let fault = Fault::new(format!("service \"{name}\" is already defined in {first}"))
                    .hint("rename one of them");
                self.complain(place, key, fault);
                false
            }
            Some(_) => true,
            None => {
                self.notes.places.insert(key.to_owned(), place.clone());
                self.notes.services.insert(name.to_owned());
                true
            }
        }
    }

    fn value(&mut self, key: &str, known: &Key, place: &Place, item: &Item) -> Option<Accepted> {
        // What another layer adds to a free table does not move the table.
        if known.kind != Kind::FreeTable || !self.notes.places.contains_key(key) {
            self.note_place(key, place);
        }
        match known.kind {
            Kind::TextList { max } => self.list(key, max, place, item),
            Kind::FreeTable => match item.as_table_like() {
                Some(table) => Some(self.free_table(key, table).into()),
                None => {
                    let fault = expected(&format!("a table, written [{key}]"), item);
                    self.complain(place, key, fault);
                    None
                }
            },
            kind => read(kind, item, self.base)
                .map_err(|fault| self.complain(place, key, fault))
                .ok(),
        }
    }

    fn list(&mut self, key: &str, max: usize, place: &Place, item: &Item) -> Option<Accepted> {
        let Some(array) = item.as_array() else {
            let fault = expected("a list of texts", item);
            let fault = match item.as_str() {
                Some(written) => fault.hint(format!("write [\"{}\"]", shown(written))),
                None => fault,
            };
            self.complain(place, key, fault);
            return None;
        };
        if array.is_empty() || array.len() > max {
            let expected = format!("expected a list of 1 to {max} texts");
            let fault = Fault::new(match array.len() {
                0 => format!("{expected}, found an empty list"),
                count => format!("{expected}, found one of {count}"),
            });
            self.complain(place, key, fault);
            return None;
        }
        if self.lines.is_none() {
            // It replaces a file's list, which may have been longer.
            let entries = format!("{key}[");
            let places = &mut self.notes.places;
            places.retain(|key, _| !key.starts_with(&entries));
        }
        let mut accepted: Vec<Accepted> = Vec::new();
        for element in array {
            let place = self.place(element.span().map(|span| span.start));
            match text(&Item::Value(element.clone()), "text in quotes") {
                Ok(text) => {
                    let index = accepted.len();
                    self.note_place(&format!("{key}[{index}]"), &place);
                    accepted.push(text.into());
                }
                Err(fault) => self.complain(&place, key, fault),
            }
        }
        Some(accepted.into())
    }

    fn free_table(&mut self, key: &str, table: &dyn TableLike) -> Map<String, Accepted> {
        let mut accepted = Map::new();
        for (name, item) in table.iter() {
            let key = joined(key, name);
            let place = self.place_of(table, name, item);
            self.note_place(&key, &place);
            let value = self.free(&key, &place, item);
            accepted.extend(value.map(|value| (name.to_owned(), value)));
        }
        accepted
    }

    fn free(&mut self, key: &str, place: &Place, item: &Item) -> Option<Accepted> {
        if let Some(table) = item.as_table_like() {
            return Some(self.free_table(key, table).into());
        }
        if let Item::ArrayOfTables(array) = item {
            let tables = array.iter().map(|table| self.free_table(key, table).into());
            return Some(tables.collect::<Vec<Accepted>>().into());
        }
        match item.as_value()? {
            Value::String(text) => Some(text.value().as_str().into()),
            Value::Integer(number) => Some((*number.value()).into()),
            Value::Boolean(word) => Some((*word.value()).into()),
            Value::Float(number) if number.value().is_finite() => Some((*number.value()).into()),
            Value::Array(array) => {
                let elements = array
                    .iter()
                    .filter_map(|element| self.free(key, place, &Item::Value(element.clone())));
                Some(elements.collect::<Vec<Accepted>>().into())
            }
            Value::Float(_) | Value::Datetime(_) | Value::InlineTable(_) => {
                let fault = expected(
                    "text, a finite number, true, false, a list or a table",
                    item,
                )
                .hint("write it as text, in quotes");
                self.complain(place, key, fault);
                None
            }
        }
    }

    fn place_of(&self, table: &dyn TableLike, name: &str, item: &Item) -> Place {
        let header = header_span(item);
        let span = header.or_else(|| table.key(name).and_then(toml_edit::Key::span));
        self.place(span.map(|span| span.start))
    }

    fn place(&self, at: Option<usize>) -> Place {
        Place {
            file: self.origin.clone(),
            line: self
                .lines
                .as_ref()
                .zip(at)
                .map(|(lines, at)| lines.line(at)),
        }
    }

    fn note_place(&mut self, key: &str, place: &Place) {
        if self.accepting {
            self.notes.places.insert(key.to_owned(), place.clone());
        }
    }

    fn complain(&mut self, place: &Place, key: &str, fault: Fault) {
        self.notes.complain(Complaint::at(place, key, fault));
    }
}

/// A dotted path one name longer; a name that could be mistaken in it is quoted.
fn joined(path: &str, name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"-_*".contains(&b);
    let name = match !name.is_empty() && name.bytes().all(bare) && name.len() <= 256 {
        true => name.to_owned(),
        false => format!("\"{}\"", shown(name)),
    };
    match path {
        "" => name,
        _ => format!("{path}.{name}"),
    }
}

/// An unknown key, with the likeliest thing that was meant.
fn unknown(path: &str, pattern: &str, name: &str) -> Fault {
    let fault = Fault::new("unknown key");
    if let Some(known) = nearest(name, children(pattern)) {
        return fault.hint(format!("did you mean \"{known}\"?"));
    }
    let elsewhere = KEYS.iter().find_map(|key| {
        let (section, last) = key.path.rsplit_once('.')?;
        (last == name).then_some(section)
    });
    if let Some(section) = elsewhere {
        let service = match path.split('.').collect::<Vec<_>>()[..] {
            ["services", service, ..] => service,
            _ => "NAME",
        };
        let section = section.replace('*', service);
        // Words such as "mode" are the plugin's as often as the daemon's.
        return fault.hint(match pattern {
            "services.*" => {
                format!(
                    "it belongs in [{section}], or, if it is the plugin's, in [{path}.settings]"
                )
            }
            _ => format!("it belongs in [{section}]"),
        });
    }
    if pattern == "services.*" {
        return fault.hint(format!("options of the plugin go in [{path}.settings]"));
    }
    let mut known = children(pattern).collect::<Vec<_>>();
    known.dedup();
    fault.hint(format!("known here: {}", known.join(", ")))
}
