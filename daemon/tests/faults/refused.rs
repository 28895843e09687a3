//! Plugins that are not taken at the start: each costs its own service and says why.
//!
//! The rows of one table are services of one daemon, with a good neighbour among them; so each text
//! is compared with all others, too.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use super::scene::{Peer, Scene, copy_of_smallest, family_and_strays, good_service, service_table};
use crate::support::daemon::{Daemon, Directory};
use crate::support::fixtures::build_fixture;

struct Row {
    name: &'static str,
    plugin: PathBuf,
    settings: &'static str,
    texts: Vec<String>,
}

fn row<const N: usize>(name: &'static str, plugin: PathBuf, texts: [&str; N]) -> Row {
    Row {
        name,
        plugin,
        settings: "",
        texts: texts.map(str::to_owned).to_vec(),
    }
}

/// A library whose ELF header has this byte there.
fn patched(folder: &Path, name: &str, at: usize, byte: u8) -> PathBuf {
    let path = copy_of_smallest(folder, name);
    let mut bytes = fs::read(&path).expect("read");
    bytes[at] = byte;
    fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn a_file_that_is_no_plugin_fails_its_service_alone() {
    let folder = Directory::new("refused-files-input");
    let folder = folder.path();
    let (text, empty, pipe) = (
        folder.join("text.so"),
        folder.join("empty.so"),
        folder.join("p"),
    );
    fs::write(&text, "not a library, but long enough to look like one").expect("written");
    fs::write(&empty, "").expect("written");
    mkfifo(&pipe, Mode::S_IRWXU).expect("made");
    let torn = |name, length| {
        let path = copy_of_smallest(folder, name);
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..length]).expect("written");
        path
    };
    refuse(
        "refused-files",
        vec![
            row(
                "missing",
                folder.join("gone.so"),
                ["gone.so does not exist"],
            ),
            row(
                "unnamed",
                "nobody-has-this".into(),
                ["nobody-has-this", "does not exist"],
            ),
            row("text", text, ["it is not an ELF file", "cc -shared"]),
            row("empty", empty, ["it is not an ELF file"]),
            row("folder", folder.to_owned(), ["is not a regular file"]),
            row("pipe", pipe, ["/p is not a regular file"]),
            row(
                "arch",
                patched(folder, "arch.so", 18, 183),
                ["built for aarch64"],
            ),
            row(
                "width",
                patched(folder, "width.so", 4, 1),
                ["32-bit or big-endian"],
            ),
            row(
                "program",
                patched(folder, "program.so", 16, 2),
                ["not a shared library"],
            ),
            row(
                "torn-early",
                torn("early.so", 64),
                ["the loader refuses it"],
            ),
            // The loader maps what the headers promise, and meets the end of the file.
            row(
                "torn-late",
                torn("late.so", 4096),
                ["ended its probe (signal 7 (SIGBUS))"],
            ),
        ],
    );
}

#[test]
fn a_table_that_breaks_the_handshake_fails_its_service_alone() {
    let table = |case: &str| build_fixture(&format!("table-{case}"));
    refuse(
        "refused-tables",
        vec![
            row(
                "symbol",
                table("no_symbol"),
                ["does not export `polyport_plugin_v0`\n"],
            ),
            row("abi", table("other_symbol"), ["but `polyport_plugin_v3`"]),
            row(
                "function",
                table("missing_function"),
                ["loader refuses", "nobody_has_this"],
            ),
            row(
                "null",
                table("null"),
                ["`polyport_plugin_v0` returned NULL"],
            ),
            row(
                "magic",
                table("bad_magic"),
                ["0x12345678 instead of PP_MAGIC"],
            ),
            row(
                "major",
                table("other_major"),
                ["ABI major 7, this daemon has major 0"],
            ),
            row("minor", table("newer_minor"), ["needs ABI minor 9"]),
            row("short", table("short_table"), ["its table has 120 bytes"]),
            row(
                "absurd",
                table("absurd_size"),
                ["claims to have 268435456 bytes"],
            ),
            row(
                "flags",
                table("unknown_flags"),
                ["flags", "0x8000000000000000"],
            ),
            row("reserved", table("reserved"), ["3 in the field reserved0"]),
            row(
                "extension",
                table("missing_extension"),
                ["\"polyport.future/3\""],
            ),
            row(
                "no-way",
                table("no_way_in"),
                ["neither `feed` nor `datagram`"],
            ),
            row(
                "name",
                table("name_moves_cursor"),
                ["the `name` of its table"],
            ),
            row(
                "option",
                table("option_kind"),
                ["row 0 of its option table"],
            ),
            row("needs", table("bad_needs"), ["its needs: "]),
        ],
    );
}

