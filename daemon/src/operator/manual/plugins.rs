//! polyport-plugins(7): what a plugin is for an administrator, and what its author looks up.

use polyport_plugin::abi;

use super::roff::Roff;

const WHAT: &str = "\
A plugin is a shared library that speaks one protocol. A service in polyport.toml(5) names it: \
`plugin = \"gopher\"` is `gopher.so` in `daemon.plugin_dir`, else `libpolyport_gopher.so` there; an \
absolute path is taken as it is. A new file is put into service by `polyport reload`, and so is one that \
has taken the place of another.";

const TRUST: &str = "\
The daemon takes a file only if it is regular, belongs to root, to the daemon's user or to the user of its \
service, and can be written by nobody else; the same holds for every folder above it, sticky ones excepted. It is copied into \
the state directory under a name made of its content, and the copy is what is tried and what serves: to \
change the file does not change what runs. `services.*.sha256` pins the content; `polyport plugins verify` \
says of each service's plugin whether its place is trusted and whether it is what is pinned, and runs none of its \
code.

A process of its own tries the plugin before it serves, and nothing but workers of its service run it \
then. Both have no capability, no right to open, connect, bind, execute or signal beyond what the plugin has \
declared, and lose these before the plugin's first session. `polyport status` says how far each service's \
workers are closed; `daemon.sandbox = \"log\"` tells what a plugin would have to declare.";

const ENTRY: &str = "\
The library exports one function, which returns a constant table. It imports nothing from the daemon. \
The header `polyport_plugin.h` in the package `polyport-dev` is the source of truth, \
`pkg-config --cflags polyport-plugin` finds it.";

/// What is not in every plugin, each with what it brings.
const EXTENSIONS: [(&str, &str); 7] = [
    (
        abi::EXT_NEEDS,
        "Declares what the sandbox must allow: files to read or write, to connect, to execute, to make \
         code at run time. `polyport plugins show` prints it.",
    ),
    (
        abi::EXT_BLOCKING,
        "Serves each connection by one call on a thread that may wait.",
    ),
    (
        abi::EXT_WORK,
        "Runs a function on a thread that may wait, and brings its result back as a callback.",
    ),
    (
        abi::EXT_FILE,
        "Sends a part of a file without copying it, and without a wait for the disk.",
    ),
    (
        abi::EXT_CARRY,
        "Lets a live session go on in another worker, over a reload or an upgrade.",
    ),
    (
        abi::EXT_BUS,
        "Topics with history, and names that one worker holds, across all workers.",
    ),
    (
        abi::EXT_METRICS,
        "Counters, gauges and histograms of the plugin's own, among those of `polyport metrics`.",
    ),
];

pub(super) fn page() -> String {
    let mut roff = Roff::page("polyport-plugins", 7, "plugins of polyport(8)");
    roff.heading("DESCRIPTION");
    roff.paragraphs(WHAT);
    roff.heading("TRUST");
    roff.paragraphs(TRUST);
    roff.heading("INTERFACE");
    roff.paragraphs(ENTRY);
    let symbol = format!("polyport_plugin_v{}", abi::MAJOR);
    let facts = format!(
        "The function's name. This daemon speaks revision {}.{} of the interface; a plugin of the same \
         major that asks for no later minor is taken, whatever built it.",
        abi::MAJOR,
        abi::MINOR
    );
    roff.term(&symbol, &facts);
    roff.heading("EXTENSIONS");
    roff.paragraphs("Tables of either side, found by a name that ends in its revision:");
    for (id, text) in EXTENSIONS {
        roff.term(id, text);
    }
    roff.heading("TRYING ONE");
    roff.example(
        "polyport new-plugin finger\n\
         polyport plugins check ./finger.so\n\
         polyport try ./finger.so --listen tcp://127.0.0.1:7079",
    );
    roff.see_also(
        &[
            ("polyport", 8),
            ("polyport.toml", 5),
            ("dlopen", 3),
            ("seccomp", 2),
            ("landlock", 7),
        ],
        "How to write one is in writing-plugins.md, what one may do in sandbox.md.",
    );
    roff.into_text()
}
