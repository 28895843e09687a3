//! Changes of what serves, each a transaction: read, compare, probe, bind, and only then begin.
//!
//! Whatever asks for a change (a signal, an operator, a change that keeps dying) wants a plan; the
//! way there is the same for all. Until the lifecycle commits it, nothing of what serves is touched,
//! and whoever asked is told why not. One change at a time: what is asked meanwhile waits, and equal
//! wishes become one.
//!
//! Here are the steps up to the lifecycle's decision; what follows from that is in `commit`.
//!
//! Invariant: every wish is answered once.

use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

use nix::sys::signal::Signal;

use super::CHECK_MS;
use super::children::{Children, Kind};
use super::life::{Life, policy};
use super::listeners::{Listener, unchangeable};
use super::preparation::{Candidate, Found, PROBE_MS, Preparation};
use super::wishes::{Changing, Goal, Rehearsal, Reload, Snapshot, Stage, WISHES_MAX, Wish};
use crate::channel::{Brief, StoredPlugin};
use crate::control::{ReloadOutcome, Reply};
use crate::exit;
use crate::lifecycle::{Beginning, Changes, Event, Exit, ServiceId, ServiceView};
use crate::plan::{self, Descriptor, Plan, Seen, Step};

impl Life {
    /// Takes a wish up, now or when its turn comes.
    pub(super) fn wish(&mut self, wish: Wish, now_ms: u64) {
        let same = |waiting: &&mut Wish| {
            matches!(
                (&waiting.goal, &wish.goal),
                (Goal::Files, Goal::Files) | (Goal::Program, Goal::Program)
            ) && waiting.dry_run == wish.dry_run
        };
        if let Some(waiting) = self.changes.waiting.iter_mut().find(same) {
            waiting.askers.extend(wish.askers);
            return;
        }
        if self.changes.waiting.len() == WISHES_MAX {
            let text = format!("{WISHES_MAX} changes wait already; try again when they are done");
            self.conclude_wish(&wish, exit::FAILED, text, BTreeMap::new(), now_ms);
            return;
        }
        self.changes.waiting.push_back(wish);
    }

    /// Takes the next step of a change, if there is one that can be taken.
    pub(super) fn advance(&mut self, children: &mut Children, now_ms: u64) {
        if self.changes.under_way.is_none()
            && self.lifecycle.can_change()
            && let Some(wish) = self.changes.waiting.pop_front()
        {
            self.begin_change(wish, children, now_ms);
        }
        let complete = |reload: &mut Reload| match &reload.stage {
            Stage::Preparing(preparation, _) => preparation.is_complete(),
            Stage::Checking(_) | Stage::Rehearsing(_) | Stage::Changing(_) => false,
        };
        if let Some(Reload {
            wish,
            stage: Stage::Preparing(preparation, steps),
        }) = self.changes.under_way.take_if(complete)
        {
            self.change(wish, preparation, steps, children, now_ms);
        }
    }

    fn begin_change(&mut self, wish: Wish, children: &mut Children, now_ms: u64) {
        tracing::info!("{}: a change begins", wish.cause);
        if !wish.dry_run {
            self.notifier.reloading();
        }
        match &wish.goal {
            Goal::Files => {
                let brief = Brief::Check(self.sources.clone());
                match children.start(Kind::Check, &brief, &[], Some(now_ms + CHECK_MS)) {
                    Ok(pid) => {
                        let stage = Stage::Checking(pid);
                        self.changes.under_way = Some(Reload { wish, stage });
                    }
                    Err(error) => {
                        let text = format!("cannot start a check: {error}");
                        self.reject(&wish, exit::FAILED, vec![text], now_ms);
                    }
                }
            }
            Goal::Return(snapshot) => {
                let Snapshot { plan, codes } = (**snapshot).clone();
                self.prepare_change(wish, plan, codes, children, now_ms);
            }
            Goal::Program => self.begin_upgrade(wish, children, now_ms),
            Goal::Roll => {
                let plan = self.plan.clone();
                self.prepare_change(wish, plan, BTreeMap::new(), children, now_ms);
            }
            Goal::Amended { workers, .. } => {
                let mut plan = self.plan.clone();
                if let Some(workers) = workers {
                    workers.amend(&mut plan);
                }
                self.prepare_change(wish, plan, BTreeMap::new(), children, now_ms);
            }
        }
    }

    // --- the check -----------------------------------------------------------------------------

