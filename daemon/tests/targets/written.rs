//! What administrators write: it is refused in so many words, or reads again as itself.

use std::collections::BTreeMap;

use polyport::config::units::{parse_duration_ms, parse_duration_us, parse_size};
use polyport::config::{self, COMPLAINTS_MAX, Sources, Surroundings};
use polyport::plan::{Address, Facts, Hours, Plan, parse_network, resolve};
use polyport::plugin_host::Admitted;
use serde_json::Value;

pub fn network(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(network) = parse_network(&text) else {
        return false;
    };
    assert_eq!(network.trunc(), network, "{text:?}");
    assert_eq!(parse_network(&network.to_string()), Ok(network), "{text:?}");
    true
}

pub fn access_times(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(hours) = Hours::parse(&text) else {
        return false;
    };
    assert_eq!(Hours::parse(&hours.to_string()), Ok(hours), "{text:?}");
    true
}

/// As a duration, as a short one, and as a size.
pub fn units(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let judged = [
        number(&text, "ms", parse_duration_ms),
        number(&text, "us", parse_duration_us),
        number(&text, "B", parse_size),
    ];
    judged.contains(&true)
}

/// What was accepted is the same in the smallest unit.
pub fn number(text: &str, unit: &str, parse: fn(&str) -> Result<u64, String>) -> bool {
    match parse(text) {
        // What is longer than the smallest unit can say is only ever cut short.
        Ok(number) if number > i64::MAX as u64 => assert_eq!(unit, "us", "{text:?}"),
        Ok(number) => {
            assert_eq!(parse(&format!("{number}{unit}")), Ok(number), "{text:?}");
            return true;
        }
        Err(said) => assert!(said.starts_with("expected a "), "{text:?}: {said}"),
    }
    false
}

pub fn endpoint(bytes: &[u8]) -> bool {
    let written = String::from_utf8_lossy(bytes);
    match address(&written) {
        Ok(found) => {
            let full = found.to_string();
            assert_eq!(address(&full), Ok(found), "{written:?} as {full:?}");
            true
        }
        Err(said) => {
            assert!(said.contains("services.it.listen"), "{written:?}: {said}");
            false
        }
    }
}

/// A whole file, and behind each 0 byte what `--set` says over it.
pub fn config(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\0').map(str::to_owned);
    let sources = Sources {
        inline: parts.next(),
        overrides: parts.collect(),
        ..Sources::default()
    };
    // Operators find the daemon whatever else is wrong.
    let run_dir = config::run_dir(&sources, &Surroundings::default());
    assert!(!run_dir.as_os_str().is_empty(), "{text:?}");
    match resolve(config::read(&sources, &Surroundings::default()), &facts()) {
        Ok(plan) => {
            let json = serde_json::to_string(&plan).expect("plain data");
            let read: Plan = serde_json::from_str(&json).expect("what was written");
            assert_eq!(read, plan, "{text:?}");
            true
        }
        Err(complaints) => {
            assert!((1..=2 * COMPLAINTS_MAX).contains(&complaints.len()));
            for complaint in complaints {
                let said = complaint.to_string();
                assert!(said.contains(": "), "{text:?}: {said:?}");
                assert!(!said.contains(char::is_control), "{text:?}: {said:?}");
            }
            false
        }
    }
}

/// A small machine.
fn facts() -> Facts {
    Facts {
        cpus: 1,
        services: "echo 7/tcp\necho 7/udp\nwww 80/tcp http # WWW\n".to_owned(),
        user: |_| Ok(None),
        group: |_| Ok(None),
        interface: |name| Ok((name == "eth0").then_some(2)),
        exists: |_| true,
    }
}

/// The address that a service would listen on, or why not.
fn address(written: &str) -> Result<Address, String> {
    let facts = facts();
    // TOML's basic strings have all escapes that JSON writes.
    let quoted = serde_json::to_string(written).expect("a text");
    let text = format!("[services.it]\nplugin = \"/echo.so\"\nlisten = [{quoted}]\n");
    let sources = Sources {
        inline: Some(text.replace('\x7f', "\\u007f")),
        ..Sources::default()
    };
    let plan = resolve(config::read(&sources, &Surroundings::default()), &facts);
    match plan {
        Ok(plan) => Ok(plan.services["it"].endpoints[0].address.clone()),
        Err(complaints) => {
            let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
    }
}

/// The settings of a service, for the plugin `asks`, as the JSON that a plan has them in.
pub fn settings(plugin: &Admitted, bytes: &[u8]) -> Option<bool> {
    // An object is what a configuration can hold.
    let settings = serde_json::from_slice::<BTreeMap<String, Value>>(bytes).ok()?;
    match plugin.choose("it", &settings, &BTreeMap::new()) {
        Ok(_) => {
            // Nothing in it depends on anything else but what has no default.
            for name in settings.keys().filter(|name| *name != "root") {
                let mut fewer = settings.clone();
                fewer.remove(name);
                let chosen = plugin.choose("it", &fewer, &BTreeMap::new());
                assert!(chosen.is_ok(), "{settings:?} without {name}");
            }
            Some(true)
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("services.it.settings"), "{said}");
            Some(false)
        }
    }
}
