//! The plugins' own numbers in the answer to `metrics`: those of a service's workers, living and gone,
//! added up.
//!
//! What a scoreboard says of them was checked where it was read. A name is the plugin's, behind its own
//! name, so that it meets neither the daemon's nor another plugin's; where two services, or versions of
//! a plugin, still disagree about what a name means, the first is shown and the administrator told.
//!
//! Invariant: a counter or a histogram never goes down while the daemon lives, as long as its plugin
//! says the same of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::children::Children;
use super::status::{Shown, board_of};
use crate::control::{Family, FamilyKind};
use crate::lifecycle::ServiceView;
use crate::scoreboard::metrics::{Metric, MetricKind};

/// Metrics of workers that are gone which one service remembers. A plugin defines at most 64, so this
/// is several plugins, or one that was changed often; what comes after that is forgotten with its worker.
const RETIRED_METRICS_MAX: usize = 512;

/// What the plugins of a service had counted in workers that are gone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Retired(Vec<(String, Metric)>);

impl Retired {
    /// A gauge ends with its worker.
    pub(super) fn retire(&mut self, plugin: &str, metrics: Vec<Metric>) {
        for metric in metrics {
            let stays = metric.kind != MetricKind::Gauge;
            if stays && !merged(&mut self.0, plugin, &metric) && self.0.len() < RETIRED_METRICS_MAX
            {
                self.0.push((plugin.to_owned(), metric));
            }
        }
    }
}

/// Names that are more than one kind of metric, each told of once.
#[derive(Clone, Debug, Default)]
pub(super) struct Disputed(RefCell<BTreeSet<String>>);

impl Disputed {
    /// Whether this is news. Beyond as many as a service remembers nothing is.
    fn note(&self, name: &str) -> bool {
        let mut told = self.0.borrow_mut();
        told.len() < RETIRED_METRICS_MAX && told.insert(name.to_owned())
    }
}

/// What each name of a metric, without its ending, was first found to be.
#[derive(Default)]
struct Kinds(BTreeMap<String, (MetricKind, String)>);

impl Kinds {
    /// In what it differs from what was found first.
    fn dispute(&mut self, service: &str, name: &str, kind: MetricKind) -> Option<String> {
        let first = self.0.entry(name.to_owned());
        let (known, of) = first.or_insert_with(|| (kind, service.to_owned()));
        (*known != kind).then(|| {
            let elsewhere = match of == service {
                true => "another version of its plugin".to_owned(),
                false => format!("the service {of}"),
            };
            format!(
                "the metric polyport_{name} is a {} here, and a {} by {elsewhere}: readers may mix \
                 them up, and of a gauge and a histogram only the first is shown; have the plugin's \
                 author give one of them another name, and let all services have the same version",
                word(kind),
                word(*known)
            )
        })
    }
}

fn word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

/// Whether it could be added to one that means the same.
fn merged(sums: &mut [(String, Metric)], plugin: &str, metric: &Metric) -> bool {
    let same = sums.iter_mut().find(|(of, sum)| {
        of == plugin
            && sum.name == metric.name
            && sum.kind == metric.kind
            && sum.bounds == metric.bounds
    });
    let Some((_, sum)) = same else {
        return false;
    };
    for (sum, value) in sum.values.iter_mut().zip(&metric.values) {
        // So that negative gauges add up as well.
        *sum = sum.wrapping_add(*value);
    }
    true
}

impl Shown<'_> {
    pub(super) fn of_plugins(&self, views: &[ServiceView], children: &Children) -> Vec<Family> {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut kinds = Kinds::default();
        for view in views {
            let Some(service) = self.services.get(&view.service) else {
                continue;
            };
            // The newest first: what it says of a name is what holds.
            let mut workers: Vec<_> = view.workers.iter().collect();
            workers.sort_by_key(|worker| std::cmp::Reverse(worker.generation));
            let mut sums: Vec<(String, Metric)> = Vec::new();
            for worker in workers {
                let edition = service.editions.get(&worker.generation);
                let (Some(edition), Some(board)) = (edition, board_of(worker, children)) else {
                    continue;
                };
                add_all(&mut sums, &edition.descriptor.name, board.metrics());
            }
            for (plugin, metric) in &service.retired_metrics.0 {
                add_all(&mut sums, plugin, vec![metric.clone()]);
            }
            for (plugin, metric) in &sums {
                let name = named(plugin, metric);
                let dispute = kinds.dispute(&service.name, &name, metric.kind);
                if let Some(text) = dispute.filter(|_| self.happened.disputed.note(&name)) {
                    tracing::warn!(service = %service.name, "{text}");
                }
            }
            show(&mut families, &service.name, &sums);
        }
        families.into_values().collect()
    }
}

fn add_all(sums: &mut Vec<(String, Metric)>, plugin: &str, metrics: Vec<Metric>) {
    for metric in metrics {
        if !merged(sums, plugin, &metric) {
            sums.push((plugin.to_owned(), metric));
        }
    }
}

