//! `polyport try`: one plugin, served at once, with nothing configured and nothing left behind.
//!
//! The codes 70, 71 and 78 are `run`'s: here a refusal is a rejection, and all else a failure.

use std::path::PathBuf;

use clap::Args;

use super::one_service::OneService;
use super::plugins;
use super::scratch::Scratch;
use super::unconfigured;
use crate::channel::{CheckBrief, Depth};
use crate::exit;
use crate::supervisor;
use crate::terminal::complain;

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
        Err(failure) => return complain(failure.exit, &failure.text),
    };
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return complain(exit::FAILED, &error.to_string()),
    };
    let settings = unconfigured::as_meant(&plugin, &wish.set);
    let service = OneService::new(&plugin, &wish.listen, &settings, scratch.path());
    // The supervisor would refuse it too, but in the words of a configuration that nobody wrote.
    if let Err(text) = service.probe(scratch.path(), Depth::Settings) {
        return complain(exit::REJECTED, &text);
    }
    let launch = supervisor::Launch {
        sources: service.sources.clone(),
        announce: Some(supervisor::Announcement { json: wish.json }),
        all_or_nothing: true,
    };
    let code = supervisor::run(launch, |text| service.as_typed(text));
    match code {
        exit::CONFIG | exit::FAILED => exit::REJECTED,
        exit::SYSTEM | exit::INTERNAL => exit::FAILED,
        code => code,
    }
}
