//! What children say and how they end, each told to whoever waits for it.
//!
//! A message is bounded and parsed before it comes here; what it means depends on who says it and in
//! which phase. A child that breaks the rules of its channel is killed; a word that comes too late is
//! nothing.
//!
//! Invariant: a child's last words are heard before its end.

use std::io;

use super::children::{Child, Kind};
use super::preparation::{printable, unreadable};
use super::{Ending, Phase, Supervisor};
use crate::channel::Report;
use crate::exit as code;
use crate::lifecycle::{Event, Exit, News};
use crate::log;
use crate::plan::{Descriptor, Plan};

impl Supervisor {
    pub(super) fn listen(&mut self, pid: i32, now_ms: u64) -> Result<(), Ending> {
        for heard in self.children.listen(pid, now_ms) {
            let Some(kind) = self.children.kind(pid).cloned() else {
                return Ok(());
            };
            match heard {
                Ok(report) if report.is_repeated() || self.children.may_report(pid) => {
                    self.reported(pid, &kind, report, now_ms)?;
                }
                Ok(report) => self.distrust(pid, &format!("a second report ({report:?})")),
                Err(why) => self.distrust(pid, &format!("an unreadable message ({why})")),
            }
        }
        Ok(())
    }

    fn reported(
        &mut self,
        pid: i32,
        kind: &Kind,
        report: Report,
        now_ms: u64,
    ) -> Result<(), Ending> {
        match (kind, report, &mut self.phase) {
            (Kind::Check, Report::Resolved { .. }, Phase::Checking) => {
                let plan = self
                    .children
                    .answer::<Plan>(pid)
                    .map_err(unreadable_check)?;
                self.prepare(plan, now_ms)
            }
            (Kind::Check, Report::Rejected { .. }, Phase::Checking) => {
                let lines = self
                    .children
                    .answer::<Vec<String>>(pid)
                    .map_err(unreadable_check)?;
                self.leave(Some(Ending {
                    exit: code::CONFIG,
                    text: lines.join("\n"),
                }));
                Ok(())
            }
            (Kind::Check, Report::Resolved { .. }, Phase::Living(life)) => {
                let plan = self.children.answer::<Plan>(pid);
                let plan = plan.map_err(|error| format!("the check's answer: {error}"));
                life.resolved(pid, plan, &mut self.children, now_ms);
                Ok(())
            }
            (Kind::Check, Report::Rejected { .. }, Phase::Living(life)) => {
                let lines = self.children.answer::<Vec<String>>(pid);
                let lines = lines.unwrap_or_else(|error| vec![format!("its answer: {error}")]);
                life.rejected(pid, lines, now_ms);
                Ok(())
            }
            (Kind::Probe(service), Report::Admitted { .. }, phase) => {
                let descriptor = self.children.answer::<Descriptor>(pid).map(printable);
                phase.verdict(pid, descriptor.map_err(|error| unreadable(service, &error)));
                Ok(())
            }
            (Kind::Probe(_), Report::Refused { text }, phase) => {
                phase.verdict(pid, Err(text));
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Ready { sandbox }, Phase::Living(life)) => {
                life.ready(*id, sandbox, &mut self.children, now_ms);
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Refused { text }, Phase::Living(life)) => {
                let event = Event::Worker(
                    *id,
                    News::Refused {
                        // Problem and remedy stand on lines of their own.
                        text: log::escape(&text).replace("\\n", "\n"),
                    },
                );
                life.handle(event, &mut self.children, now_ms);
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Trapped { source }, Phase::Living(life)) => {
                if let Err(what) = life.trapped(*id, source, now_ms) {
                    self.distrust(pid, what);
                }
                Ok(())
            }
            (Kind::Worker { id, .. }, Report::Connections { number, .. }, Phase::Living(life)) => {
                if !life.looks.heard(*id, number) {
                    self.distrust(pid, "an answer that nobody asked for");
                }
                Ok(())
            }
            (Kind::Hub, Report::Ready { .. }, Phase::Living(_)) => Ok(()),
            (Kind::Hub, Report::Refused { text }, Phase::Living(_)) => {
                tracing::error!("the hub cannot serve: {}", log::escape(&text));
                Ok(())
            }
            (Kind::Rehearsal, Report::Rehearsed {}, Phase::Living(life)) => {
                life.rehearsed(pid, Ok(()), now_ms);
                Ok(())
            }
            (Kind::Rehearsal, Report::Refused { text }, Phase::Living(life)) => {
                let text = log::escape(&text).replace("\\n", "\n");
                life.rehearsed(pid, Err(text), now_ms);
                Ok(())
            }
            // A child that outlived what it was for.
            (_, _, Phase::Leaving(_)) => Ok(()),
            (_, report, _) => {
                self.distrust(pid, &format!("a message out of turn ({report:?})"));
                Ok(())
            }
        }
    }