fn show(families: &mut BTreeMap<String, Family>, service: &str, sums: &[(String, Metric)]) {
    let label = ("service", service);
    for (plugin, metric) in sums {
        let (kind, ending) = match metric.kind {
            MetricKind::Counter => (FamilyKind::Counter, "_total"),
            MetricKind::Gauge => (FamilyKind::Gauge, ""),
            MetricKind::Histogram => (FamilyKind::Histogram, ""),
        };
        let name = named(plugin, metric) + ending;
        let entry = families.entry(name.clone());
        let family = entry.or_insert_with(|| Family::new(&name, &metric.help, kind));
        let is_shown = family
            .samples
            .iter()
            .any(|sample| sample.labels.get("service").is_some_and(|it| it == service));
        if family.kind != kind || is_shown {
            continue;
        }
        let values = &metric.values;
        match metric.kind {
            MetricKind::Counter => family.add_as("", &[label], i128::from(values[0])),
            MetricKind::Gauge => {
                family.add_as("", &[label], i128::from(values[0].cast_signed()));
            }
            MetricKind::Histogram => {
                let bounds = metric.bounds.iter().map(u64::to_string);
                let mut count = 0;
                for (bound, kept) in bounds.chain(["+Inf".to_owned()]).zip(values) {
                    count += i128::from(*kept);
                    family.add_as("_bucket", &[label, ("le", &bound)], count);
                }
                let sum = values.last().copied().unwrap_or(0);
                family.add_as("_sum", &[label], i128::from(sum));
                family.add_as("_count", &[label], count);
            }
        }
    }
}

fn named(plugin: &str, metric: &Metric) -> String {
    format!("plugin_{}_{}", plain(plugin), metric.name)
}

/// A plugin's name as a part of a metric's.
fn plain(plugin: &str) -> String {
    let good = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '_',
    };
    plugin.chars().map(good).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(kind: MetricKind, name: &str, bounds: &[u64], values: &[u64]) -> Metric {
        Metric {
            kind,
            name: name.to_owned(),
            help: "What it is.".to_owned(),
            bounds: bounds.to_vec(),
            values: values.to_vec(),
        }
    }

    fn shown(sums: &[(String, Metric)]) -> String {
        let mut families = BTreeMap::new();
        show(&mut families, "s", sums);
        let families = families.into_values().collect();
        crate::control::Metrics { families }
            .to_string()
            .replace("polyport_plugin_my_plug_", "")
    }

    #[test]
    fn what_the_dead_had_counted_is_added_to_what_the_living_say() {
        let mut retired = Retired::default();
        let dead = || {
            vec![
                metric(MetricKind::Counter, "lines", &[], &[5]),
                metric(MetricKind::Gauge, "rooms", &[], &[3]),
                metric(MetricKind::Histogram, "sizes", &[10], &[1, 2, 70]),
            ]
        };
        retired.retire("my-plug", dead());
        retired.retire("my-plug", dead());
        retired.retire("other", dead());
        assert_eq!(retired.0.len(), 4, "gauges are not kept");
        let mut sums = Vec::new();
        let minus_two = (-2_i64).cast_unsigned();
        for living in [
            metric(MetricKind::Gauge, "rooms", &[], &[1]),
            metric(MetricKind::Gauge, "rooms", &[], &[minus_two]),
            metric(MetricKind::Counter, "lines", &[], &[100]),
        ] {
            add_all(&mut sums, "my-plug", vec![living]);
        }
        for (plugin, metric) in &retired.0 {
            add_all(&mut sums, plugin, vec![metric.clone()]);
        }
        let text = shown(&sums);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "lines_total{service=\"s\"} 110",
            "rooms{service=\"s\"} -1",
            "sizes_bucket{le=\"10\",service=\"s\"} 2",
            "sizes_bucket{le=\"+Inf\",service=\"s\"} 6",
            "sizes_sum{service=\"s\"} 140",
            "sizes_count{service=\"s\"} 6",
        ];
        assert_eq!(lines[..6], expected);
        assert!(lines[6].starts_with("polyport_plugin_other_"), "{text}");
    }

    #[test]
    fn of_one_name_only_the_first_meaning_is_shown() {
        let plug = |metric| ("my-plug".to_owned(), metric);
        let text = shown(&[
            plug(metric(MetricKind::Histogram, "sizes", &[10], &[1, 0, 3])),
            plug(metric(MetricKind::Histogram, "sizes", &[20], &[7, 0, 3])),
            plug(metric(MetricKind::Gauge, "sizes", &[], &[9])),
        ]);
        assert!(text.contains("sizes_count{service=\"s\"} 1\n"), "{text}");
        assert!(!text.contains("gauge") && !text.contains("20"), "{text}");
        let mut retired = Retired::default();
        for number in 0..2 * RETIRED_METRICS_MAX {
            let new = metric(MetricKind::Counter, &format!("m{number}"), &[], &[1]);
            retired.retire("my-plug", vec![new]);
        }
        assert_eq!(retired.0.len(), RETIRED_METRICS_MAX);
    }
    #[test]
    fn a_name_of_two_kinds_is_told_of_once_whoever_disagrees() {
        let (mut kinds, disputed) = (Kinds::default(), Disputed::default());
        let rows = [
            ("a", "x", MetricKind::Gauge, None),
            ("b", "x", MetricKind::Gauge, None),
            (
                "b",
                "x",
                MetricKind::Counter,
                Some("a counter here, and a gauge by the service a"),
            ),
            (
                "a",
                "x",
                MetricKind::Counter,
                Some("by another version of its plugin"),
            ),
            ("b", "y", MetricKind::Counter, None),
        ];
        for (service, name, kind, expected) in rows {
            let told = kinds.dispute(service, name, kind);
            let fits = match (&told, expected) {
                (Some(text), Some(part)) => text.contains(part),
                (told, expected) => told.is_none() && expected.is_none(),
            };
            assert!(fits, "{service} {name} {kind:?}: {told:?}");
        }
        assert!(disputed.note("x") && !disputed.note("x") && disputed.note("y"));
        for number in 0..RETIRED_METRICS_MAX {
            disputed.note(&number.to_string());
        }
        assert!(!disputed.note("one too many"));
    }
}
