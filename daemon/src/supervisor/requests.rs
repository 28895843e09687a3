//! What operators ask of the daemon while it lives, and the answers.
//!
//! Looks are answered at once. Wishes that change something are audited with who asked, and taken up;
//! whoever wants to know how they go waits for the answer.
//!
//! Invariant: everything that changes something leaves a line in the log.

use std::collections::BTreeSet;

use super::banning;
use super::children::Children;
use super::life::Life;
use super::status::Shown;
use super::wishes::{Goal, Wish, Workers};
use super::{health, metrics, socket_options, status};
use crate::control::{Answer, Credentials, Reply, Request, RunningConfig};
use crate::exit;
use crate::lifecycle::{Event, ServiceId};
use crate::plan::{self, WORKERS_MAX};

/// A request that is carried out once its caller has been seen to.
type Asked = (Request, Credentials);

impl Life {
    /// Answers what operators asked, and does what they want done.
    pub(super) fn requests(&mut self, children: &mut Children, now_ms: u64) {
        let mut asked: Vec<Asked> = Vec::new();
        let shown = Shown {
            services: &self.services,
            lifecycle: &self.lifecycle,
            plan: &self.plan,
            sources: &self.sources,
            last: self.changes.last.as_ref(),
            happened: &self.happened,
            crashes: &self.crashes,
            bus: &self.bus,
        };
        let bans = &mut self.bans;
        self.control.turn(now_ms, |request, caller| match request {
            Request::Status => Answer::Now(Reply::of(&status::of(&shown, children, now_ms))),
            Request::Health => Answer::Now(Reply::of(&health::of(
                shown.services,
                &shown.lifecycle.view(),
            ))),
            Request::Metrics => {
                let metrics = metrics::of(&shown, bans.len(), children, now_ms);
                Answer::Now(Reply::of(&metrics))
            }
            Request::ShowConfig => Answer::Now(Reply::of(&RunningConfig {
                keys: plan::keys_of(shown.plan),
                sources: shown.sources.clone(),
            })),
            Request::SocketOptions { service } => {
                Answer::Now(socket_options::reply(shown.services, service.as_deref()))
            }
            Request::Ban { .. } | Request::Unban { .. } | Request::Bans => {
                banning::answer(bans, request, caller)
            }
            Request::Crashes | Request::CrashReport { .. } => shown.crashes.answer(request),
            Request::LastReload => Answer::Now(match shown.last {
                Some(outcome) => Reply::of(outcome),
                None => Reply::failed(exit::FAILED, "nothing has been changed since the start"),
            }),
            Request::Stop { .. } => {
                asked.push((request.clone(), caller));
                Answer::Hold(Reply::of(&serde_json::json!({ "pid": std::process::id() })))
            }
            Request::Reload {
                wait: false,
                dry_run: false,
            }
            | Request::Upgrade {
                wait: false,
                dry_run: false,
            } => {
                asked.push((request.clone(), caller));
                Answer::Now(Reply::of(&serde_json::json!({ "begun": true })))
            }
            Request::Reload { .. }
            | Request::Upgrade { .. }
            | Request::Rollback
            | Request::Restart { .. }
            | Request::Drain { .. }
            | Request::Resume { .. }
            | Request::Scale { .. }
            | Request::Connections { .. }
            | Request::LogLevel { .. } => {
                asked.push((request.clone(), caller));
                Answer::Later
            }
        });
        for (request, caller) in asked {
            self.asked(&request, caller, children, now_ms);
        }
    }

    fn asked(
        &mut self,
        request: &Request,
        caller: Credentials,
        children: &mut Children,
        now_ms: u64,
    ) {
        let goal = match request {
            Request::Stop { fast } => {
                self.stop(*fast, children, now_ms);
                return;
            }
            Request::Drain { service } => {
                let reply = self.pause(service.as_deref(), children, now_ms);
                self.control.reply(caller.ticket, &reply, now_ms);
                return;
            }
            Request::Reload { .. } => Ok(Goal::Files),
            Request::Upgrade { .. } => Ok(Goal::Program),
            Request::Rollback => self.before(),
            Request::Restart { service } => self.anew(service.as_deref(), "asked for"),
            Request::Resume { service } => self.anew_if_paused(service.as_deref()),
            Request::Scale { service, workers } => self.scaled(service, *workers),
            Request::Connections { filter, end } => {
                self.look_at_connections(caller.ticket, filter, *end, children, now_ms);
                return;
            }
            Request::LogLevel { level, for_ms } => {
                let reply = self.change_level(*level, *for_ms, children, now_ms);
                self.control.reply(caller.ticket, &reply, now_ms);
                return;
            }
            Request::Status
            | Request::Health
            | Request::Metrics
            | Request::ShowConfig
            | Request::SocketOptions { .. }
            | Request::Bans
            | Request::Ban { .. }
            | Request::Unban { .. }
            | Request::Crashes
            | Request::CrashReport { .. }
            | Request::LastReload => return,
        };
        match goal {
            Ok(goal) => {
                let wish = Wish {
                    goal,
                    cause: format!("`{}` by uid {}", request.verb(), caller.uid),
                    dry_run: matches!(
                        request,
                        Request::Reload { dry_run: true, .. }
                            | Request::Upgrade { dry_run: true, .. }
                    ),
                    askers: vec![caller.ticket],
                };
                self.wish(wish, now_ms);
            }
            Err(text) => {
                let reply = Reply::failed(exit::FAILED, text);
                self.control.reply(caller.ticket, &reply, now_ms);
            }
        }
    }

