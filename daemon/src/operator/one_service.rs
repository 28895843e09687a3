//! The configuration of one plugin by itself, made up: for trying, for looking at and for checking it.
//!
//! Who asked for that wrote a file, `--listen` and `--set`, and no configuration. So complaints are
//! turned back into those words: the made-up service and the places in it are named to nobody.

use std::path::Path;

use super::check::probe;
use super::lines;
use super::scratch::Scratch;
use crate::channel::{CheckBrief, Depth};
use crate::plan::{self, Descriptor};

#[derive(Debug)]
pub(super) struct OneService {
    name: String,
    pub(super) sources: CheckBrief,
}

/// What the plugin says of itself, whatever its settings.
pub(super) fn look_at(plugin: &Path) -> Result<Descriptor, String> {
    probe_alone(plugin, "tcp://127.0.0.1:0", &[], Depth::Handshake)
}

/// Whether the plugin would be taken with these settings, "key=value".
pub(super) fn check(plugin: &Path, settings: &[String]) -> Result<Descriptor, String> {
    probe_spoken(plugin, &look_at(plugin)?, settings, Depth::Settings)
}

/// It is not to serve, so it is offered an endpoint of a transport that it speaks.
pub(super) fn probe_spoken(
    plugin: &Path,
    descriptor: &Descriptor,
    settings: &[String],
    depth: Depth,
) -> Result<Descriptor, String> {
    let listen = match descriptor.streams {
        true => "tcp://127.0.0.1:0",
        false => "udp://127.0.0.1:0",
    };
    probe_alone(plugin, listen, settings, depth)
}

fn probe_alone(
    plugin: &Path,
    listen: &str,
    settings: &[String],
    depth: Depth,
) -> Result<Descriptor, String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let service = OneService::new(plugin, &[listen.to_owned()], settings, scratch.path());
    service.probe(scratch.path(), depth)
}

impl OneService {
    /// `settings` are "key=value"; everything the daemon writes goes below `scratch`.
    pub(super) fn new(
        plugin: &Path,
        listen: &[String],
        settings: &[String],
        scratch: &Path,
    ) -> OneService {
        let name = service_name(plugin);
        let overrides = settings
            .iter()
            .map(|set| format!("services.{name}.settings.{set}"));
        OneService {
            sources: CheckBrief {
                file: None,
                inline: Some(configuration(&name, plugin, listen, scratch)),
                overrides: overrides.collect(),
            },
            name,
        }
    }

    pub(super) fn probe(&self, scratch: &Path, depth: Depth) -> Result<Descriptor, String> {
        let plan = plan::run_check(&self.sources).map_err(|all| self.as_typed(&lines(&all)))?;
        let service = &plan.services[&self.name];
        probe(&self.name, service, &plan, scratch, depth).map_err(|text| self.as_typed(&text))
    }

    pub(super) fn as_typed(&self, text: &str) -> String {
        let lines: Vec<String> = text.lines().map(|line| self.line_as_typed(line)).collect();
        lines.join("\n")
    }

    /// "  inline:6: services.echo.listen: …" → "  --listen: …".
    fn line_as_typed(&self, line: &str) -> String {
        let said = line.trim_start();
        let indent = &line[..line.len() - said.len()];
        let service = format!("services.{}", self.name);
        let (from_options, said) = match said.strip_prefix("command line: ") {
            Some(said) => (true, said),
            None => (false, without_place(said)),
        };
        let said = match said.strip_prefix(&service) {
            Some(key) => match key.strip_prefix(".settings.") {
                Some(setting) => format!("--set {setting}"),
                None if key.starts_with(".listen") => format!("--{}", &key[1..]),
                None => key.trim_start_matches(['.', ':', ' ']).to_owned(),
            },
            None if from_options => format!("--set: {said}"),
            None => said.to_owned(),
        };
        let said = said.replace(&format!("\"{service}.settings."), "\"");
        format!("{indent}{}", self.without_owner(said))
    }

    /// Of two endpoints that overlap, the other one is the same service's.
    fn without_owner(&self, said: String) -> String {
        let owner = format!(" of service \"{}\" (", self.name);
        let Some((before, after)) = said.split_once(&owner) else {
            return said;
        };
        let after = after.split_once(')').map_or("", |(_, after)| after);
        format!("{before}{after}")
    }
}

/// Without the "inline:6: " of a made-up file.
fn without_place(said: &str) -> &str {
    let after = said
        .strip_prefix("inline:")
        .and_then(|rest| rest.split_once(": "));
    after.map_or(said, |(_, after)| after)
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

    #[test]
    fn complaints_name_what_was_typed() {
        let plugin = Path::new("/x/libpolyport_line_chat.so");
        let service = OneService::new(plugin, &[], &[], Path::new("/tmp/q"));
        for (said, typed) in [
            (
                "inline:6: services.line-chat.listen: expected a URL",
                "--listen: expected a URL",
            ),
            (
                "  command line: services.line-chat.settings.mode: unknown option",
                "  --set mode: unknown option",
            ),
            (
                "  inline:4: services.line-chat.settings.root: is missing",
                "  --set root: is missing",
            ),
            (
                "command line: expected KEY=VALUE, found \"services.line-chat.settings.x\"",
                "--set: expected KEY=VALUE, found \"x\"",
            ),
            (
                "inline:6: services.line-chat.listen: tcp://a:1 is taken by tcp://b:1 of service \
                 \"line-chat\" (inline:6); give one of them another port",
                "--listen: tcp://a:1 is taken by tcp://b:1; give one of them another port",
            ),
            (
                "services.line-chat: plugin /x/y.so: it is not an ELF file\n  fix: build it",
                "plugin /x/y.so: it is not an ELF file\n  fix: build it",
            ),
            (
                "environment POLYPORT_DAEMON__X: daemon.x: unknown key",
                "environment POLYPORT_DAEMON__X: daemon.x: unknown key",
            ),
        ] {
            assert_eq!(service.as_typed(said), typed);
        }
    }
}
