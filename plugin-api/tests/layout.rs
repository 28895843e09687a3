//! The ABI's layout is one thing said three times: by the C header, by `abi`, and by the committed
//! `layout.txt`. Here all three are made equal: a C program and this file print every size, offset,
//! constant and signature, each line derived from what the compiler of its language really has.
//!
//! `POLYPORT_BLESS=1 cargo test -p polyport-plugin --test layout` rewrites `layout.txt`; read what
//! changed, for every changed line breaks plugins that exist.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use polyport_plugin::abi;

mod compiler;
mod names;

use compiler::{compile, folder, scratch};
use names::{Names, declared_type};

#[test]
fn the_header_and_the_bindings_have_the_committed_layout() {
    let committed = folder().join("layout.txt");
    let from_c = printed_by_c();
    if std::env::var_os("POLYPORT_BLESS").is_some() {
        fs::write(&committed, &from_c).expect("layout.txt is writable when blessing");
    }
    let expected = fs::read_to_string(&committed).expect("layout.txt is committed");
    assert_same("the C header", &from_c, &expected);
    assert_same("abi/mod.rs", &printed_by_rust(), &expected);
}

#[test]
fn every_byte_of_every_struct_belongs_to_a_listed_field() {
    let text = printed_by_rust();
    let mut structs = 0;
    let mut open: Option<(&str, usize, usize)> = None;
    for line in text.lines().chain(["end"]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with("  ") {
            let (name, size, end) = open.expect("a field follows its struct");
            let offset: usize = words[0].parse().expect("an offset");
            let field: usize = words[1].parse().expect("a size");
            assert_eq!(
                offset, end,
                "{name}: a field is missing or padded before {}",
                words[2]
            );
            open = Some((name, size, end + field));
            continue;
        }
        if let Some((name, size, end)) = open.take() {
            assert_eq!(
                end, size,
                "{name}: fields at the end are missing in the list"
            );
            structs += 1;
        }
        if words[0] == "struct" {
            open = Some((words[1], words[3].parse().expect("a size"), 0));
        }
    }
    let header = fs::read_to_string(header()).expect("the header is there");
    let declared = header.matches("typedef struct").count();
    assert_eq!(structs, declared - 2, "all structs but the two opaque ones");
}

#[test]
fn every_constant_of_the_header_is_listed() {
    let layout = printed_by_rust();
    let header = fs::read_to_string(header()).expect("the header is there");
    let code = without_comments(&header);
    let mut checked = 0;
    for line in code.lines() {
        let define = line.strip_prefix("#define ");
        for part in define.unwrap_or(line).split([',', '{']) {
            let name = part.split_whitespace().next().unwrap_or("");
            let is_value = define.is_some() || part.contains('=');
            if !name.starts_with("PP_") || name.contains('(') || !is_value {
                continue;
            }
            let listed = layout
                .lines()
                .any(|line| line.split_whitespace().nth(1) == Some(name));
            assert!(
                listed,
                "{name} is in the header and not in the layout's list"
            );
            checked += 1;
        }
    }
    assert_eq!(
        checked,
        layout.matches("\nconstant ").count() + layout.matches("\ntext ").count() + 1,
        "with the first line and the extensions' ids"
    );
}

#[test]
fn the_header_compiles_cleanly_in_every_promised_language() {
    let folder = scratch("languages");
    for (compiler, standard, file) in [
        ("cc", "c99", "header.c"),
        ("cc", "c11", "header.c"),
        ("cc", "c17", "header.c"),
        ("c++", "c++11", "header.cpp"),
        ("c++", "c++17", "header.cpp"),
        ("c++", "c++20", "header.cpp"),
    ] {
        let source = folder.join(file);
        fs::write(&source, USES_EVERY_MACRO).expect("the scratch folder is writable");
        let standard = format!("-std={standard}");
        let mut flags = vec![&*standard, "-c"];
        flags.extend(STRICT);
        compile(compiler, &flags, &source, &folder.join("header.o"));
    }
}

