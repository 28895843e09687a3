//! What operators see: texts, exit codes and documents of the verbs, from outside.
//!
//! Verbs that need no running daemon; those that do are played in the cases. Rows say what was typed,
//! what it exits with and what is then to be read. Every row of a refusal is also held to name
//! nothing that its reader did not write.

mod support;

use std::fs;
use std::io::pipe;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use support::daemon::{Directory, polyport, run_to_end};
use support::fixtures::build_fixture;
use support::plugins::smallest;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const NOT_RUNNING: i32 = 3;
const REJECTED: i32 = 5;
const DEGRADED: i32 = 7;

/// A configuration in a directory of its own, with these plugins in its plugin folder.
struct Place(Directory);

impl Place {
    fn new(name: &str, plugins: &[PathBuf], services: &str) -> Place {
        let directory = Directory::new(name);
        let folder = directory.path().join("plugins");
        fs::create_dir(&folder).expect("made");
        for plugin in plugins {
            let name = plugin.file_name().expect("a plugin is a file");
            fs::copy(plugin, folder.join(name)).expect("installed");
        }
        let text = format!(
            "[daemon]\nplugin_dir = {folder:?}\nrun_dir = {0:?}\nstate_dir = {0:?}\n{services}",
            directory.path()
        );
        fs::write(directory.path().join("polyport.toml"), text).expect("written");
        Place(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `words` as in a shell that stands there, then the configuration.
    fn command(&self, words: &str) -> Command {
        let mut command = polyport();
        command.args(words.split_whitespace());
        command.args(["-c", "polyport.toml"]);
        command.current_dir(self.path());
        command
    }

    fn operate(&self, words: &str) -> Said {
        Said::of(words, &run_to_end(self.command(words)))
    }
}

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    words: String,
}

impl Said {
    fn of(words: &str, output: &Output) -> Said {
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            words: words.to_owned(),
        }
    }

    fn all(&self) -> String {
        format!("`{}` said:\n{}{}", self.words, self.stdout, self.stderr)
    }

    #[track_caller]
    fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{}", self.all());
        self
    }

    #[track_caller]
    fn has(self, parts: &[&str]) -> Said {
        for part in parts {
            let found = self.stdout.contains(part) || self.stderr.contains(part);
            assert!(found, "{part:?} is missing; {}", self.all());
        }
        self
    }

    #[track_caller]
    fn lacks(self, parts: &[&str]) -> Said {
        for part in parts {
            let found = self.stdout.contains(part) || self.stderr.contains(part);
            assert!(!found, "{part:?} was said; {}", self.all());
        }
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}; {}", self.all()))
    }
}

#[test]
fn a_plugin_can_be_looked_at_before_its_options_are_set() {
    let place = Place::new("show", &[build_fixture("asks"), smallest()], "");
    place.operate("plugins show asks").exits(DONE).has(&[
        "asks 1.2.3  (ABI 1.0; build: by hand)\n",
        "option    root (text, required): Where the files are.",
        "read $root",
    ]);
    let shown = place.operate("plugins show asks --json").exits(DONE).json();
    assert_eq!(shown["options"][0]["name"], "root");
    assert_eq!(shown["needs"]["files_read"][0], "$root");
    place
        .operate("plugins show smallest")
        .exits(DONE)
        .has(&["echo 1.0.0  (ABI 1.0)\n"])
        .lacks(&["build:", "option "]);
    place.operate("plugins list").exits(DONE).has(&[
        "asks         1.2.3    asks.so, unused\n",
        "echo         1.0.0    smallest.so, unused\n",
    ]);
}

#[test]
fn a_listed_plugin_is_tried_with_the_settings_of_each_service_that_uses_it() {
    let services = "[services.empty]\nplugin = \"asks\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                    [services.full]\nplugin = \"asks\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                    settings.root = \"/\"\n";
    let place = Place::new("list", &[build_fixture("asks")], services);
    fs::write(place.path().join("plugins/text.so"), "no library").expect("written");
    let problem = "polyport.toml:5: services.empty.settings.root: is missing";
    place.operate("plugins list").exits(DONE).has(&[
        "asks         1.2.3    asks.so, used by empty, full\n",
        problem,
        "text.so: unused; ",
        "it is not an ELF file",
    ]);
    let listed = place.operate("plugins list --json").exits(DONE).json();
    let [asks, text] = &listed["plugins"].as_array().expect("a list")[..] else {
        panic!("not two plugins: {listed:#}");
    };
    assert_eq!(asks["version"], "1.2.3");
    let said = asks["problem"].as_str().expect("of the one service");
    assert!(said.contains(problem), "{said}");
    assert!(!said.contains("services.full"), "{said}");
    assert!(text["problem"].is_string() && text["version"].is_null());
}

