//! The configuration of one plugin by itself, made up: for trying and for checking it.

use std::path::Path;

use crate::channel::CheckBrief;

/// `settings` are "key=value"; everything the daemon writes goes below `scratch`.
pub(super) fn sources(
    plugin: &Path,
    listen: &[String],
    settings: &[String],
    scratch: &Path,
) -> CheckBrief {
    let name = service_name(plugin);
    CheckBrief {
        file: None,
        inline: Some(configuration(&name, plugin, listen, scratch)),
        overrides: settings
            .iter()
            .map(|set| format!("services.{name}.settings.{set}"))
            .collect(),
    }
}

fn configuration(name: &str, plugin: &Path, listen: &[String], scratch: &Path) -> String {
    // What JSON escapes in a string, TOML reads alike.
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let path = |path: &Path| quote(&path.display().to_string());
    let listen: Vec<String> = listen.iter().map(|url| quote(url)).collect();
    format!(
        "[daemon]\nrun_dir = {}\nstate_dir = {}\n\
         [services.{name}]\nplugin = {}\nlisten = [{}]\nworkers = 1\n",
        path(scratch),
        path(scratch),
        path(plugin),
        listen.join(", ")
    )
}

/// "libpolyport_line_chat.so" → "line-chat": what an administrator would have called it.
fn service_name(plugin: &Path) -> String {
    let stem = plugin
        .file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_prefix("polyport_").unwrap_or(stem);
    let name: String = stem
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name: String = name.trim_matches('-').chars().take(32).collect();
    if name.is_empty() {
        "plugin".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_after_their_plugin() {
        for (file, name) in [
            ("/x/libpolyport_line_chat.so", "line-chat"),
            ("/x/echo.so", "echo"),
            ("libecho.so", "echo"),
            ("/x/Über.so", "ber"),
            ("/x/---.so", "plugin"),
        ] {
            assert_eq!(service_name(Path::new(file)), name, "{file}");
        }
    }

    #[test]
    fn what_is_made_up_is_valid_whatever_the_path() {
        let text = configuration(
            "x",
            Path::new("/a \"b\"\\c.so"),
            &["tcp://127.0.0.1:0".into()],
            Path::new("/tmp/q"),
        );
        let document: toml_edit::DocumentMut = text.parse().expect("valid TOML");
        assert_eq!(
            document["services"]["x"]["plugin"].as_str(),
            Some("/a \"b\"\\c.so")
        );
    }
}