    fn distrust(&mut self, pid: i32, what: &str) {
        let what: String = log::escape(what).chars().take(200).collect();
        tracing::error!("the process {pid} sent {what} and is killed");
        self.children.convict(pid, format!("after it sent {what}"));
    }

    pub(super) fn reap(&mut self, now_ms: u64) -> Result<(), Ending> {
        while let Some(pid) = self.children.dead() {
            // Its last words come before its end.
            self.listen(pid, now_ms)?;
            if let Some((child, exit)) = self.children.bury(pid) {
                self.ended(pid, &child, exit, now_ms)?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, pid: i32, child: &Child, exit: Exit, now_ms: u64) -> Result<(), Ending> {
        match (&child.kind, &mut self.phase) {
            (Kind::Check, Phase::Checking) => {
                let text = format!("reading the configuration failed: the check ended by {exit}");
                Err(Ending {
                    exit: code::INTERNAL,
                    text,
                })
            }
            (Kind::Check, Phase::Living(life)) => {
                life.check_ended(pid, exit, now_ms);
                Ok(())
            }
            (Kind::Probe(_), Phase::Preparing(preparation, _)) => {
                preparation.probe_ended(pid, exit);
                Ok(())
            }
            (Kind::Probe(_), Phase::Living(life)) => {
                life.probe_ended(pid, exit);
                Ok(())
            }
            (Kind::Worker { id, .. }, Phase::Living(life)) => {
                life.worker_ended(*id, child, exit, &mut self.children, now_ms);
                Ok(())
            }
            (Kind::Hub, Phase::Living(life)) => {
                life.hub_ended(pid, exit, now_ms);
                Ok(())
            }
            (Kind::Rehearsal, Phase::Living(life)) => {
                life.rehearsal_ended(pid, exit, now_ms);
                Ok(())
            }
            // Ends after the answer, or while leaving, are how it should be.
            (
                Kind::Check | Kind::Probe(_) | Kind::Hub | Kind::Rehearsal | Kind::Worker { .. },
                _,
            ) => Ok(()),
        }
    }

    pub(super) fn end_overdue(&mut self, now_ms: u64) {
        let overdue = self.children.take_overdue(now_ms);
        for pid in overdue {
            self.children
                .convict(pid, "after it closed its channel".to_owned());
        }
    }
}

impl Phase {
    /// Of a probe, whatever it is for; nobody may wait for it any more.
    fn verdict(&mut self, pid: i32, verdict: Result<Descriptor, String>) {
        match self {
            Phase::Preparing(preparation, _) => preparation.heard(pid, verdict),
            Phase::Living(life) => life.verdict(pid, verdict),
            Phase::Checking | Phase::Leaving(_) => {}
        }
    }
}

fn unreadable_check(error: io::Error) -> Ending {
    let text = format!("reading the configuration failed: the check's answer: {error}");
    Ending {
        exit: code::INTERNAL,
        text,
    }
}
