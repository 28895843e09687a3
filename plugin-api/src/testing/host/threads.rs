//! What the daemon does on threads, done here one after the other on the test's own: sessions of the
//! blocking style, and the jobs of `work/1`.
//!
//! Invariant: a job that was taken is run at most once and done exactly once, at the latest before
//! the instance is destroyed.

use super::FakeHost;
use crate::Error;
use crate::abi;
use crate::facts::Address;
use crate::glue::caller::LentStream;
use crate::testing::ledger::{Output, short};
use crate::testing::script::{Play, Script, Served};

impl FakeHost {
    /// A peer comes, does what the script says, and is served from its first byte to its last.
    #[track_caller]
    pub fn serve(&mut self, script: Script) -> Served {
        assert!(
            self.plugin.serves_blocking(),
            "the plugin is not of the blocking style"
        );
        assert!(!self.draining, "a draining worker opens no sessions");
        let session = self.next_session();
        let peer = self.next_address();
        let now_ms = self.shared.ledger().now_ms;
        self.shared
            .ledger()
            .sessions
            .insert(session, Output::default());
        self.begin(
            "serve",
            format_args!("serve {} from {peer}", short(session)),
        );
        let inbox = self.shared.ledger().inbox.clone();
        let stream = LentStream::new(Play::new(script, self.split), session, inbox);
        let status = self.plugin.serve(&stream, peer, now_ms);
        let faulted = self.finish_call();
        let mut ledger = self.shared.ledger();
        ledger.note(format_args!("-> {status}"));
        ledger.sessions.remove(&session);
        ledger.ended.insert(session);
        drop(ledger);
        let play = stream.end();
        self.streams.push(stream);
        self.check_status("serve", status);
        let answer = match faulted {
            true => Err(Error::Panicked),
            false => Error::check(status),
        };
        Served {
            received: play.received,
            finished_writing: play.finished_writing,
            calls: play.calls,
            answer,
        }
    }

    /// Runs the job that has waited longest, and delivers it; false if none waits.
    #[track_caller]
    pub fn run_work(&mut self) -> bool {
        let Some(job) = self.shared.ledger().jobs.pop_front() else {
            return false;
        };
        self.begin("run", format_args!("run the job {}", job.token));
        job.run();
        self.finish_call();
        self.begin("done", format_args!("done {}", job.token));
        self.plugin.done(job, abi::OK);
        self.finish_call();
        self.settle();
        true
    }

    /// Jobs that the plugin has submitted and that were not run.
    pub fn works(&self) -> usize {
        self.shared.ledger().jobs.len()
    }

    /// The jobs that never ran are given back.
    pub(crate) fn cancel_work(&mut self) {
        self.shared.ledger().jobs_max = None;
        loop {
            // Not in the loop's head, where the ledger would stay borrowed.
            let next = self.shared.ledger().jobs.pop_front();
            let Some(job) = next else { return };
            self.begin("done", format_args!("done {}, cancelled", job.token));
            self.plugin.done(job, abi::E_CANCELLED);
            self.finish_call();
        }
    }

    pub(super) fn next_session(&self) -> abi::Session {
        (self.opened() as u64 + 1) | (1 << 32)
    }

    pub(super) fn next_address(&self) -> Address {
        let port = 50_001 + self.opened() as u16;
        Address::Ip(([127, 0, 0, 1], port).into())
    }
}