    fn take_checked(&mut self, pid: i32) -> Option<Wish> {
        let is_it = |reload: &mut Reload| matches!(reload.stage, Stage::Checking(p) if p == pid);
        self.changes
            .under_way
            .take_if(is_it)
            .map(|reload| reload.wish)
    }

    pub(super) fn resolved(
        &mut self,
        pid: i32,
        plan: Result<Plan, String>,
        children: &mut Children,
        now_ms: u64,
    ) {
        let Some(wish) = self.take_checked(pid) else {
            return;
        };
        match plan {
            Ok(plan) => self.prepare_change(wish, plan, BTreeMap::new(), children, now_ms),
            Err(text) => self.reject(&wish, exit::FAILED, vec![text], now_ms),
        }
    }

    pub(super) fn rejected(&mut self, pid: i32, lines: Vec<String>, now_ms: u64) {
        if let Some(wish) = self.take_checked(pid) {
            self.reject(&wish, exit::REJECTED, lines, now_ms);
        }
    }

    pub(super) fn check_ended(&mut self, pid: i32, ended: Exit, now_ms: u64) {
        if let Some(wish) = self.take_checked(pid) {
            let text = format!("reading the configuration failed: the check ended by {ended}");
            self.reject(&wish, exit::REJECTED, vec![text], now_ms);
        }
    }

    // --- the probes ----------------------------------------------------------------------------

    fn preparation(&mut self) -> Option<&mut Preparation> {
        match &mut self.changes.under_way.as_mut()?.stage {
            Stage::Preparing(preparation, _) => Some(preparation),
            Stage::Checking(_) | Stage::Rehearsing(_) | Stage::Changing(_) => None,
        }
    }

    pub(super) fn verdict(&mut self, pid: i32, verdict: Result<Descriptor, String>) {
        if let Some(preparation) = self.preparation() {
            preparation.heard(pid, verdict);
        }
    }

    pub(super) fn probe_ended(&mut self, pid: i32, ended: Exit) {
        if let Some(preparation) = self.preparation() {
            preparation.probe_ended(pid, ended);
        }
    }

    /// Compares, and starts a probe for each service that would begin.
    fn prepare_change(
        &mut self,
        wish: Wish,
        plan: Plan,
        codes: BTreeMap<String, StoredPlugin>,
        children: &mut Children,
        now_ms: u64,
    ) {
        let mut complaints = plan::needs_restart(&self.plan.daemon, &plan.daemon);
        let mut preparation = Box::new(Preparation::new(plan, PROBE_MS));
        let untaken = take_codes(&mut preparation, codes);
        let steps = self.steps(&preparation, &wish.goal);
        for (name, step) in &steps {
            match step {
                Step::Add | Step::Renew { .. } => match untaken.get(name) {
                    Some(text) => complaints.push(text.clone()),
                    None => complaints.extend(self.fixed_options(name, &preparation.plan)),
                },
                Step::Keep | Step::Adjust { .. } => {
                    let Some(text) = untaken.get(name) else {
                        continue;
                    };
                    // Whoever wants what the files say may mean a file that was replaced.
                    if matches!(wish.goal, Goal::Files) {
                        complaints.push(text.clone());
                    } else {
                        tracing::warn!("{name} goes on with the code it has: {text}");
                    }
                }
                Step::Remove => {}
            }
        }
        if !complaints.is_empty() {
            self.reject(&wish, exit::REJECTED, complaints, now_ms);
            return;
        }
        let (old, new) = (&self.plan, &preparation.plan);
        let is_same = policy(old) == policy(new)
            && plan::of_hub(&old.daemon, &new.daemon).is_empty()
            && !steps.values().any(Step::is_change);
        if is_same {
            // Where things are written may have.
            self.plan.places = preparation.plan.places;
            self.plan.daemon.control = preparation.plan.daemon.control;
            self.admit_operators();
            let text = "nothing has changed".to_owned();
            self.conclude_wish(&wish, exit::DONE, text, steps, now_ms);
            return;
        }
        for (name, step) in &steps {
            if matches!(step, Step::Add | Step::Renew { .. }) {
                preparation.probe(name, children, now_ms);
            }
        }
        let stage = Stage::Preparing(preparation, steps);
        self.changes.under_way = Some(Reload { wish, stage });
    }

