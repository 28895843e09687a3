//! `polyport dev`: an author's folder, built and served, and again whenever a file in it changes.
//!
//! Three processes: this one looks and builds, a daemon of its own serves, and workers of that run
//! the plugin. The daemon is an ordinary one and changes by an ordinary reload, so what an author sees
//! here is what an administrator will see. Nothing is decided here about plugins: what cannot be
//! built, is not taken or dies is said, and what served before serves on.
//!
//! Invariant: the daemon ends with this process, unless that is killed by a signal that nobody can
//! catch; everything it wrote then goes too.

mod build;
mod interrupt;
mod inventory;
mod serving;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::one_service::OneService;
use super::scratch::Scratch;
use super::unconfigured;
use crate::channel::Depth;
use crate::exit;
use crate::terminal::{complain, say};
use build::{Builder, Unbuilt};
use interrupt::Interrupt;
use inventory::{FileState, Inventory};
use serving::Serving;

/// Between two looks at the folder.
const LOOK_MS: u64 = 250;

#[derive(Args, Debug)]
pub(super) struct Dev {
    /// The plugin's folder, with a Cargo.toml or a Makefile, as `new-plugin` makes it
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where to listen; port 0 lets the system choose one
    #[arg(long, value_name = "URL", default_value = "tcp://127.0.0.1:0")]
    listen: Vec<String>,
    /// A setting of the plugin
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Announce as one JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(wish: Dev) -> u8 {
    match Workshop::set_up(wish) {
        Ok(workshop) => workshop.work(),
        Err(text) => complain(exit::FAILED, &text),
    }
}

/// What an author works in.
struct Workshop {
    folder: PathBuf,
    builder: Builder,
    listen: Vec<String>,
    set: Vec<String>,
    json: bool,
    interrupt: Interrupt,
    serving: Option<Serving>,
    /// What the daemon writes. It stands behind the daemon here, and so goes after it.
    scratch: Scratch,
}

impl Workshop {
    fn set_up(wish: Dev) -> Result<Workshop, String> {
        let folder = wish.folder.canonicalize();
        let folder = folder.map_err(|error| {
            let named = wish.folder.display();
            format!(
                "{named}: {error}; name a plugin's folder, `polyport new-plugin NAME` makes one"
            )
        })?;
        // The daemon takes no library that others than its owner could have written.
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        nix::sys::stat::umask(mask | nix::sys::stat::Mode::from_bits_truncate(0o022));
        Ok(Workshop {
            builder: Builder::of(&folder)?,
            folder,
            listen: wish.listen,
            set: wish.set,
            json: wish.json,
            interrupt: Interrupt::install().map_err(|error| format!("signals: {error}"))?,
            serving: None,
            scratch: Scratch::new().map_err(|error| error.to_string())?,
        })
    }

    /// Until it is interrupted, or has nothing to look at or nobody to serve any more.
    fn work(mut self) -> u8 {
        let mut built = None;
        let mut seen = None;
        loop {
            let now = match Inventory::of(&self.folder) {
                Ok(now) => Some(now),
                Err(text) => return complain(exit::FAILED, &text),
            };
            // Whoever saves several files is not interrupted: all must have been still for one look.
            if now != built && (built.is_none() || now == seen) {
                self.renew();
                built.clone_from(&now);
            }
            seen = now;
            if self.interrupt.comes_within(Duration::from_millis(LOOK_MS)) {
                return exit::DONE;
            }
            if let Some(serving) = &mut self.serving {
                serving.tell_crashes();
                if let Some(status) = serving.ended() {
                    let text = format!("the daemon has ended: {status}");
                    return complain(exit::FAILED, &text);
                }
            }
        }
    }

    /// Builds what the sources are now, and serves it if it can be served.
    fn renew(&mut self) {
        say(exit::DONE, &format!("building: {}\n", self.builder.words()));
        let built = self
            .builder
            .build(&self.folder, self.scratch.path(), &mut self.interrupt);
        match built {
            Ok(library) => {
                if let Err(text) = self.serve(&library) {
                    self.stay(&text);
                }
            }
            Err(Unbuilt::Interrupted) => {}
            Err(Unbuilt::Failed(text)) => self.stay(&text),
        }
    }

    fn serve(&mut self, library: &Path) -> Result<(), String> {
        let state =
            FileState::of(library).map_err(|error| format!("{}: {error}", library.display()))?;
        let settings = unconfigured::as_meant(library, &self.set);
        let service = OneService::new(library, &self.listen, &settings, self.scratch.path());
        match &mut self.serving {
            Some(serving) if serving.has(library, &state) => {
                say(exit::DONE, "the library is as it was; nothing to change\n");
            }
            Some(serving) => {
                probe(&service)?;
                let text = serving.change(library, state)?;
                say(exit::DONE, &format!("{text}\n"));
            }
            None => {
                // A daemon would refuse it too, but in the words of a file that nobody wrote.
                probe(&service)?;
                let what = (library.to_owned(), state);
                let mut serving = Serving::start(&service, what, self.scratch.path(), self.json)?;
                serving.await_socket(&mut self.interrupt);
                self.serving = Some(serving);
            }
        }
        Ok(())
    }

    /// Something came of nothing: says why, and what now serves.
    fn stay(&self, text: &str) {
        let what = match &self.serving {
            Some(_) => "what served before serves on",
            None => "nothing serves yet",
        };
        complain(
            exit::FAILED,
            &format!("{text}\n{what}; a change in the folder is tried again"),
        );
    }
}

/// In a folder of its own, for the daemon may be at work in the other.
fn probe(service: &OneService) -> Result<(), String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    service.probe(scratch.path(), Depth::Settings).map(drop)
}
