//! What lies in the folder of a new plugin, as a list of files; nothing here writes one.
//!
//! The templates are in `daemon/templates`, with marks like `@NAME@`; the SDK is the one that this
//! daemon was built with. Invariant: no path leads out of the folder.

use std::path::{Path, PathBuf};

use super::{Language, Style};

/// The SDK's sources and the header, by their paths in the SDK: see `build.rs`.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
const HEADER: &str = "include/polyport_plugin.h";

#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../../templates/", $path))
    };
}

/// All files of a new plugin.
pub(super) fn of(lang: Language, style: Style, name: &str, program: &Path) -> Vec<Source> {
    let listen = match style {
        Style::Event | Style::Blocking => "tcp://127.0.0.1:4000",
        Style::Datagram => "udp://127.0.0.1:4000",
    };
    let program = program.display().to_string();
    let marks = [
        ("@NAME@", name.to_owned()),
        ("@LIB@", name.replace('-', "_")),
        ("@LISTEN@", listen.to_owned()),
        // As make reads it.
        ("@POLYPORT@", program.replace('$', "$$").replace('#', "\\#")),
        ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let fill_in = |path: String, text: &str| Source {
        path: path.into(),
        text: marks.iter().fold(text.to_owned(), |text, (mark, word)| {
            text.replace(mark, word)
        }),
    };
    let mut service = template!("service.toml").to_owned();
    if style != Style::Datagram {
        service.push_str(template!("service-settings.toml"));
    }
    let mut files = vec![
        fill_in(format!("{name}.toml"), &service),
        fill_in(".gitignore".to_owned(), ignored(lang)),
    ];
    let parts = match lang {
        Language::Rust => rust(style),
        Language::C => c(style, name),
    };
    files.extend(parts.into_iter().map(|(path, text)| fill_in(path, text)));
    let of_sdk = SDK
        .iter()
        .filter(|(path, _)| lang == Language::Rust || *path == HEADER);
    files.extend(of_sdk.map(|(path, text)| Source {
        path: Path::new(if lang == Language::Rust { "sdk" } else { "" }).join(path),
        text: (*text).to_owned(),
    }));
    files
}

/// Where whoever looks at a new plugin begins.
pub(super) fn main_file(lang: Language, name: &str) -> String {
    match lang {
        Language::Rust => "src/lib.rs".to_owned(),
        Language::C => format!("{name}.c"),
    }
}

fn ignored(lang: Language) -> &'static str {
    match lang {
        Language::Rust => "/build\n/target\n",
        Language::C => "/build\n",
    }
}

fn rust(style: Style) -> Vec<(String, &'static str)> {
    let (plugin, test) = match style {
        Style::Event => (template!("rust/event.rs"), template!("rust/event-test.rs")),
        Style::Blocking => (
            template!("rust/blocking.rs"),
            template!("rust/blocking-test.rs"),
        ),
        Style::Datagram => (
            template!("rust/datagram.rs"),
            template!("rust/datagram-test.rs"),
        ),
    };
    [
        ("Cargo.toml", template!("rust/manifest.toml")),
        ("Makefile", template!("rust/Makefile")),
        ("README.md", template!("rust/README.md")),
        ("src/lib.rs", plugin),
        ("tests/conversation.rs", test),
        ("sdk/Cargo.toml", template!("sdk-manifest.toml")),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into()
}

fn c(style: Style, name: &str) -> Vec<(String, &'static str)> {
    let (plugin, test) = match style {
        Style::Event => (template!("c/event.c"), template!("c/event-test.c")),
        Style::Blocking => (template!("c/blocking.c"), template!("c/blocking-test.c")),
        Style::Datagram => (template!("c/datagram.c"), template!("c/datagram-test.c")),
    };
    vec![
        ("Makefile".to_owned(), template!("c/Makefile")),
        ("README.md".to_owned(), template!("c/README.md")),
        (format!("{name}.c"), plugin),
        ("test.c".to_owned(), test),
    ]
}