    fn steps(&self, preparation: &Preparation, goal: &Goal) -> BTreeMap<String, Step> {
        let views = self.lifecycle.view();
        let mut seen = BTreeMap::new();
        for view in views {
            let Some(service) = self.services.get(&view.service) else {
                continue;
            };
            let code = preparation.codes.get(&service.name).map(|code| &code.hash);
            let known = service.serving().map(|edition| &edition.code.hash);
            let known = known.or(service.tried.as_ref());
            let anew = match goal {
                Goal::Amended { anew, because, .. } if anew.contains(&service.name) => {
                    Some(because.clone().into_owned())
                }
                Goal::Roll if is_serving(&view) => Some("the program was upgraded".to_owned()),
                Goal::Files | Goal::Return(_) if view.paused => Some("it was drained".to_owned()),
                Goal::Files | Goal::Return(_) | Goal::Amended { .. } => None,
                Goal::Program | Goal::Roll => None,
            };
            let seen_as = Seen {
                code_changed: code.is_some() && code != known,
                wanting: anew,
            };
            seen.insert(service.name.clone(), seen_as);
        }
        plan::steps(&self.plan, &preparation.plan, &seen)
    }

    /// Options of sockets that are kept, and that only a fresh one could have.
    fn fixed_options(&self, name: &str, plan: &Plan) -> Vec<String> {
        let service = self
            .named(name)
            .and_then(|number| self.services.get(&number));
        let Some(service) = service.filter(|service| !service.listeners().is_empty()) else {
            return Vec::new();
        };
        let (old, new) = (&service.plan.socket, &plan.services[name].socket);
        let keys = unchangeable(service.listeners(), old, new);
        let complaint = |key| {
            format!(
                "services.{name}.socket.{key}: it cannot change on an address that is bound\n  fix: \
                 restart the daemon, or write another `listen` in the same change"
            )
        };
        keys.into_iter().map(complaint).collect()
    }

    // --- binding, and the lifecycle ------------------------------------------------------------

    fn change(
        &mut self,
        wish: Wish,
        mut preparation: Box<Preparation>,
        steps: BTreeMap<String, Step>,
        children: &mut Children,
        now_ms: u64,
    ) {
        let failures: Vec<String> = preparation
            .failures()
            .into_iter()
            .map(str::to_owned)
            .collect();
        if !failures.is_empty() {
            self.reject(&wish, exit::REJECTED, failures, now_ms);
            return;
        }
        if wish.dry_run {
            self.conclude_wish(
                &wish,
                exit::DONE,
                "nothing was changed".to_owned(),
                steps,
                now_ms,
            );
            return;
        }
        let found = self.found(&preparation.plan);
        let bound = preparation.bind(|name| found.get(name).cloned().unwrap_or_default());
        let candidates = match bound {
            Ok(candidates) => candidates,
            Err(complaints) => return self.reject(&wish, exit::REJECTED, complaints, now_ms),
        };
        let (changes, changing) = self.introduce(&wish, preparation, steps, candidates);
        let stage = Stage::Changing(Box::new(changing));
        self.changes.under_way = Some(Reload { wish, stage });
        self.handle(Event::Change(changes), children, now_ms);
    }

    /// Which listeners a service of the next plan may go on with: those of its own name, and those
    /// whose service is removed.
    fn found(&self, next: &Plan) -> BTreeMap<String, Found> {
        let services = || self.services.values().filter(|service| !service.has_left());
        let is_free = |name: &String| !next.services.contains_key(name);
        let free: Vec<Rc<Listener>> = services()
            .filter(|service| is_free(&service.name))
            .flat_map(|service| service.listeners().iter().cloned())
            .collect();
        let mut found = BTreeMap::new();
        for name in next.services.keys() {
            let known = services().find(|service| service.name == *name);
            let own = known.map_or(&[][..], |service| service.listeners());
            let places = known.and_then(|s| s.serving()).map(|e| e.places.clone());
            let listeners = own.iter().chain(&free).cloned().collect();
            found.insert(name.clone(), Found { listeners, places });
        }
        found
    }

