//! What `doctor sockopts` answers: the document for programs, and the page for a person.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOptions {
    pub listeners: Vec<ListenerOptions>,
    /// Listeners for which there was no room in one answer.
    pub left_out: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerOptions {
    pub service: String,
    /// Where it really listens.
    pub url: String,
    pub options: Vec<SocketOption>,
}

/// `null` means that it cannot be read, here or anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOption {
    /// As setsockopt(2) calls it.
    pub level: String,
    pub name: String,
    pub value: Value,
    /// What a fresh socket of the same kind has.
    pub default: Value,
}

impl fmt::Display for SocketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for listener in &self.listeners {
            let ListenerOptions {
                service,
                url,
                options,
            } = listener;
            writeln!(f, "{service}  {url}")?;
            for option in options {
                let SocketOption { level, name, .. } = option;
                let (value, default) = (text(&option.value), text(&option.default));
                // What differs from the system's default stands out.
                let mark = if option.value == option.default {
                    ' '
                } else {
                    '*'
                };
                writeln!(f, "{mark} {level:<13} {name:<26} {value:<22} {default}")?;
            }
            writeln!(f)?;
        }
        if self.left_out > 0 {
            writeln!(
                f,
                "{} more listeners are not shown; name a service",
                self.left_out
            )?;
        }
        writeln!(
            f,
            "level, option, value, default; * differs, - cannot be read"
        )
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