    /// By a signal: all services, or those that are meant.
    pub(super) fn pause(
        &mut self,
        service: Option<&str>,
        children: &mut Children,
        now_ms: u64,
    ) -> Reply {
        let chosen = match self.chosen(service) {
            Ok(chosen) => chosen,
            Err(text) => return Reply::failed(exit::FAILED, text),
        };
        for service in &chosen {
            self.handle(Event::Pause { service: *service }, children, now_ms);
        }
        Reply::of(&serde_json::json!({ "draining": self.names(&chosen) }))
    }

    /// Whoever the plan names may operate from now on.
    pub(super) fn admit_operators(&mut self) {
        let control = &self.plan.daemon.control;
        if let Err(error) = self.control.admit(&control.operators) {
            tracing::error!("daemon.control.operators: the socket's mode cannot change: {error}");
        }
    }

    fn before(&self) -> Result<Goal, String> {
        match &self.changes.previous {
            Some(snapshot) => Ok(Goal::Return(Box::new(snapshot.clone()))),
            None => Err(
                "nothing has been changed since the start: there is nothing to go back \
                         to"
                .to_owned(),
            ),
        }
    }

    fn anew(&self, service: Option<&str>, because: &'static str) -> Result<Goal, String> {
        let chosen = self.chosen(service)?;
        Ok(Goal::Amended {
            workers: None,
            anew: self.names(&chosen),
            because: because.into(),
        })
    }

    fn anew_if_paused(&self, service: Option<&str>) -> Result<Goal, String> {
        let chosen = self.chosen(service)?;
        let views = self.lifecycle.view();
        let is_paused = |number: &ServiceId| {
            let view = views.iter().find(|view| view.service == *number);
            view.is_some_and(|view| view.paused)
        };
        let paused: Vec<ServiceId> = chosen.into_iter().filter(is_paused).collect();
        if paused.is_empty() {
            return Err("nothing of it is drained: there is nothing to resume".to_owned());
        }
        Ok(Goal::Amended {
            workers: None,
            anew: self.names(&paused),
            because: "resumed".into(),
        })
    }

    fn scaled(&self, service: &str, count: u16) -> Result<Goal, String> {
        if !(1..=WORKERS_MAX).contains(&count) {
            return Err(format!(
                "a service has 1 to {WORKERS_MAX} workers; `polyport drain {service}` has it serve nobody"
            ));
        }
        self.chosen(Some(service))?;
        Ok(staffed(Workers::Exactly {
            service: service.to_owned(),
            count,
        }))
    }

    /// Those that a verb means: one, or all.
    pub(super) fn chosen(&self, service: Option<&str>) -> Result<Vec<ServiceId>, String> {
        let Some(name) = service else {
            return Ok(self
                .lifecycle
                .view()
                .iter()
                .map(|view| view.service)
                .collect());
        };
        match self.named(name) {
            Some(number) => Ok(vec![number]),
            None => {
                let names: Vec<&str> = self.plan.services.keys().map(String::as_str).collect();
                Err(format!(
                    "there is no service {name}; there are: {}",
                    names.join(", ")
                ))
            }
        }
    }

    fn names(&self, services: &[ServiceId]) -> BTreeSet<String> {
        let known = services
            .iter()
            .filter_map(|number| self.services.get(number));
        known.map(|service| service.name.clone()).collect()
    }
}

pub(super) fn staffed(workers: Workers) -> Goal {
    Goal::Amended {
        workers: Some(workers),
        anew: BTreeSet::new(),
        because: "".into(),
    }
}
