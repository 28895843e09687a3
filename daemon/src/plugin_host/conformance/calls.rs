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
        let talks: [(bool, fn(&mut FakeHost, &[u8])); 3] = [
            (self.streams, talk),
            (self.blocking, |host, input| {
                host.serve(Script::new().says(input));
            }),
            (self.datagrams, |host, input| {
                datagrams(host, input);
            }),
        ];
        for (_, talk) in talks.iter().filter(|(is_spoken, _)| *is_spoken) {
            for n in 1..=REFUSALS_MAX {
                let setup = self.setup();
                let mut verdict = Ok(());
                let has_come = setup.with_call_refused(n, |host| {
                    talk(host, input);
                    host.destroy();
                    verdict = without_fault(host);
                });
                verdict.map_err(|why| format!("call {n} was refused, and {why}"))?;
                if !has_come {
                    break;
                }
            }
        }
        self.streams_that_are_gone(input)
    }

    fn streams_that_are_gone(&self, input: &[u8]) -> Result<(), String> {
        if !self.blocking {
            return Ok(());
        }
        for n in 1..=REFUSALS_MAX {
            let mut host = self.start(self.setup())?;
            let served = host.serve(Script::new().says(input).is_gone_at(n));
            if served.answer == Err(Error::Panicked) {
                let why = told(&host.take_faults(), &host);
                return Err(format!("the peer had gone by use {n} of the stream, and {why}"));
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
