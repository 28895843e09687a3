//! Plugins that are refused before any of their callbacks runs, and in which words.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;

use folder::Folder;
use polyport::plugin_host::load;

#[test]
fn each_broken_table_is_refused_in_words_of_its_own() {
    let rows = [
        ("no_symbol", "it does not export `polyport_plugin_v1`
  fix: perhaps this is not a plugin; use export_plugin! (Rust), or define the symbol with default visibility (C)"),
        ("other_symbol", "it does not export `polyport_plugin_v1`, but `polyport_plugin_v3`: it is built for another ABI
  fix: install the plugin built for this daemon's ABI, or the daemon of the plugin's"),
        ("before_the_freeze", "it does not export `polyport_plugin_v1`, but `polyport_plugin_v0`: it is built for the draft ABI, before the first that lasts
  fix: build the plugin anew with this daemon's polyport_plugin.h or SDK: the entry is polyport_plugin_v1 now"),
        ("null", "`polyport_plugin_v1` returned NULL
  fix: the plugin gives up on this machine: ask its author which requirement is not met"),
        ("bad_magic", "its table starts with 0x12345678 instead of PP_MAGIC (0x474c5050)
  fix: start the table with PP_MAGIC; perhaps another program's plugin has the same symbol"),
        ("other_major", "it is built for ABI major 7, this daemon has major 1
  fix: rebuild the plugin with this daemon's polyport_plugin.h"),
        ("newer_minor", "it needs ABI minor 9, this daemon has minor 0
  fix: upgrade the daemon, or lower min_host_minor if the plugin can do without"),
        ("short_table", "its table has 120 bytes, the least is 192
  fix: set `size` to sizeof(pp_plugin)"),
        ("shorter_than_its_head", "its table has 8 bytes, the least is 192
  fix: set `size` to sizeof(pp_plugin)"),
        ("absurd_size", "its table claims to have 268435456 bytes
  fix: set `size` to sizeof(pp_plugin), in bytes"),
        ("unknown_flags", "it sets flags that this daemon does not know: 0x8000000000000000
  fix: upgrade the daemon, or clear the flags it does not know"),
        ("reserved", "its table has 3 in the field reserved0
  fix: leave reserved fields zero"),
        ("missing_extension", "it requires the extension \"polyport.future/3\", which this daemon does not have
  fix: upgrade the daemon, or install a plugin that does without it"),
        ("no_way_in", "it has neither `feed` nor `datagram`, so nothing can reach it
  fix: set `feed` for streams, `datagram` for datagrams, or both; or offer polyport.blocking/1"),
        ("no_name", "the `name` of its table is missing or empty
  fix: give a static text ended by NUL: UTF-8, without control characters"),
        ("name_not_utf8", "the `name` of its table is not UTF-8
  fix: give a static text ended by NUL: UTF-8, without control characters"),
        ("name_moves_cursor", "the `name` of its table holds control characters: \"e\\u{1b}[2Jvil\"
  fix: give a static text ended by NUL: UTF-8, without control characters"),
        ("refusal_long", "the `refusal` of its table is longer than 1024 bytes
  fix: say it in fewer bytes"),
        ("option_stride", "row 0 of its option table: option_stride is 12, but sizeof(pp_option) is 56
  fix: correct that row of the plugin's option table"),
        ("option_null", "row 0 of its option table: option_count is 1, but `options` is NULL
  fix: correct that row of the plugin's option table"),
        ("option_many", "row 256 of its option table: there are 100000 rows, the most is 256
  fix: correct that row of the plugin's option table"),
        ("option_twice", "row 1 of its option table: the name `mode` is used twice
  fix: correct that row of the plugin's option table"),
        ("option_kind", "row 0 of its option table: `mode` has the unknown kind 99
  fix: correct that row of the plugin's option table"),
        ("bad_needs", "its needs: \"$root\" names no option
  fix: correct what the plugin's `polyport.needs/1` returns"),
        ("blocking_short", "its polyport.blocking/1: its size is 8, but sizeof(pp_blocking_1) is 24
  fix: correct what the plugin's `polyport.blocking/1` returns"),
        ("carry_without_format", "its polyport.carry/1: its `format` is 0
  fix: correct what the plugin's `polyport.carry/1` returns"),
        ("carry_one_way", "its polyport.carry/1: one of its functions is NULL
  fix: correct what the plugin's `polyport.carry/1` returns"),
        ("blocking_empty", "its polyport.blocking/1: it has neither `serve` nor `serve_datagram`
  fix: correct what the plugin's `polyport.blocking/1` returns"),
        ("blocking_and_feed", "its polyport.blocking/1: streams go either to its `serve` or to the table's `feed`, not to both
  fix: correct what the plugin's `polyport.blocking/1` returns"),
        ("blocking_and_datagram", "its polyport.blocking/1: datagrams go either to its `serve_datagram` or to the table's `datagram`, not to both
  fix: correct what the plugin's `polyport.blocking/1` returns"),
        ("required_endless", "the `required_ext` of its table has more than 64 entries
  fix: give a static text ended by NUL: UTF-8, without control characters"),
        ("name_endless", "the `name` of its table is longer than 256 bytes
  fix: give a static text ended by NUL: UTF-8, without control characters"),
        ("option_stride_odd", "row 0 of its option table: option_stride is 57, but sizeof(pp_option) is 56
  fix: correct that row of the plugin's option table"),
        ("option_stride_huge", "row 0 of its option table: option_stride is 4294967288, but sizeof(pp_option) is 56
  fix: correct that row of the plugin's option table"),
        ("option_nameless", "row 0 of its option table: its name \"\" is not of the form [a-z][a-z0-9_]*
  fix: correct that row of the plugin's option table"),
        ("option_flags", "row 0 of its option table: `flags` has unknown bits: 0x6
  fix: correct that row of the plugin's option table"),
        ("option_bounds", "row 0 of its option table: `most` has a minimum of 9 above its maximum of 1
  fix: correct that row of the plugin's option table"),
        ("option_choices", "row 0 of its option table: `most` is no text, so it cannot have choices
  fix: correct that row of the plugin's option table"),
        ("needs_short", "its needs: its size is 4, but sizeof(pp_needs_1) is 24
  fix: correct what the plugin's `polyport.needs/1` returns"),
        ("needs_flags", "its needs: unknown flags 0x80
  fix: correct what the plugin's `polyport.needs/1` returns"),
        ("needs_relative", "its needs: \"../../etc/shadow\" is neither absolute nor the $name of an option
  fix: correct what the plugin's `polyport.needs/1` returns"),
        ("carry_short", "its polyport.carry/1: its size is 0, but sizeof(pp_carry_1) is 24
  fix: correct what the plugin's `polyport.carry/1` returns"),
        ("work_short", "its polyport.work/1: its size is 15, but sizeof(pp_work_sink_1) is 16
  fix: correct what the plugin's `polyport.work/1` returns"),
        ("bus_short", "its polyport.bus/1: its size is 56, but sizeof(pp_bus_sink_1) is 64
  fix: correct what the plugin's `polyport.bus/1` returns"),
        ("bus_holes", "its polyport.bus/1: one of its functions is NULL
  fix: correct what the plugin's `polyport.bus/1` returns"),
        ("answers_all", "its polyport.blocking/1: it has neither `serve` nor `serve_datagram`
  fix: correct what the plugin's `polyport.blocking/1` returns"),
        ("work_empty", "its polyport.work/1: its `done` is NULL
  fix: correct what the plugin's `polyport.work/1` returns"),
    ];
    let folder = Folder::new("tables");
    for (case, expected) in rows {
        let refused = folder.admit(&format!("table-{case}"));
        let error = refused
            .map(|admitted| admitted.name().to_owned())
            .expect_err(case);
        assert_eq!(error.to_string(), expected, "{case}");
    }
    assert_eq!(
        folder.admit("table").expect("the unbroken table").name(),
        "table"
    );
}

#[test]
fn a_refusal_is_any_bytes_of_the_length_that_is_said() {
    let folder = Folder::new("refusal");
    for (fixture, expected) in [("table", &b""[..]), ("table-refusal", b"not \0now")] {
        let admitted = folder.admit(fixture).expect("admitted");
        let descriptor = admitted.descriptor(admitted.declared_needs());
        assert_eq!(descriptor.refusal, expected, "{fixture}");
    }
}

#[test]
fn a_default_that_its_own_option_refuses_is_the_authors_mistake() {
    let folder = Folder::new("default");
    let error = folder
        .admit("table-option_default")
        .expect_err("refused")
        .to_string();
    assert!(error.starts_with("row 0 of its option table: `idle` has the default \"soon\", but "));
}

#[test]
fn what_the_loader_misses_is_said_in_its_own_words() {
    let folder = Folder::new("loader");
    let error = folder
        .admit("table-missing_function")
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("undefined symbol: nobody_has_this"),
        "{error}"
    );
}

#[test]
fn what_is_not_a_library_of_this_machine_is_told_apart() {
    let folder = Folder::new("elf");
    let good = folder.install("table");
    let patched = |name: &str, at: usize, with: u8| {
        let mut bytes = std::fs::read(&good).expect("read");
        bytes[at] = with;
        let path = folder.0.join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let text = folder.0.join("text.so");
    std::fs::write(&text, "#!/bin/sh\n").expect("written");
    let empty = folder.0.join("empty.so");
    std::fs::write(&empty, "").expect("written");
    // Offsets of elf(5): class, machine, type.
    let rows = [
        (text, "it is not an ELF file"),
        (empty, "it is not an ELF file"),
        (
            patched("narrow.so", 4, 1),
            "it is a 32-bit or big-endian ELF file",
        ),
        (
            patched("mainframe.so", 18, 22),
            "it is built for s390x, this machine is ",
        ),
        (
            patched("program.so", 16, 2),
            "it is an ELF file, but not a shared library",
        ),
    ];
    for (path, expected) in rows {
        let error = folder
            .take(&path)
            .and_then(|code| load(&code, None))
            .expect_err(expected);
        assert!(error.to_string().starts_with(expected), "{path:?}: {error}");
    }
}