    /// Gives each candidate its generation, which serves nobody yet.
    fn introduce(
        &mut self,
        wish: &Wish,
        preparation: Box<Preparation>,
        steps: BTreeMap<String, Step>,
        candidates: Vec<Candidate>,
    ) -> (Changes, Changing) {
        let (mut begun, mut added, mut beginnings) = (Vec::new(), Vec::new(), Vec::new());
        for Candidate {
            name,
            plan,
            verdict,
            ..
        } in candidates
        {
            let edition = verdict.expect("a change with a refused plugin was rejected");
            let service = self.named(&name).unwrap_or_else(|| {
                let service = self.admit_service(name.clone(), plan.clone());
                added.push(service);
                service
            });
            let known = self
                .services
                .get_mut(&service)
                .expect("found or made above");
            let generation = known.add(edition);
            begun.push((service, generation));
            beginnings.push(Beginning {
                service,
                generation,
                name,
                workers: plan.workers,
            });
        }
        let leaves = |(name, step): (&String, &Step)| match step {
            Step::Remove => self.named(name),
            Step::Add | Step::Renew { .. } | Step::Adjust { .. } | Step::Keep => None,
        };
        let removed: Vec<ServiceId> = steps.iter().filter_map(leaves).collect();
        let changes = Changes {
            policy: policy(&preparation.plan),
            begun: beginnings,
            removed: removed.clone(),
            on_probation: !matches!(wish.goal, Goal::Return(_)),
        };
        let changing = Changing {
            plan: preparation.plan,
            steps,
            begun,
            added,
            removed,
        };
        (changes, changing)
    }

    // --- ends ----------------------------------------------------------------------------------

    pub(super) fn reject(&mut self, wish: &Wish, exit: u8, lines: Vec<String>, now_ms: u64) {
        self.conclude_wish(wish, exit, lines.join("\n"), BTreeMap::new(), now_ms);
        self.prune();
    }

    /// The change ends, one way or the other: whoever wanted it is told, and it is remembered.
    pub(super) fn conclude_wish(
        &mut self,
        wish: &Wish,
        exit: u8,
        text: String,
        steps: BTreeMap<String, Step>,
        now_ms: u64,
    ) {
        let text = match wish.goal {
            Goal::Roll if exit != exit::DONE => format!(
                "the daemon runs the new program, and its old workers serve on because new ones \
                 were rejected: {text}"
            ),
            _ => text,
        };
        let outcome = ReloadOutcome {
            cause: wish.cause.clone(),
            dry_run: wish.dry_run,
            exit,
            text,
            steps,
            at_ms: now_ms,
        };
        outcome.log();
        self.happened.note(&outcome);
        let reply = match exit {
            exit::DONE => Reply::of(&outcome),
            _ => Reply::failed(exit, outcome.text.clone()),
        };
        for ticket in &wish.askers {
            self.control.reply(*ticket, &reply, now_ms);
        }
        if !wish.dry_run {
            self.changes.last = Some(outcome);
        }
        self.notify_reloaded();
    }

    /// The daemon stops: what has not begun will not.
    pub(super) fn forget_wishes(&mut self, children: &Children, now_ms: u64) {
        let text = "the daemon is stopping; nothing was changed";
        // What the lifecycle has begun it gives up by itself, and says so.
        let is_ours = |reload: &mut Reload| !matches!(reload.stage, Stage::Changing(_));
        if let Some(Reload { wish, stage }) = self.changes.under_way.take_if(is_ours) {
            end_children(&stage, children);
            self.dismiss(&wish, text, now_ms);
        }
        for wish in mem::take(&mut self.changes.waiting) {
            self.dismiss(&wish, text, now_ms);
        }
    }

    /// It was not even tried, and that is nobody's fault.
    fn dismiss(&mut self, wish: &Wish, text: &str, now_ms: u64) {
        tracing::info!("{}: {text}", wish.cause);
        let reply = Reply::failed(exit::FAILED, text);
        for ticket in &wish.askers {
            self.control.reply(*ticket, &reply, now_ms);
        }
    }
}

fn is_serving(view: &ServiceView) -> bool {
    view.failure.is_none() && !view.paused
}

fn end_children(stage: &Stage, children: &Children) {
    match stage {
        Stage::Checking(pid) | Stage::Rehearsing(Rehearsal { pid, .. }) => {
            children.kill(*pid, Signal::SIGKILL)
        }
        Stage::Preparing(preparation, _) => {
            for pid in preparation.probes() {
                children.kill(pid, Signal::SIGKILL);
            }
        }
        Stage::Changing(_) => {}
    }
}

/// Takes the code of every service into the store, except where it is known already; returns what
/// could not be taken, by name.
fn take_codes(
    preparation: &mut Preparation,
    mut known: BTreeMap<String, StoredPlugin>,
) -> BTreeMap<String, String> {
    let names: Vec<String> = preparation.plan.services.keys().cloned().collect();
    let mut untaken = BTreeMap::new();
    for name in names {
        match known.remove(&name) {
            Some(code) => drop(preparation.codes.insert(name, code)),
            None => {
                if let Err(text) = preparation.take(&name) {
                    untaken.insert(name, text);
                }
            }
        }
    }
    untaken
}
