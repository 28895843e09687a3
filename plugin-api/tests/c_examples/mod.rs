//! The examples in C, compiled and loaded as an author's plugin would be.

use polyport_plugin::Table;

use crate::compiler;

#[path = "../loaded/mod.rs"]
mod loaded;

pub(crate) fn load(name: &str) -> Table {
    let source = compiler::folder()
        .join("examples")
        .join(name)
        .with_extension("c");
    let library = compiler::scratch(name).join(format!("{name}.so"));
    compiler::compile(
        "cc",
        &["-std=c99", "-pedantic", "-shared", "-fPIC"],
        &source,
        &library,
    );
    loaded::loaded(&library)
}