#[test]
fn settings_that_a_plugin_does_not_take_are_named_with_their_place() {
    let asks = || build_fixture("asks");
    let with = |name, settings, texts: &[&str]| Row {
        name,
        plugin: asks(),
        settings,
        texts: texts.iter().map(|&text| text.to_owned()).collect(),
    };
    refuse(
        "refused-settings",
        vec![
            with(
                "kind",
                "root = \"/\"\nlength = \"long\"\n",
                &["polyport.toml:{length}: services.kind.settings.length: found a text"],
            ),
            with(
                "bounds",
                "root = \"/\"\nlength = 5000\n",
                &["polyport.toml:{length}: ", "5000 is not between 1 and 1000"],
            ),
            with(
                "required",
                "length = 7\n",
                &["services.required.settings.root: is required"],
            ),
            with(
                "unknown",
                "root = \"/\"\nlenght = 7\n",
                &[
                    "polyport.toml:{lenght}: ",
                    "unknown option, did you mean `length`?",
                ],
            ),
            with(
                "several",
                "lenght = 7\npause = \"soon\"\n",
                &[
                    "3 of its settings",
                    "settings.lenght",
                    "settings.pause",
                    "settings.root",
                ],
            ),
            row(
                "check",
                build_fixture("starts-check_refuses"),
                ["it refuses its settings: `root` is \\u{1b}[31mno folder"],
            ),
        ],
    );
}

#[test]
fn a_plugin_that_others_could_have_changed_is_not_loaded() {
    let folder = Directory::new("refused-trust-input");
    let folder = folder.path();
    let with_mode = |path: PathBuf, mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
        path
    };
    let anyone = with_mode(copy_of_smallest(folder, "anyone.so"), 0o757);
    let group = with_mode(copy_of_smallest(folder, "group.so"), 0o775);
    let link = folder.join("link.so");
    symlink(&anyone, &link).expect("linked");
    let open = folder.join("open");
    fs::create_dir(&open).expect("made");
    let below = copy_of_smallest(&open, "below.so");
    with_mode(open.clone(), 0o775);
    let mut rows = vec![
        row(
            "anyone",
            anyone,
            ["anyone.so is not trusted", "mode 0757", "fix: chmod go-w"],
        ),
        row("group", group, ["group.so is not trusted", "mode 0775"]),
        // What the link leads to is what would be loaded.
        row("link", link, ["anyone.so is not trusted"]),
        row("parent", below, ["/open is not trusted", "fix: chmod go-w"]),
    ];
    if Uid::effective().is_root() {
        let foreign = copy_of_smallest(folder, "foreign.so");
        chown(&foreign, Some(12_345), None).expect("given away");
        rows.push(row(
            "foreign",
            foreign,
            ["foreign.so is not trusted", "belongs to user 12345"],
        ));
    }
    refuse("refused-trust", rows);
}

#[test]
fn a_link_to_a_trusted_plugin_is_as_good_as_the_plugin() {
    let folder = Directory::new("refused-link-input");
    let link = folder.path().join("link.so");
    symlink(copy_of_smallest(folder.path(), "target.so"), &link).expect("linked");
    let scene = Scene::start("refused-link", "", &link, "");
    scene.bad().echoes("through the link\n");
    scene.finish(&[]);
}

/// A refusal of `create` comes from a worker, so only serving finds it.
#[test]
fn a_plugin_whose_create_refuses_fails_its_service_alone() {
    let plugin = build_fixture("starts-create_refuses");
    let free = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = free.local_addr().expect("an address");
    drop(free);
    let text = format!(
        "[daemon]\n{}{}",
        good_service(),
        service_table("bad", &plugin, "workers = 2\n").replace("127.0.0.1:0", &address.to_string())
    );
    let mut scene = Scene::of(Daemon::start("refused-create", &text));
    let status = scene.daemon.wait_for("the service to fail", |status| {
        status["services"]["bad"]["state"] == "gone"
    });
    let failure = status["services"]["bad"]["failure"]
        .as_str()
        .expect("a failure");
    assert!(
        failure.contains("it refuses to start: the database is away"),
        "{failure}"
    );
    assert!(failure.contains("fix: "), "{failure}");
    assert_eq!(scene.daemon.operate(&["status"]).status.code(), Some(7));
    assert!(scene.daemon.worker_pids("bad").is_empty());
    assert_eq!(
        status["services"]["bad"]["listen"].as_array().map(Vec::len),
        Some(0)
    );
    let error = TcpStream::connect(address).expect_err("nobody would answer");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    scene.neighbour_is_unharmed();
    scene.finish(&["the database is away"]);
}