/// A reader who leaves has read enough.
#[test]
fn a_reader_who_has_gone_fails_no_verb() {
    let service = "[services.a]\nplugin = \"smallest\"\nlisten = [\"tcp://127.0.0.1:0\"]\n";
    let place = Place::new("gone", &[smallest()], service);
    for (words, code) in [
        ("check", DONE),
        ("check --json", DONE),
        ("plugins list", DONE),
        ("plugins list --json", DONE),
        ("plugins show smallest", DONE),
        ("plugins check smallest", DONE),
        ("plugins check nobody", FAILED),
        ("check --set daemon.x=1", REJECTED),
        ("status", NOT_RUNNING),
        ("status --json", NOT_RUNNING),
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = place.command(words);
        command.stdout(writer.try_clone().expect("cloned"));
        command.stderr(writer);
        let status = command.status().expect("the binary under test");
        assert_eq!(status.code(), Some(code), "{words}");
    }
}

#[test]
fn what_cannot_be_written_down_is_a_failure() {
    let place = Place::new("full", &[smallest()], "");
    for words in ["plugins list", "plugins list --json", "check"] {
        let full = fs::File::options().write(true).open("/dev/full");
        let mut command = place.command(words);
        command.stdout(full.expect("a device that is always full"));
        let output = command.output().expect("the binary under test");
        Said::of(words, &output)
            .exits(FAILED)
            .has(&["polyport: standard output: "]);
    }
}

/// 5 is a rejection, 1 any other failure; 70, 71 and 78 are `run`'s alone.
#[test]
fn what_is_refused_is_named_as_it_was_typed() {
    let refuses = build_fixture("starts-create_refuses");
    let plugins = [build_fixture("asks"), smallest(), refuses];
    let place = Place::new("typed", &plugins, "");
    fs::write(place.path().join("text.so"), "no library").expect("written");
    mkfifo(&place.path().join("fifo"), Mode::S_IRWXU).expect("made");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = format!(
        "try smallest --listen tcp://{}",
        taken.local_addr().expect("an address")
    );
    let rows: &[(&str, i32, &[&str])] = &[
        (
            "try smallest --listen nonsense",
            REJECTED,
            &["polyport: --listen: "],
        ),
        (
            "try smallest --listen tcp://127.0.0.1:7 --listen tcp://127.0.0.1:7",
            REJECTED,
            &["polyport: --listen: tcp://127.0.0.1:7 is taken by tcp://127.0.0.1:7; give"],
        ),
        (
            "try smallest --set mode=x",
            REJECTED,
            &["\npolyport:   --set mode: unknown option; the plugin has no options"],
        ),
        (
            "try smallest --set mode",
            REJECTED,
            &["polyport: --set: expected KEY=VALUE, found \"mode\""],
        ),
        (
            "try smallest --set a/b=c",
            REJECTED,
            &["polyport: --set: expected a dotted key before =, found \"a/b\""],
        ),
        ("try asks", REJECTED, &["--set root: is missing"]),
        (
            "try ./text.so",
            REJECTED,
            &["/text.so: it is not an ELF file"],
        ),
        ("try fifo", REJECTED, &["/fifo: it is not a regular file"]),
        ("try ./fifo", REJECTED, &["/fifo: it is not a regular file"]),
        (
            "try /bin/true",
            REJECTED,
            &["it is a program, not a shared library", "-shared"],
        ),
        (
            &taken,
            FAILED,
            &[
                "polyport: --listen: cannot listen on tcp://127.0.0.1:",
                "the address is in use",
            ],
        ),
        // Only a worker finds that out.
        (
            "try starts-create_refuses",
            REJECTED,
            &["it refuses to start: the database is away"],
        ),
        ("plugins show ./text.so", FAILED, &["it is not an ELF file"]),
        (
            "plugins check ./text.so",
            FAILED,
            &["it is not an ELF file"],
        ),
        (
            "plugins check asks --set root=/ --set lenght=7",
            FAILED,
            &["--set lenght: unknown option, did you mean `length`?"],
        ),
        ("plugins check asks", FAILED, &["--set root: is missing"]),
        (
            "plugins check ghost",
            FAILED,
            &[
                "/ghost.so: it does not exist",
                "then as libpolyport_ghost.so",
            ],
        ),
        (
            "try ask",
            REJECTED,
            &["/ask.so: it does not exist", "fix: did you mean \"asks\"?"],
        ),
        // One text is a list of one.
        (
            "plugins check asks --set root=/ --set names=ann",
            FAILED,
            &["asks 1.2.3: accepted"],
        ),
        // It is careless on purpose: it would be taken all the same.
        (
            "plugins check asks --set root=/",
            FAILED,
            &["asks 1.2.3: accepted, but it breaks rules", "BROKEN  full"],
        ),
    ];
    for (words, code, parts) in rows {
        let said = place.operate(words).exits(*code).has(parts);
        // There the log has it, and a log speaks of services.
        if !words.contains("create_refuses") {
            said.lacks(&["inline", "services."]);
        }
    }
}

