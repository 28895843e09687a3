//! The examples in C, compiled and loaded as an author's plugin would be.
//!
//! Tests run at the same time: each has a library of its own, which no other compiler writes to.

use std::sync::atomic::{AtomicUsize, Ordering};

use polyport_plugin::Table;

use crate::compiler;

#[path = "../loaded/mod.rs"]
mod loaded;

static LOADED: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn load(name: &str) -> Table {
    let nth = LOADED.fetch_add(1, Ordering::Relaxed);
    let source = compiler::folder()
        .join("examples")
        .join(name)
        .with_extension("c");
    let library = compiler::scratch(name).join(format!("{name}-{nth}.so"));
    compiler::compile(
        "cc",
        &["-std=c99", "-pedantic", "-shared", "-fPIC"],
        &source,
        &library,
    );
    loaded::loaded(&library)
}
