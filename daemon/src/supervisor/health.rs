//! The answer to `health`, from what the lifecycle knows.
//!
//! No worker is asked: whoever checks often must cost little, and a stuck worker makes nobody wait.
//! What a service is unready for is said in the lifecycle's own words.
//!
//! Invariant: a service that is not ready has a reason beside it, unless it is still starting.

use std::collections::BTreeMap;

use super::service::Service;
use super::status::is_healthy;
use crate::control::{Health, ServiceHealth};
use crate::lifecycle::{ServiceId, ServiceView, State};

pub(super) fn of(services: &BTreeMap<ServiceId, Service>, views: &[ServiceView]) -> Health {
    let known = views
        .iter()
        .filter_map(|view| Some((services.get(&view.service)?.name.clone(), of_service(view))));
    Health {
        live: true,
        ready: views.iter().all(is_healthy),
        services: known.collect(),
    }
}

fn of_service(view: &ServiceView) -> ServiceHealth {
    let own = || {
        let workers = view.workers.iter();
        workers.filter(|worker| worker.generation == view.generation)
    };
    let ready = is_healthy(view);
    let suspended = || {
        let why = &view.breaker.as_ref()?.why;
        Some(format!("the plugin is suspended: {why}"))
    };
    let died = || own().find_map(|worker| worker.last_death.clone());
    let reason = match ready {
        true => None,
        false if view.paused => Some("drained by an operator".to_owned()),
        false => view.failure.clone().or_else(suspended).or_else(died),
    };
    ServiceHealth {
        ready,
        state: view.state,
        workers_serving: own().filter(|w| w.state == State::Serving).count(),
        workers: own().count(),
        reason,
    }
}