#[test]
fn a_broken_configuration_rejects_every_verb_that_needs_it() {
    let place = Place::new("broken", &[smallest()], "[services.a]\nplugni = 1\n");
    for words in [
        "check",
        "try smallest",
        "plugins list",
        "plugins show smallest",
        "plugins check smallest",
    ] {
        place.operate(words).exits(REJECTED).has(&["plugni"]);
    }
}

#[test]
fn a_failure_has_its_document_too() {
    let place = Place::new("documents", &[smallest()], "");
    fs::write(place.path().join("broken.toml"), "[daemon]\nx = 1\n").expect("written");
    for (words, code) in [
        ("status --json", NOT_RUNNING),
        ("stop --json", NOT_RUNNING),
        ("plugins show ghost --json", FAILED),
        (
            "plugins list --json --set daemon.plugin_dir=/nowhere",
            FAILED,
        ),
        ("plugins list --json --set daemon.x=1", REJECTED),
        ("plugins show smallest --json --set daemon.x=1", REJECTED),
    ] {
        let said = place.operate(words).exits(code);
        let document = said.json();
        assert_eq!(document["exit"], code, "{}", said.all());
        let error = document["error"].as_str().expect("a text");
        let printed = said.stderr.replace("polyport: ", "");
        assert_eq!(printed.trim_end(), error, "{}", said.all());
    }
    // The verb's question is answered: its own document says no.
    let said = place.operate("plugins check ghost --json").exits(FAILED);
    assert_eq!(said.json()["accepted"], false);
    assert!(said.json()["problem"].is_string());
}

#[test]
fn a_check_counts_what_would_be_served() {
    let one =
        "[services.a]\nplugin = \"smallest\"\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n";
    for (name, services, parts) in [
        ("none", "", &["0 services: nothing would be served"][..]),
        (
            "one",
            one,
            &["accepted: 1 service\n", "1.0.0, 1 worker, tcp"],
        ),
    ] {
        let place = Place::new(&format!("counts-{name}"), &[smallest()], services);
        place.operate("check").exits(DONE).has(parts);
    }
}

/// What is only checked listens nowhere, so it need not be told where.
#[test]
fn a_plugin_is_checked_whatever_transport_it_speaks() {
    let plugin = build_fixture("table-datagrams_only");
    let place = Place::new("datagrams", &[plugin], "");
    for words in [
        "plugins check table-datagrams_only",
        "plugins show table-datagrams_only",
        "plugins list",
    ] {
        place.operate(words).exits(DONE).has(&["table"]);
    }
    place
        .operate("try table-datagrams_only")
        .exits(REJECTED)
        .has(&["polyport: --listen: the plugin table does not speak streams"]);
}

/// These know everything from the program itself.
#[test]
fn keys_and_completions_need_no_configuration() {
    let said = |words: &str| {
        let mut command = polyport();
        command.args(words.split_whitespace());
        Said::of(words, &run_to_end(command))
    };
    let keys = said("config schema --json").exits(DONE).json();
    let keys = keys.as_array().expect("a list");
    let idle = keys
        .iter()
        .find(|row| row["key"] == "services.*.limits.idle");
    let idle = idle.expect("a key");
    assert_eq!(
        (&idle["default"], &idle["required"]),
        (&"\"5m\"".into(), &false.into())
    );
    said("config schema")
        .exits(DONE)
        .has(&["services.*.plugin\n    a text; required\n"]);
    for shell in ["bash", "zsh", "fish"] {
        said(&format!("completions {shell}"))
            .exits(DONE)
            .has(&["polyport", "log-level"]);
    }
    let script = said("completions bash --json").exits(DONE).json();
    assert!(script["script"].is_string());
}

#[test]
fn the_doctor_names_what_is_amiss_and_how_to_mend_it() {
    let services = "[services.a]\nplugin = \"nobody\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
                    limits.connections = 1000000\nworkers = 1\nsocket.backlog = 65535\n";
    let place = Place::new("doctor", &[smallest()], services);
    place.operate("doctor").exits(DEGRADED).has(&[
        "kernel ",
        "sandbox ",
        "! a: plugin",
        "fix: install it",
        "a: socket.backlog",
        "net.core.somaxconn",
    ]);
    let findings = place.operate("doctor --json").exits(DEGRADED).json();
    let findings = findings.as_array().expect("a list");
    assert!(findings.iter().any(|it| it["what"] == "RLIMIT_NOFILE"));
    let broken = Place::new("doctor-broken", &[], "[services");
    broken
        .operate("doctor")
        .exits(DEGRADED)
        .has(&["! configuration", "polyport.toml"]);
}
