//! The trial of a plugin's options: each value at the bounds of what their table allows, one after the
//! other, while the others stay as they were given.
//!
//! What an administrator may write by that table, the plugin has to bear, or to refuse in words before
//! it serves anybody. Invariant: the table is the plugin's own, and no value lies outside of it.

use polyport_plugin::testing::Refused;

use super::{Subject, finish};
use crate::plan::OptionFacts;

/// Items of a long list, and characters of a long text.
const LONG: usize = 300;

impl Subject {
    pub(super) fn options(&self, input: &[u8]) -> Result<(), String> {
        for option in &self.options {
            for text in at_the_bounds(option) {
                let found = self.option_is(&option.name, &text, input);
                found.map_err(|why| format!("with {} = {}: {why}", option.name, shown(&text)))?;
            }
        }
        Ok(())
    }

    fn option_is(&self, name: &str, text: &str, input: &[u8]) -> Result<(), String> {
        let setup = self.setup().set(name, text);
        if let Err(refused) = setup.try_check() {
            return in_words(&refused);
        }
        match setup.try_start() {
            Ok(host) => finish(host)?,
            Err(refused) => return in_words(&refused),
        }
        self.converse(setup, input).map(drop)
    }
}

fn in_words(refused: &Refused) -> Result<(), String> {
    if let Some(fault) = &refused.fault {
        return Err(format!(
            "the plugin reported a fault: {fault}\n  fix: declare `min` and `max`, or refuse the value in \
             `check` or `create`, with the reason"
        ));
    }
    match refused.is_wordless {
        true => Err(format!(
            "{}, but no reason\n  fix: write the reason into `error`",
            refused.why
        )),
        false => Ok(()),
    }
}

/// As an administrator would write them.
fn at_the_bounds(option: &OptionFacts) -> Vec<String> {
    let numbers = |unit: &str| {
        let numbers = match (option.min, option.max) {
            (Some(min), Some(max)) => vec![min, max],
            _ => vec![0, 1, i64::MAX],
        };
        numbers.iter().map(|it| format!("{it}{unit}")).collect()
    };
    match option.kind.as_str() {
        "integer" => numbers(""),
        "duration" => numbers("ms"),
        "size" => numbers("B"),
        "boolean" => vec!["false".to_owned(), "true".to_owned()],
        "list" => {
            let items: Vec<String> = (0..LONG).map(|n| format!("item-{n}")).collect();
            vec![String::new(), "one".to_owned(), items.join(",")]
        }
        _ if !option.choices.is_empty() => option.choices.clone(),
        _ => vec![String::new(), "\u{e9}".to_owned(), "x".repeat(LONG)],
    }
}

fn shown(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 40;
    let short: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let dots = if short == text { "" } else { " ..." };
    format!("\"{short}\"{dots}")
}
