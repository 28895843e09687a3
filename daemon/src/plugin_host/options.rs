//! A plugin's options: what it declares, what an administrator wrote, and the values in between.
//!
//! All complaints are collected, each with its place in the file, what was expected and an example,
//! so that one run of `check` shows all of them. Whether values make sense together is for the
//! plugin's own `check` to say.
//!
//! Invariant: a [`Chosen`] has exactly one value per declared option, in their order, each of the
//! declared kind and within its bounds.

use std::collections::BTreeMap;

use polyport_plugin::abi;
use serde_json::Value as Json;

use super::error::LoadError;
use crate::config::units::{parse_duration_ms, parse_size};
use crate::plan::{self, OptionFacts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Duration,
    Size,
    List,
}

impl Kind {
    fn from_word(kind: u32) -> Option<Kind> {
        Some(match kind {
            abi::KIND_TEXT => Kind::Text,
            abi::KIND_INTEGER => Kind::Integer,
            abi::KIND_BOOLEAN => Kind::Boolean,
            abi::KIND_DURATION => Kind::Duration,
            abi::KIND_SIZE => Kind::Size,
            abi::KIND_LIST => Kind::List,
            _ => return None,
        })
    }

    pub(super) fn word(self) -> u32 {
        match self {
            Kind::Text => abi::KIND_TEXT,
            Kind::Integer => abi::KIND_INTEGER,
            Kind::Boolean => abi::KIND_BOOLEAN,
            Kind::Duration => abi::KIND_DURATION,
            Kind::Size => abi::KIND_SIZE,
            Kind::List => abi::KIND_LIST,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
            Kind::Duration => "duration",
            Kind::Size => "size",
            Kind::List => "list",
        }
    }

    /// A number of this kind, as it would be written: "10s", "64KiB".
    fn written(self, number: i64) -> String {
        match (self, u64::try_from(number)) {
            (Kind::Duration, Ok(ms)) => plan::duration(ms),
            (Kind::Size, Ok(bytes)) => plan::size(bytes),
            _ => number.to_string(),
        }
    }

    /// What is expected, as an administrator would call it, and an example in TOML.
    fn expected(self) -> (&'static str, &'static str) {
        match self {
            Kind::Text => ("a text", "\"some text\""),
            Kind::Integer => ("a whole number", "10"),
            Kind::Boolean => ("true or false", "true"),
            Kind::Duration => ("a duration with its unit", "\"10s\""),
            Kind::Size => ("a size with its unit", "\"64KiB\""),
            Kind::List => ("a list of texts", "[\"one\", \"two\"]"),
        }
    }
}

/// One row of a plugin's table, checked.
#[derive(Clone, Debug)]
pub(super) struct DeclaredOption {
    pub(super) facts: OptionFacts,
    pub(super) kind: Kind,
    default: Option<Typed>,
}

impl DeclaredOption {
    pub(super) fn new(
        name: String,
        help: String,
        default: Option<String>,
        choices: Option<String>,
        (min, max): (i64, i64),
        kind: u32,
    ) -> Result<DeclaredOption, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
            return Err(format!(
                "its name {name:?} is not of the form [a-z][a-z0-9_]*"
            ));
        }
        let Some(kind) = Kind::from_word(kind) else {
            return Err(format!("`{name}` has the unknown kind {kind}"));
        };
        if choices.is_some() && kind != Kind::Text {
            return Err(format!("`{name}` is no text, so it cannot have choices"));
        }
        let bounds = (min, max) != (0, 0);
        if min > max {
            return Err(format!(
                "`{name}` has a minimum of {min} above its maximum of {max}"
            ));
        }
        if bounds && matches!(kind, Kind::Text | Kind::List | Kind::Boolean) {
            return Err(format!("`{name}` is no number, so it cannot have bounds"));
        }
        let facts = OptionFacts {
            name,
            kind: kind.name().to_owned(),
            help,
            default: default.clone(),
            choices: choices
                .iter()
                .flat_map(|all| all.split('|'))
                .map(str::to_owned)
                .collect(),
            min: bounds.then_some(min),
            max: bounds.then_some(max),
        };
        let mut option = DeclaredOption {
            facts,
            kind,
            default: None,
        };
        if let Some(text) = default {
            let typed = option
                .default_from(&text)
                .and_then(|typed| option.bounded(typed));
            let why = |why| {
                format!(
                    "`{}` has the default {text:?}, but {why}",
                    option.facts.name
                )
            };
            option.default = Some(typed.map_err(why)?);
        }
        Ok(option)
    }

    /// A default is written as text, whatever its kind.
    fn default_from(&self, text: &str) -> Result<Typed, String> {
        match self.kind {
            Kind::Text | Kind::Duration | Kind::Size => self.typed(&Json::from(text)),
            Kind::Integer => text.parse().map(Typed::Integer).map_err(|_| self.wanted()),
            Kind::Boolean => text.parse().map(Typed::Boolean).map_err(|_| self.wanted()),
            Kind::List if text.is_empty() => Ok(Typed::List(Vec::new())),
            Kind::List => Ok(Typed::List(
                text.split(',').map(|item| item.trim().to_owned()).collect(),
            )),
        }
    }

    fn typed(&self, written: &Json) -> Result<Typed, String> {
        let number = |parsed: Result<u64, String>| {
            let number = parsed.map_err(|why| format!("{why}; expected {}", self.wanted()))?;
            i64::try_from(number).map_err(|_| "it is too large".to_owned())
        };
        match (self.kind, written) {
            (Kind::Text, Json::String(text)) => Ok(Typed::Text(text.clone())),
            (Kind::Integer, Json::Number(number)) if number.is_i64() => {
                Ok(Typed::Integer(number.as_i64().unwrap_or_default()))
            }
            (Kind::Boolean, Json::Bool(on)) => Ok(Typed::Boolean(*on)),
            (Kind::Duration, Json::String(text)) => {
                number(parse_duration_ms(text)).map(Typed::Duration)
            }
            (Kind::Size, Json::String(text)) => number(parse_size(text)).map(Typed::Size),
            (Kind::List, Json::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts
                    .collect::<Option<_>>()
                    .map(Typed::List)
                    .ok_or_else(|| self.mismatch(written))
            }
            _ => Err(self.mismatch(written)),
        }
    }

    fn bounded(&self, value: Typed) -> Result<Typed, String> {
        if let (Some(min), Some(max), Some(number)) =
            (self.facts.min, self.facts.max, value.number())
            && !(min..=max).contains(&number)
        {
            let [number, min, max] = [number, min, max].map(|number| self.kind.written(number));
            return Err(format!("{number} is not between {min} and {max}"));
        }
        if let Typed::Text(text) = &value
            && !self.facts.choices.is_empty()
            && !self.facts.choices.contains(text)
        {
            let all = self.facts.choices.join(", ");
            return Err(format!(
                "{text:?} is none of: {all}{}",
                nearest(text, &self.facts.choices)
            ));
        }
        Ok(value)
    }

    fn mismatch(&self, written: &Json) -> String {
        let found = match written {
            Json::Null => "nothing",
            Json::Bool(_) => "true or false",
            Json::Number(_) => "a number",
            Json::String(_) => "a text",
            Json::Array(_) => "a list",
            Json::Object(_) => "a table",
        };
        format!("found {found}, expected {}", self.wanted())
    }

    /// "a duration with its unit, for example idle = \"10s\"".
    fn wanted(&self) -> String {
        let (expected, example) = self.kind.expected();
        let example = self
            .facts
            .choices
            .first()
            .map_or_else(|| example.to_owned(), |choice| format!("\"{choice}\""));
        format!("{expected}, for example {} = {example}", self.facts.name)
    }
}

