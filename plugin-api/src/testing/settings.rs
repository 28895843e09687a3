//! From texts to values, as the daemon does it before a plugin sees its settings. Small and strict;
//! the daemon's own messages are better.

use std::time::Duration;

use crate::abi;

/// A row of the plugin's options, read from its table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) default: Option<String>,
    pub(crate) choices: Vec<String>,
    pub(crate) bounds: Option<(i64, i64)>,
    pub(crate) kind: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    List(Vec<String>),
}

#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) kind: u32,
    pub(crate) written: bool,
    pub(crate) value: Value,
}

/// One value for each row, in their order.
pub(crate) fn values(rows: &[Row], written: &[(String, String)]) -> Result<Vec<Given>, String> {
    for (name, _) in written {
        if !rows.iter().any(|row| row.name == *name) {
            return Err(format!("the plugin has no option \"{name}\""));
        }
    }
    rows.iter()
        .map(|row| {
            let text = written.iter().rev().find(|(name, _)| *name == row.name);
            let (written, text) = match (text, &row.default) {
                (Some((_, text)), _) => (true, text),
                (None, Some(text)) => (false, text),
                (None, None) => return Err(format!("the option \"{}\" is required", row.name)),
            };
            Ok(Given {
                kind: row.kind,
                written,
                value: value(row, text)?,
            })
        })
        .collect()
}

/// A default that does not parse is the plugin's mistake and is reported in the same way.
pub(crate) fn value(row: &Row, text: &str) -> Result<Value, String> {
    let number = match row.kind {
        abi::KIND_TEXT => {
            if !row.choices.is_empty() && !row.choices.iter().any(|word| word == text) {
                let choices = row.choices.join(", ");
                return Err(format!(
                    "option \"{}\": \"{text}\" is not one of {choices}",
                    row.name
                ));
            }
            return Ok(Value::Text(text.to_owned()));
        }
        abi::KIND_LIST => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            return Ok(Value::List(items.map(str::to_owned).collect()));
        }
        abi::KIND_INTEGER => text.parse().ok(),
        abi::KIND_BOOLEAN => match text {
            "true" => Some(1),
            "false" => Some(0),
            _ => None,
        },
        abi::KIND_DURATION => with_unit(
            text,
            &[
                ("ms", 1),
                ("s", 1_000),
                ("m", 60_000),
                ("h", 3_600_000),
                ("d", 86_400_000),
            ],
        ),
        abi::KIND_SIZE => with_unit(
            text,
            &[
                ("B", 1),
                ("KiB", 1 << 10),
                ("MiB", 1 << 20),
                ("GiB", 1 << 30),
            ],
        ),
        kind => {
            return Err(format!(
                "option \"{}\" is of the unknown kind {kind}",
                row.name
            ));
        }
    };
    let number = number.ok_or_else(|| {
        format!(
            "option \"{}\": \"{text}\" is not a value of kind {}",
            row.name, row.kind
        )
    })?;
    match row.bounds {
        Some((min, max)) if !(min..=max).contains(&number) => Err(format!(
            "option \"{}\": {text} is not between {min} and {max}",
            row.name
        )),
        _ => Ok(Value::Number(number)),
    }
}

/// A number and its unit; 0 needs none.
fn with_unit(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(*factor)
}

/// Milliseconds as the ABI has them.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a test does not wait for 500 million years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_values_of_their_kind() {
        let row = |kind, choices: &str, bounds| Row {
            name: "x".to_owned(),
            default: None,
            choices: choices
                .split('|')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect(),
            bounds,
            kind,
        };
        let number = |number| Some(Value::Number(number));
        for (kind, text, expected) in [
            (abi::KIND_INTEGER, "-7", number(-7)),
            (abi::KIND_INTEGER, "7s", None),
            (abi::KIND_BOOLEAN, "true", number(1)),
            (abi::KIND_BOOLEAN, "yes", None),
            (abi::KIND_DURATION, "250ms", number(250)),
            (abi::KIND_DURATION, "2m", number(120_000)),
            (abi::KIND_DURATION, "10", None),
            (abi::KIND_SIZE, "64KiB", number(65_536)),
            (abi::KIND_SIZE, "0", number(0)),
            (abi::KIND_SIZE, "9999999999GiB", None),
            (abi::KIND_TEXT, "a", Some(Value::Text("a".to_owned()))),
            (
                abi::KIND_LIST,
                "a, b",
                Some(Value::List(vec!["a".to_owned(), "b".to_owned()])),
            ),
            (99, "a", None),
        ] {
            assert_eq!(
                value(&row(kind, "", None), text).ok(),
                expected,
                "{kind} {text}"
            );
        }
        assert!(value(&row(abi::KIND_TEXT, "a|b", None), "c").is_err());
        assert!(value(&row(abi::KIND_INTEGER, "", Some((1, 5))), "6").is_err());
    }
}
