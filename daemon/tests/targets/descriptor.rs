//! What a plugin says of itself before it runs: it is refused in so many words, or shown harmlessly and
//! kept to.

use std::collections::BTreeMap;

use polyport::channel::StoredPlugin;
use polyport::plan::Descriptor;
use polyport::plugin_host::load;

/// The table of the plugin `drawn`, which is asked for it anew each time.
pub fn descriptor(drawn: &StoredPlugin, bytes: &[u8]) -> bool {
    let path = format!("/tmp/polyport-drawn-{}", std::process::id());
    std::fs::write(&path, bytes).expect("written");
    let loaded = load(drawn, None);
    std::fs::remove_file(&path).expect("it is ours");
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("\n  fix: "), "{said:?}");
            is_harmless(&said.replace('\n', " "));
            return false;
        }
    };
    let settings = BTreeMap::new();
    let needs = match plugin.choose("it", &settings, &BTreeMap::new()) {
        Ok(chosen) => plugin.needs(&chosen),
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains("services.it.settings"), "{said:?}");
            is_harmless(&said.replace('\n', " "));
            plugin.declared_needs()
        }
    };
    let shown = plugin.descriptor(needs);
    assert!(!shown.name.is_empty() && (shown.streams || shown.datagrams));
    for text in [&shown.name, &shown.version, &shown.build_info] {
        is_harmless(text);
    }
    for option in &shown.options {
        assert!(!option.name.is_empty());
        for text in [&option.name, &option.help] {
            is_harmless(text);
        }
    }
    let declared = plugin.declared_needs();
    for path in declared.files_read.iter().chain(&declared.files_write) {
        assert!(path.starts_with(['/', '$']), "{path:?}");
    }
    let json = serde_json::to_string(&shown).expect("plain data");
    let read: Descriptor = serde_json::from_str(&json).expect("what was written");
    assert_eq!(read, shown);
    true
}

/// A terminal may have it.
fn is_harmless(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
