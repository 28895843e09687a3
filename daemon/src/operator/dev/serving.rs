//! The daemon that serves an author's plugin: another process of this program, with a made-up
//! configuration, spoken to as operators do.
//!
//! Its log is the terminal's. Crash records it leaves in its state directory, and each is shown once.
//!
//! Invariant: it is told to end, and has ended, when its value is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::interrupt::Interrupt;
use super::inventory::FileState;
use crate::control::{self, CrashReport, ReloadOutcome, Request, client};
use crate::exit;
use crate::operator::asking::understood;
use crate::operator::one_service::OneService;
use crate::terminal::say;

/// A reload reads, probes and starts workers, each with a limit of ten seconds.
const CHANGE_MS: u64 = 60_000;
/// Between two looks whether it can be spoken to.
const START_LOOK_MS: u64 = 20;

pub(super) struct Serving {
    daemon: Child,
    socket: PathBuf,
    crashes: PathBuf,
    next_crash: u64,
    library: PathBuf,
    /// The state of it that is served.
    state: FileState,
}

impl Serving {
    /// A daemon for this service, which keeps its things in the folder and says what serves.
    pub(super) fn start(
        service: &OneService,
        (library, state): (PathBuf, FileState),
        folder: &Path,
        json: bool,
    ) -> Result<Serving, String> {
        let file = folder.join("polyport.toml");
        let inline = service.sources.inline.as_deref();
        fs::write(&file, inline.unwrap_or_default())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let mut command = Command::new(program);
        command.args(["run", "--announce", "--config"]).arg(&file);
        command.args(json.then_some("--json"));
        for set in &service.sources.overrides {
            command.args(["--set", set]);
        }
        let started = command.stdin(Stdio::null()).spawn();
        Ok(Serving {
            daemon: started.map_err(|error| format!("a daemon cannot be started: {error}"))?,
            socket: folder.join(control::SOCKET),
            crashes: folder.join("crashes"),
            next_crash: 1,
            library,
            state,
        })
    }

    /// Until it can be spoken to, has ended, or nobody wants it any more.
    pub(super) fn await_socket(&mut self, interrupt: &mut Interrupt) {
        while !self.socket.exists()
            && self.ended().is_none()
            && !interrupt.comes_within(Duration::from_millis(START_LOOK_MS))
        {}
    }

    pub(super) fn has(&self, library: &Path, state: &FileState) -> bool {
        self.library == library && self.state == *state
    }

    /// Has it take the library anew; says what came of it.
    pub(super) fn change(&mut self, library: &Path, state: FileState) -> Result<String, String> {
        if library != self.library {
            return Err(format!(
                "the plugin is {} now; end this and start `polyport dev` again",
                library.display()
            ));
        }
        let request = Request::Reload {
            wait: true,
            dry_run: false,
        };
        let patience = Duration::from_millis(CHANGE_MS);
        let answer = client::ask(&self.socket, &request, patience);
        let (answer, _) = answer.map_err(|failure| failure.text)?;
        let outcome: ReloadOutcome = understood(&answer).map_err(|failure| failure.text)?;
        self.state = state;
        Ok(outcome.to_string().trim_end().to_owned())
    }

    /// The deaths of workers since last asked, in full.
    pub(super) fn tell_crashes(&mut self) {
        // Each file is in place whole or not at all.
        while let Ok(bytes) = fs::read(self.crashes.join(format!("{}.json", self.next_crash))) {
            self.next_crash += 1;
            if let Ok(report) = serde_json::from_slice::<CrashReport>(&bytes) {
                say(exit::DONE, &report.to_string());
            }
        }
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.daemon.try_wait().ok().flatten()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let pid = i32::try_from(self.daemon.id()).expect("the kernel's own type");
            // It is ours and not reaped, so the number is still its own. It ends within two seconds.
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.daemon.wait();
        self.tell_crashes();
    }
}