/// A value of one of the kinds; durations in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Duration(i64),
    Size(i64),
    List(Vec<String>),
}

impl Typed {
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Typed::Integer(number) | Typed::Duration(number) | Typed::Size(number) => Some(*number),
            Typed::Boolean(on) => Some(i64::from(*on)),
            Typed::Text(_) | Typed::List(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ChosenValue {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) written: bool,
    pub(super) value: Typed,
}

/// A service's settings, typed and complete.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub(super) values: Vec<ChosenValue>,
    pub(super) raw_json: String,
}

impl Chosen {
    pub(super) fn value(&self, name: &str) -> Option<&Typed> {
        self.values
            .iter()
            .find(|chosen| chosen.name == name)
            .map(|chosen| &chosen.value)
    }
}

/// `places` says where in the files each setting was written.
pub(super) fn choose(
    options: &[DeclaredOption],
    service: &str,
    settings: &BTreeMap<String, Json>,
    places: &BTreeMap<String, String>,
) -> Result<Chosen, LoadError> {
    let section = format!("services.{service}.settings");
    let mut complaints = Vec::new();
    let mut complain = |name: &str, why: String| {
        let key = format!("{section}.{name}");
        // What is missing has no place of its own: its section's has to do.
        let around = [&key, &section, &format!("services.{service}")];
        let place = around.into_iter().find_map(|key| places.get(key));
        let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
        complaints.push(format!("{place}{key}: {why}"));
    };

    let names: Vec<String> = options
        .iter()
        .map(|option| option.facts.name.clone())
        .collect();
    for name in settings.keys().filter(|name| !names.contains(name)) {
        let known = if names.is_empty() {
            "the plugin has no options".to_owned()
        } else {
            format!("the plugin has {}", names.join(", "))
        };
        complain(
            name,
            format!("unknown option{}; {known}", nearest(name, &names)),
        );
    }
    let mut values = Vec::with_capacity(options.len());
    for option in options {
        let name = &option.facts.name;
        let written = settings.get(name);
        let value = match (written, &option.default) {
            (Some(json), _) => option.typed(json).and_then(|typed| option.bounded(typed)),
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(format!("is missing; it takes {}", option.wanted())),
        };
        match value {
            Err(why) => complain(name, why),
            Ok(value) => values.push(ChosenValue {
                name: name.clone(),
                kind: option.kind,
                written: written.is_some(),
                value,
            }),
        }
    }
    if !complaints.is_empty() {
        return Err(LoadError::Settings(complaints));
    }
    let raw_json = serde_json::to_string(settings).expect("JSON values with text keys serialise");
    Ok(Chosen { values, raw_json })
}

fn nearest(word: &str, known: &[String]) -> String {
    let score = |candidate: &&String| strsim::jaro_winkler(word, candidate);
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    best.filter(|best| score(best) > 0.8)
        .map(|best| format!(", did you mean `{best}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
