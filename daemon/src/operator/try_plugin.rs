//! `polyport try`: one plugin, served at once, with nothing configured and nothing left behind.

use std::path::PathBuf;

use clap::Args;

use super::scratch::Scratch;
use super::{complain, one_service, plugins};
use crate::channel::CheckBrief;
use crate::exit;
use crate::supervisor;

#[derive(Args, Debug)]
pub(super) struct Try {
    /// The plugin's file, or the name of a plugin in the plugin folder
    plugin: String,
    /// Where to listen; port 0 lets the system choose one
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:0")]
    listen: Vec<String>,
    /// A setting of the plugin
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The configuration that names the plugin folder
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Announce as one JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(wish: Try) -> u8 {
    let sources = CheckBrief {
        file: wish.config,
        ..CheckBrief::default()
    };
    let plugin = match plugins::find(&wish.plugin, &sources) {
        Ok(plugin) => plugin,
        Err(text) => return complain(exit::FAILED, &text),
    };
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return complain(exit::SYSTEM, &error.to_string()),
    };
    supervisor::run(supervisor::Wish {
        sources: one_service::sources(&plugin, &wish.listen, &wish.set, scratch.path()),
        announce: Some(supervisor::Announcement { json: wish.json }),
        all_or_nothing: true,
    })
}
