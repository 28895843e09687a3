//! What an operator means who has no configuration: where a plugin of a name is, and which folder.
//!
//! Nothing here decides what is allowed: a file that is found is judged like any other. Invariant: where
//! there is a configuration, its `plugin_dir` alone says what a name means.

use std::path::{Path, PathBuf};

use super::one_service;
use crate::channel::CheckBrief;
use crate::config::BUILT_IN_FILE;
use crate::plan::{Descriptor, plugin_file};

/// The plugin of that name in a folder where plugins are put: beside this program, where cargo puts
/// them, or where an installation with this prefix does.
pub(super) fn find(plugin: &str, sources: &CheckBrief) -> Option<PathBuf> {
    find_in(plugin, &folders(sources)?)
}

/// Where else it was looked for, to be said behind "here".
pub(super) fn elsewhere(sources: &CheckBrief) -> String {
    folders(sources).map_or_else(String::new, |[beside, installed]| {
        format!(", nor in {} or {}", beside.display(), installed.display())
    })
}

fn folders(sources: &CheckBrief) -> Option<[PathBuf; 2]> {
    if sources.file.is_some() || Path::new(BUILT_IN_FILE).exists() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    Some(folders_beside(program.parent()?))
}

fn folders_beside(folder: &Path) -> [PathBuf; 2] {
    let prefix = folder.parent().unwrap_or(folder);
    [folder.to_owned(), prefix.join("lib/polyport/plugins")]
}

fn find_in(plugin: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut files = folders
        .iter()
        .map(|folder| plugin_file(folder, plugin, Path::exists));
    files.find(|file| file.exists())
}

/// Settings "key=value" in which a file or a folder that the plugin needs may be written as seen from
/// where the operator is, and a list that has one entry as that entry.
pub(super) fn as_meant(plugin: &Path, settings: &[String]) -> Vec<String> {
    match one_service::look_at(plugin) {
        Ok(descriptor) => settings
            .iter()
            .map(|setting| listed_setting(&descriptor, &absolute_setting(&descriptor, setting)))
            .collect(),
        // Whatever is wrong with it will be said when it is to serve.
        Err(_) => settings.to_vec(),
    }
}

fn absolute_setting(descriptor: &Descriptor, setting: &str) -> String {
    let needs = &descriptor.needs;
    let names_path = |key: &str| {
        let paths = needs.files_read.iter().chain(&needs.files_write);
        paths
            .filter_map(|path| path.strip_prefix('$'))
            .any(|name| name == key)
    };
    match setting.split_once('=') {
        // What is quoted or a list was written for a configuration, and is left as it is.
        Some((key, value)) if names_path(key.trim()) && !value.starts_with(['"', '\'', '[']) => {
            match std::path::absolute(value.trim()) {
                Ok(path) => format!("{key}={}", path.display()),
                Err(_) => setting.to_owned(),
            }
        }
        _ => setting.to_owned(),
    }
}

fn listed_setting(descriptor: &Descriptor, setting: &str) -> String {
    let is_list = |key: &str| {
        let options = &descriptor.options;
        options
            .iter()
            .any(|option| option.name == key && option.kind == "list")
    };
    match setting.split_once('=') {
        Some((key, value)) if is_list(key.trim()) && !value.trim_start().starts_with('[') => {
            let value = value.trim();
            let entry = match value.starts_with(['"', '\'']) {
                true => value.to_owned(),
                // What JSON escapes in a string, TOML reads alike.
                false => serde_json::Value::from(value).to_string(),
            };
            format!("{key}=[{entry}]")
        }
        _ => setting.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Needs, OptionFacts};

    #[test]
    fn one_text_is_a_list_of_one() {
        let descriptor = Descriptor {
            options: vec![OptionFacts {
                name: "motd".into(),
                kind: "list".into(),
                ..OptionFacts::default()
            }],
            ..Descriptor::default()
        };
        for (written, expected) in [
            ("motd=hello, you", r#"motd=["hello, you"]"#),
            ("motd=a \"b\" c", r#"motd=["a \"b\" c"]"#),
            ("motd=\"hello\"", r#"motd=["hello"]"#),
            ("motd=['a', 'b']", "motd=['a', 'b']"),
            ("mode=hello", "mode=hello"),
            ("motd", "motd"),
        ] {
            assert_eq!(listed_setting(&descriptor, written), expected);
        }
    }

    #[test]
    fn paths_that_a_plugin_needs_are_taken_from_here() {
        let descriptor = Descriptor {
            needs: Needs {
                files_read: vec!["$root".into(), "/etc/passwd".into()],
                ..Needs::default()
            },
            ..Descriptor::default()
        };
        let here = std::env::current_dir().expect("we are somewhere");
        let here = here.display();
        for (written, expected) in [
            ("root=public", format!("root={here}/public")),
            ("root=.", format!("root={here}")),
            ("root=/srv", "root=/srv".to_owned()),
            ("root=\"public\"", "root=\"public\"".to_owned()),
            ("root=", "root=".to_owned()),
            ("mode=public", "mode=public".to_owned()),
            ("root", "root".to_owned()),
        ] {
            assert_eq!(absolute_setting(&descriptor, written), expected);
        }
    }

    #[test]
    fn a_plugin_is_found_beside_the_program_and_where_it_was_installed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/unconfigured-test");
        let installed = folder.join("lib/polyport/plugins");
        std::fs::create_dir_all(folder.join("bin")).expect("a folder");
        std::fs::create_dir_all(&installed).expect("a folder");
        std::fs::write(installed.join("one.so"), "").expect("a file");
        std::fs::write(folder.join("bin/libpolyport_the_other.so"), "").expect("a file");
        let places = folders_beside(&folder.join("bin"));
        assert!(find_in("one", &places).is_some_and(|file| file.ends_with("one.so")));
        assert!(find_in("the-other", &places).is_some());
        assert_eq!(find_in("none", &places), None);
    }
}