/// One daemon with a service per row, and the neighbour.
fn refuse(name: &str, rows: Vec<Row>) {
    let mut text = format!("[daemon]\n{}", good_service());
    for row in &rows {
        let settings = match row.settings {
            "" => String::new(),
            lines => format!("[services.{}.settings]\n{lines}", row.name),
        };
        text += &service_table(row.name, &row.plugin, &settings);
    }
    let mut scene = Scene::of(Daemon::start(name, &text));
    let file = fs::read_to_string(scene.daemon.directory().join("polyport.toml")).expect("read");

    let status = scene.daemon.status();
    let check = scene.daemon.operate(&["check", "--json"]);
    assert_eq!(
        check.status.code(),
        Some(5),
        "check rejects such a configuration"
    );
    let check: serde_json::Value = serde_json::from_slice(&check.stdout).expect("JSON");
    assert_eq!(check["services"]["good"]["accepted"], true);
    let mut seen = BTreeMap::new();
    for row in &rows {
        let service = &status["services"][row.name];
        let failure = service["failure"]
            .as_str()
            .unwrap_or_else(|| panic!("{} serves", row.name));
        let problem = check["services"][row.name]["problem"]
            .as_str()
            .expect("check's word");
        for text in &row.texts {
            let text = with_line(text, &file, row.name);
            assert!(
                failure.contains(&text),
                "{}: {text:?} is missing from:\n{failure}",
                row.name
            );
            // The check speaks to a terminal through the same words, escaped when shown.
            if !text.contains("\\u{") {
                assert!(
                    problem.contains(&text),
                    "{}: {text:?} in check:\n{problem}",
                    row.name
                );
            }
        }
        assert!(
            failure.contains("\n  fix: "),
            "{}: no fix in:\n{failure}",
            row.name
        );
        assert!(
            failure.starts_with(&format!("services.{}: plugin ", row.name)),
            "{failure}"
        );
        let problem_alone = failure
            .replace(row.name, "")
            .replace(row.plugin.to_str().expect("text"), "");
        if let Some(other) = seen.insert(problem_alone, row.name) {
            assert!(
                ["empty", "text", "pipe", "folder"].contains(&row.name),
                "{} and {other} read the same:\n{failure}",
                row.name
            );
        }
        assert_eq!(service["state"], "gone");
        assert_eq!(service["listen"].as_array().map(Vec::len), Some(0));
        assert_eq!(service["workers"].as_array().map(Vec::len), Some(0));
    }
    let page = scene.daemon.operate(&["status"]);
    assert_eq!(page.status.code(), Some(7), "a service has failed");
    assert!(
        !page.stdout.contains(&0x1b),
        "a plugin reached the terminal"
    );
    assert_eq!(
        family_and_strays(&scene.daemon),
        scene.daemon.worker_pids("good")
    );
    scene.neighbour_is_unharmed();
    Peer::connect(scene.daemon.address("good", 0)).echoes("still\n");
    scene.finish(&["failed, and stays so"]);
}

/// Replaces `{key}` by the number of the line of the row's section that sets the key.
fn with_line(text: &str, file: &str, service: &str) -> String {
    let Some((before, rest)) = text.split_once("toml:{") else {
        return text.to_owned();
    };
    let (key, after) = rest.split_once('}').expect("a closing brace");
    let section = format!("[services.{service}.settings]");
    let lines = (1..)
        .zip(file.lines())
        .skip_while(|(_, line)| *line != section);
    let found = lines
        .map(|(number, line)| (number, line))
        .find(|(_, line)| line.starts_with(key));
    let (number, _) = found.expect("the key is in the file");
    format!("{before}toml:{number}{after}")
}
