//! `polyport render`: what one request is answered, on the standard output, without a socket.
//!
//! Of a service as the configuration has it, or of a plugin by itself, as `try` would serve it. The
//! answer is printed by the probe that makes it; this only says who is asked what. Invariant: nothing but
//! the answer comes to the standard output.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::check::probe;
use super::one_service::OneService;
use super::scratch::Scratch;
use super::{lines, plugins, unconfigured};
use crate::channel::{CheckBrief, Depth, TRIAL_BYTES_MAX};
use crate::config::BUILT_IN_FILE;
use crate::control::client::Failure;
use crate::exit;
use crate::plan::{self, Plan};
use crate::terminal::complain;

#[derive(Args, Debug)]
pub(super) struct Render {
    /// A service of the configuration; or a plugin's file, or the name of a plugin in the plugin folder
    what: String,
    /// The line that the peer sends, without its end; - is all of the standard input, as it is
    #[arg(default_value = "")]
    request: String,
    /// A setting of the plugin
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The configuration that has the service, or names the plugin folder
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(wish: Render) -> u8 {
    match render(wish) {
        Ok(()) => exit::DONE,
        Err(Failure { exit, text }) => complain(exit, &text),
    }
}

fn render(wish: Render) -> Result<(), Failure> {
    let failed = |text: String| Failure {
        exit: exit::FAILED,
        text,
    };
    let said = said(&wish.request).map_err(failed)?;
    let scratch = Scratch::new().map_err(|error| failed(error.to_string()))?;
    let depth = Depth::Render(said);
    let rendered = match configured(&wish)? {
        Some(plan) => {
            let service = &plan.services[&wish.what];
            probe(&wish.what, service, &plan, scratch.path(), depth)
        }
        None => {
            let sources = CheckBrief {
                file: wish.config,
                ..CheckBrief::default()
            };
            let plugin = plugins::find(&wish.what, &sources)?;
            let settings = unconfigured::as_meant(&plugin, &wish.set);
            let listen = ["tcp://127.0.0.1:0".to_owned()];
            OneService::new(&plugin, &listen, &settings, scratch.path())
                .probe(scratch.path(), depth)
        }
    };
    rendered.map(drop).map_err(|text| Failure {
        exit: exit::REJECTED,
        text,
    })
}

fn said(request: &str) -> Result<Vec<u8>, String> {
    if request != "-" {
        return Ok([request.as_bytes(), b"\r\n"].concat());
    }
    let mut said = Vec::new();
    let input = std::io::stdin().lock();
    input
        .take(TRIAL_BYTES_MAX as u64 + 1)
        .read_to_end(&mut said)
        .map_err(|error| format!("the request cannot be read: {error}"))?;
    match said.len() <= TRIAL_BYTES_MAX {
        true => Ok(said),
        false => Err(format!(
            "the request is too long; give at most {TRIAL_BYTES_MAX} bytes"
        )),
    }
}

/// The plan, if there is a configuration and it has a service of this name.
fn configured(wish: &Render) -> Result<Option<Plan>, Failure> {
    if wish.config.is_none() && !Path::new(BUILT_IN_FILE).exists() {
        return Ok(None);
    }
    let plan_with = |overrides: Vec<String>| {
        let sources = CheckBrief {
            file: wish.config.clone(),
            overrides,
            ..CheckBrief::default()
        };
        plan::run_check(&sources).map_err(|complaints| Failure {
            exit: exit::REJECTED,
            text: lines(&complaints),
        })
    };
    // A setting of a service that is not there would be a complaint about the configuration.
    if !plan_with(Vec::new())?.services.contains_key(&wish.what) {
        return Ok(None);
    }
    let service = &wish.what;
    let overrides = wish.set.iter();
    let overrides = overrides.map(|set| format!("services.{service}.settings.{set}"));
    plan_with(overrides.collect()).map(Some)
}
