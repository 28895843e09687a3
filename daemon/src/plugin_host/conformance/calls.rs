//! Trials of what the host refuses: each call that it may answer with "no more", and each use of a stream
//! whose peer has gone.
//!
//! How a plugin goes on without a timer or a job is its own decision, and nothing here compares what
//! peers are answered. Invariant: a plugin that refuses to start without what it asked for in `create`
//! keeps the rule; one that panics there does not.

use polyport_plugin::Error;
use polyport_plugin::testing::{FakeHost, Script};

use super::{
    REFUSALS_MAX, Subject, datagrams, finish, peer_address, run_jobs, told, without_fault,
};

impl Subject {
    pub(super) fn calls(&self, input: &[u8]) -> Result<(), String> {
        if self.streams {
            self.each_refused(|host| talk(host, input))?;
        }
        if self.blocking {
            self.each_refused(|host| drop(host.serve(Script::new().says(input))))?;
            self.each_gone(input)?;
        }
        if self.datagrams {
            self.each_refused(|host| drop(datagrams(host, input)))?;
        }
        Ok(())
    }

    fn each_refused(&self, talk: impl Fn(&mut FakeHost)) -> Result<(), String> {
        for n in 1..=REFUSALS_MAX {
            let mut verdict = Ok(());
            let has_come = self.setup().with_call_refused(n, |host| {
                talk(host);
                host.destroy();
                verdict = without_fault(host);
            });
            verdict.map_err(|why| format!("call {n} was refused, and {why}"))?;
            if !has_come {
                break;
            }
        }
        Ok(())
    }

    fn each_gone(&self, input: &[u8]) -> Result<(), String> {
        for n in 1..=REFUSALS_MAX {
            let mut host = self.start(self.setup())?;
            let served = host.serve(Script::new().says(input).is_gone_at(n));
            if served.answer == Err(Error::Panicked) {
                let why = told(&host.take_faults(), &host);
                return Err(format!(
                    "the peer had gone by use {n} of the stream, and {why}"
                ));
            }
            finish(host)?;
            if served.calls < n {
                break;
            }
        }
        Ok(())
    }
}

/// A session of the event style, as far as it is let.
fn talk(host: &mut FakeHost, input: &[u8]) {
    let Ok(peer) = host.try_connect(peer_address()) else {
        return;
    };
    host.send(peer, input);
    run_jobs(host);
    if host.end(peer).is_none() {
        host.peer_finishes(peer);
        run_jobs(host);
    }
}
