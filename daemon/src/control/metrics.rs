//! What `metrics` answers: families of numbers, and the text that Prometheus reads.
//!
//! The document has the numbers; the text (exposition format 0.0.4) is made where it is printed, so
//! the supervisor does not spend its turn on it. Names and labels stay what they are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    pub families: Vec<Family>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    pub name: String,
    pub kind: Kind,
    pub help: String,
    pub samples: Vec<Sample>,
}

impl Family {
    /// With no number in it yet.
    pub fn new(name: &str, help: &str, kind: Kind) -> Family {
        Family {
            name: format!("polyport_{name}"),
            kind,
            help: help.to_owned(),
            samples: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Never goes down while the daemon lives.
    Counter,
    Gauge,
    /// Its samples end in `_bucket`, `_sum` and `_count`.
    Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Follows the family's name; empty but in a histogram.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ending: String,
    pub labels: BTreeMap<String, String>,
    /// Wide enough for all that is counted, with a sign or without.
    pub value: i128,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Family {
            name,
            kind,
            help,
            samples,
        } in &self.families
        {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let help = help.replace('\\', "\\\\");
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for sample in samples {
                let Sample {
                    ending,
                    labels,
                    value,
                } = sample;
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
                    .collect();
                match labels.is_empty() {
                    true => writeln!(f, "{name}{ending} {value}")?,
                    false => writeln!(f, "{name}{ending}{{{}}} {value}", labels.join(","))?,
                }
            }
        }
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let labels = [("plugin".to_owned(), "a\"b\\c\nd".to_owned())];
        let sample = |labels: BTreeMap<_, _>, value| Sample {
            ending: String::new(),
            labels,
            value,
        };
        let metrics = Metrics {
            families: vec![Family {
                name: "polyport_x".to_owned(),
                kind: Kind::Gauge,
                help: "What it is.".to_owned(),
                samples: vec![
                    sample(BTreeMap::new(), -7),
                    sample(labels.into_iter().collect(), 8),
                ],
            }],
        };
        let expected = "# HELP polyport_x What it is.\n# TYPE polyport_x gauge\npolyport_x -7\n\
                        polyport_x{plugin=\"a\\\"b\\\\c\\nd\"} 8\n";
        assert_eq!(metrics.to_string(), expected);
        let told = serde_json::to_value(&metrics).expect("plain data");
        let read: Metrics = serde_json::from_value(told).expect("what was written");
        assert_eq!(read, metrics);
    }
}