/// Beside -Wall, -Wextra and -Werror: what authors may compile their plugins with.
const STRICT: [&str; 7] = [
    "-Wpedantic",
    "-Wpadded",
    "-Wshadow",
    "-Wundef",
    "-Wconversion",
    "-Wcast-qual",
    "-Wwrite-strings",
];

const USES_EVERY_MACRO: &str = "
#include <polyport_plugin.h>
int64_t number_of(const pp_settings *settings, uint32_t index);
int64_t number_of(const pp_settings *settings, uint32_t index) {
  return PP_VALUE(settings, index)->number;
}
int has_clock(const pp_host_api *api);
int has_clock(const pp_host_api *api) { return PP_HAS(pp_host_api, api, now_ms); }
int main(void) { return PP_MAGIC == 0 ? PP_E_FAIL : PP_OK; }
";

fn printed_by_c() -> String {
    let program = scratch("layout").join("layout");
    compile(
        "cc",
        &["-std=c99", "-pedantic"],
        &folder().join("tests/layout.c"),
        &program,
    );
    let output = Command::new(&program)
        .output()
        .expect("the compiled program runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("the program prints ASCII")
}

/// A struct's fields, each with the type that `declared_type` finds out from the compiler.
macro_rules! layout {
    ($out:ident, $c_name:literal, $type:ty, [$($field:ident),* $(,)?]) => {{
        writeln!($out, "struct {} size {}", $c_name, size_of::<$type>())
            .expect("a String takes everything");
        $(
            let (size, name) = declared_type(|it: &$type| &it.$field);
            let offset = std::mem::offset_of!($type, $field);
            writeln!($out, "  {offset} {size} {}: {name}", stringify!($field))
                .expect("a String takes everything");
        )*
    }};
}

macro_rules! constants {
    ($out:ident, [$($name:ident),* $(,)?]) => {
        $(
            writeln!($out, "constant PP_{} {}", stringify!($name), i128::from(abi::$name))
                .expect("a String takes everything");
        )*
    };
}

#[rustfmt::skip]
fn printed_by_rust() -> String {
    let mut out = String::new();
    constants!(out, [
        MAGIC, MAJOR, MINOR,
        OK, E_FAIL, E_ARG, E_UNSUPPORTED, E_GONE, E_FULL, E_CONFIG, E_PANIC, E_CANCELLED, E_TIMEOUT,
        E_THREAD, E_BUSY,
        LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR,
        CLOSE_FINISH, CLOSE_ABORT, CLOSE_DONE,
        WRITE_FINISH,
        END_FINISHED, END_ABORTED, END_LOST, END_IDLE, END_LIMIT, END_DRAIN, END_FAULT,
        END_FILE,
        END_CARRIED,
        PEER_FIRST,
        KIND_TEXT, KIND_INTEGER, KIND_BOOLEAN, KIND_DURATION, KIND_SIZE, KIND_LIST,
        INFO_CREDENTIALS, INFO_PROXIED, INFO_TO_MANY,
        REPLIES, REFUSAL_MAX,
        FAMILY_UNIX, FAMILY_IPV4, FAMILY_IPV6,
        NEEDS_CONNECT, NEEDS_EXEC, NEEDS_JIT,
        READ_PEEK,
        FILE_RANGES,
        CARRY_BYTES_MAX,
        BUS_NAME_BYTES, BUS_ID_BYTES, BUS_VALUE_BYTES, BUS_MESSAGE_BYTES, BUS_LAST, BUS_FROM,
        BUS_HISTORY_ONLY, LEASE_WON, LEASE_DENIED, LEASE_LOST,
        METRICS_MAX, METRIC_NAME_BYTES, METRIC_HELP_BYTES, METRIC_BOUNDS_MAX,
        METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM,
    ]);
    for (name, id) in [
        ("NEEDS", abi::EXT_NEEDS), ("BLOCKING", abi::EXT_BLOCKING), ("WORK", abi::EXT_WORK),
        ("FILE", abi::EXT_FILE), ("CARRY", abi::EXT_CARRY), ("BUS", abi::EXT_BUS),
        ("METRICS", abi::EXT_METRICS),
    ] {
        writeln!(out, "text PP_EXT_{name} {id}").expect("a String takes everything");
    }
    writeln!(out, "entry {}: {} (void)", abi::ENTRY, <*const abi::Plugin>::NAME)
        .expect("a String takes everything");
    layout!(out, "pp_bytes", abi::Bytes, [ptr, len]);
    layout!(out, "pp_text", abi::Text, [ptr, cap, len]);
    layout!(out, "pp_address", abi::Address, [family, port, scope, ip]);
    layout!(out, "pp_option", abi::OptionRow, [
        name, help, default_text, choices, min, max, kind, flags,
    ]);
    layout!(out, "pp_value", abi::Value, [kind, written, number, text, items, item_count]);
    layout!(out, "pp_settings", abi::Settings, [
        size, value_count, value_stride, worker_index, worker_count, generation, service, values,
        raw_json, endpoints, endpoint_count, udp_ports, udp_port_count,
    ]);
    layout!(out, "pp_session_info", abi::SessionInfo, [
        size, flags, peer, local, accepted_ms, endpoint, peer_pid, peer_uid, peer_gid, reserved0,
    ]);
    layout!(out, "pp_datagram", abi::Datagram, [size, flags, peer, local, reply_token, endpoint]);
    layout!(out, "pp_host_api", abi::HostApi, [
        size, major, minor, product, product_version, extension, log, log_level, now_ms, write,
        close, pause, queued, idle, send, timer_set, timer_cancel, waker_new, waker_wake,
        waker_free, fault,
    ]);
    layout!(out, "pp_plugin", abi::Plugin, [
        magic, size, major, minor, min_host_minor, reserved0, flags, name, version, build_info,
        options, option_count, option_stride, required_ext, extension, check, create, drain,
        destroy, open, feed, peer_finished, writable, closed, datagram, timer, wake,
        refusal, refusal_length,
    ]);
    layout!(out, "pp_needs_1", abi::Needs1, [size, flags, files_read, files_write]);
    layout!(out, "pp_stream", abi::Stream, [
        size, reserved0, session, inner, read, write, deadline,
    ]);
    layout!(out, "pp_blocking_1", abi::Blocking1, [size, max_parallel, serve, serve_datagram]);
    layout!(out, "pp_work_1", abi::Work1, [size, reserved0, submit]);
    layout!(out, "pp_work_sink_1", abi::WorkSink1, [size, reserved0, done]);
    layout!(out, "pp_file_1", abi::File1, [size, reserved0, send]);
    layout!(out, "pp_carry_1", abi::Carry1, [size, format, export_session, import_session]);
    layout!(out, "pp_bus_message", abi::BusMessage, [
        size, reserved0, sequence, time_ms, topic, id, bytes,
    ]);
    layout!(out, "pp_bus_1", abi::Bus1, [
        size, reserved0, publish, subscribe, unsubscribe, claim, release, watch, unwatch,
    ]);
    layout!(out, "pp_bus_sink_1", abi::BusSink1, [
        size, reserved0, link, message, missed, caught_up, published, lease, seen,
    ]);
    layout!(out, "pp_metric", abi::Metric, [size, kind, name, help, bounds, bound_count]);
    layout!(out, "pp_metrics_1", abi::Metrics1, [
        size, reserved0, define, add, change, set, record,
    ]);
    out
}

fn assert_same(side: &str, found: &str, expected: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{side} differs from layout.txt");
    }
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "{side}: number of lines"
    );
}

fn without_comments(code: &str) -> String {
    let mut rest = code;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = after
            .split_once("*/")
            .expect("the compiler has accepted the comments")
            .1;
    }
    kept + rest
}

fn header() -> PathBuf {
    folder().join("include/polyport_plugin.h")
}
