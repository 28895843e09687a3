//! Which variables of the environment are configuration, and which only begin like it.
//!
//! Others name variables after us too: Kubernetes gives every container `POLYPORT_SERVICE_HOST` and
//! `POLYPORT_PORT_7_TCP` once there is a Service named polyport. Those are nobody's mistake and are
//! passed over in silence. What looks like a key that was written wrongly is refused, because
//! somebody believes that it holds.
//!
//! Invariant: whatever begins with [`VARIABLES`] is a key, known or not.

use super::complaint::Fault;
use super::kind::nearest;
use super::schema::KEYS;

const OURS: &str = "POLYPORT_";
const VARIABLES: &str = "POLYPORT_DAEMON__";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// Sets this key of `[daemon]`, in the parts that a dot would separate.
    Key(Vec<String>),
    /// It is meant to.
    Mistyped(Fault),
    SomebodyElses,
}

pub(super) fn judge(name: &str) -> Variable {
    if let Some(tail) = name.strip_prefix(VARIABLES) {
        return Variable::Key(tail.to_lowercase().split("__").map(str::to_owned).collect());
    }
    let Some(tail) = name.strip_prefix(OURS) else {
        return Variable::SomebodyElses;
    };
    let fault = Fault::new("unknown variable");
    if let Some(key) = meant(tail) {
        let key = key.replace('.', "__").to_uppercase();
        return Variable::Mistyped(fault.hint(format!("did you mean {VARIABLES}{key}?")));
    }
    // Nobody but us writes a dot so.
    if tail.contains("__") {
        return Variable::Mistyped(fault.hint(format!(
            "a key of [daemon] is set by {VARIABLES}KEY, with __ for each dot; others are not set \
             by variables"
        )));
    }
    Variable::SomebodyElses
}

/// LOG_LEVEL, DAEMON_LOG_LEVEL: perhaps the one that sets `daemon.log.level`.
fn meant(tail: &str) -> Option<&'static str> {
    let tail = tail.strip_prefix("DAEMON_").unwrap_or(tail);
    let tail = tail.trim_start_matches('_').replace("__", "_");
    let keys = KEYS
        .iter()
        .filter_map(|key| key.path.strip_prefix("daemon."));
    let plain: Vec<(String, &str)> = keys.map(|key| (key.replace('.', "_"), key)).collect();
    let nearest = nearest(&tail, plain.iter().map(|(plain, _)| plain.as_str()))?;
    let found = plain.iter().find(|(plain, _)| plain == nearest)?;
    Some(found.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_key_or_a_mistake_or_somebody_elses() {
        let key = |parts: &[&str]| Variable::Key(parts.iter().map(|part| (*part).into()).collect());
        let rows = [
            ("POLYPORT_DAEMON__USER", Some(key(&["user"]))),
            ("POLYPORT_DAEMON__LOG__LEVEL", Some(key(&["log", "level"]))),
            ("POLYPORT_DAEMON__", Some(key(&[""]))),
            (
                "POLYPORT_DAEMON__SERVICE_HOST",
                Some(key(&["service_host"])),
            ),
            // `None` is a mistake.
            ("POLYPORT_LOG_LEVEL", None),
            ("POLYPORT_DRAIN_TIMEOUT", None),
            ("POLYPORT_DAEMON_USER", None),
            ("POLYPORT_DEAMON__USER", None),
            ("POLYPORT_RUNDIR", None),
            ("POLYPORT_SERVICES__ECHO__WORKERS", None),
            ("PATH", Some(Variable::SomebodyElses)),
            ("POLYPORT", Some(Variable::SomebodyElses)),
            ("POLYPORT_", Some(Variable::SomebodyElses)),
            ("POLYPORT_ECHO", Some(Variable::SomebodyElses)),
            // As Kubernetes writes them, of a Service "polyport" and of one "polyport-daemon".
            ("POLYPORT_SERVICE_HOST", Some(Variable::SomebodyElses)),
            ("POLYPORT_SERVICE_PORT", Some(Variable::SomebodyElses)),
            ("POLYPORT_SERVICE_PORT_ECHO", Some(Variable::SomebodyElses)),
            ("POLYPORT_PORT", Some(Variable::SomebodyElses)),
            ("POLYPORT_PORT_7_TCP", Some(Variable::SomebodyElses)),
            ("POLYPORT_PORT_7_TCP_PROTO", Some(Variable::SomebodyElses)),
            ("POLYPORT_PORT_7_TCP_PORT", Some(Variable::SomebodyElses)),
            ("POLYPORT_PORT_7_TCP_ADDR", Some(Variable::SomebodyElses)),
            (
                "POLYPORT_DAEMON_SERVICE_HOST",
                Some(Variable::SomebodyElses),
            ),
            ("POLYPORT_DAEMON_PORT", Some(Variable::SomebodyElses)),
            ("POLYPORT_DAEMON_PORT_7_UDP", Some(Variable::SomebodyElses)),
        ];
        for (name, expected) in rows {
            let found = judge(name);
            match expected {
                Some(expected) => assert_eq!(found, expected, "{name}"),
                None => assert!(matches!(found, Variable::Mistyped(_)), "{name}: {found:?}"),
            }
        }
    }
}
