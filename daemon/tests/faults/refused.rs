//! Plugins that are not taken at the start: each costs its own service and says why.
//!
//! Files, tables, settings and trust, each a table of rows that `rows` plays; and the refusals that
//! only a worker meets.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use super::rows::{Row, refuse, row};
use super::scene::{Scene, copy_of_smallest, good_service, service_table};
use crate::support::daemon::{Daemon, Directory};
use crate::support::fixtures::build_fixture;

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
                ["/gone.so: it does not exist", "install the plugin there"],
            ),
            row(
                "unnamed",
                "nobody-has-this".into(),
                [
                    "/nobody-has-this.so: it does not exist",
                    "then as libpolyport_nobody_has_this.so",
                ],
            ),
            row("text", text, ["it is not an ELF file", "cc -shared"]),
            row("empty", empty, ["it is not an ELF file"]),
            row(
                "executable",
                "/bin/true".into(),
                ["it is a program, not a shared library"],
            ),
            row("folder", folder.to_owned(), ["it is not a regular file"]),
            row("pipe", pipe, ["/p: it is not a regular file"]),
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
                ["does not export `polyport_plugin_v1`\n"],
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
                ["`polyport_plugin_v1` returned NULL"],
            ),
            row(
                "magic",
                table("bad_magic"),
                ["0x12345678 instead of PP_MAGIC"],
            ),
            row(
                "major",
                table("other_major"),
                ["ABI major 7, this daemon has major 1"],
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
                &["services.required.settings.root: is missing"],
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
                    "3 of its settings cannot be taken\n",
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
            [
                "anyone.so: it is not trusted",
                "mode 0757",
                "fix: chmod go-w",
            ],
        ),
        row("group", group, ["group.so: it is not trusted", "mode 0775"]),
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
            ["foreign.so: it is not trusted", "belongs to user 12345"],
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
