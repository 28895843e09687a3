//! The body of the probe: everything that can be known of a plugin without serving with it.
//!
//! The process was limited and will be thrown away; who closes its sandbox between loading and
//! checking is the caller, through `sandboxed`, because only the loaded plugin knows its needs.
//!
//! Who only wants to know what a plugin is has no settings for it; the probe then stops before them.
//!
//! Invariant: the answer is about the very code and settings that a worker would use.

use std::fs::File;

use super::{InstanceFacts, LoadError, conformance, load, render};
use crate::channel::{Depth, ProbeBrief};
use crate::plan::{Descriptor, Endpoint, Needs, Transport};

/// Loads and admits; then, if it is to go as far, types the settings, closes the sandbox and asks
/// the plugin's own `check`. `out` is where an answer goes that is asked for,
/// or the diary of a trial.
pub fn run(
    brief: &ProbeBrief,
    out: Option<File>,
    sandboxed: impl FnOnce(&Needs) -> Result<(), String>,
) -> Result<Descriptor, String> {
    let about = |error: LoadError| error.about(&brief.service, &brief.plan.plugin);
    let admitted = load(&brief.code, None).map_err(about)?;
    if brief.depth == Depth::Handshake {
        // Nothing of it is called any more, so it may be left without anything.
        sandboxed(&Needs::default())?;
        return Ok(admitted.descriptor(admitted.declared_needs()));
    }
    let chosen = admitted
        .choose(&brief.service, &brief.plan.settings, &brief.places)
        .map_err(about)?;
    let needs = admitted.needs(&chosen);
    sandboxed(&needs)?;
    let endpoints: Vec<String> = (brief.plan.endpoints.iter())
        .map(|endpoint| endpoint.address.to_string())
        .collect();
    let facts = InstanceFacts {
        service: &brief.service,
        worker_index: 0,
        worker_count: brief.plan.workers,
        generation: 0,
        endpoints: &endpoints,
        // Not known before all of them are bound, and no setting is right or wrong by them.
        udp_ports: &[],
    };
    admitted.check(&chosen, &facts).map_err(about)?;
    let descriptor = admitted.descriptor(needs);
    refuse_unspoken(brief, &descriptor)?;
    refuse_unused(brief, &descriptor)?;
    match (&brief.depth, out) {
        (Depth::Conformance(trial), diary) => {
            conformance::run(&admitted, &brief.plan.settings, trial, diary)?;
        }
        (Depth::Render(said), Some(out)) => {
            render::run(&admitted, &brief.plan.settings, &endpoints, said, out)?;
        }
        (Depth::Handshake | Depth::Settings | Depth::Render(_), _) => {}
    }
    Ok(descriptor)
}

/// An endpoint of a transport that the plugin does not speak.
fn refuse_unspoken(brief: &ProbeBrief, descriptor: &Descriptor) -> Result<(), String> {
    let spoken = |endpoint: &&Endpoint| match endpoint.address.transport() {
        Transport::Stream => descriptor.streams,
        Transport::Datagram => descriptor.datagrams,
    };
    let Some(unspoken) = brief
        .plan
        .endpoints
        .iter()
        .find(|endpoint| !spoken(endpoint))
    else {
        return Ok(());
    };
    let (what, instead) = match unspoken.address.transport() {
        Transport::Stream => ("streams", "udp:// or unixgram:"),
        Transport::Datagram => ("datagrams", "tcp:// or unix:"),
    };
    let (service, plugin, written) = (&brief.service, &descriptor.name, &unspoken.written);
    Err(format!(
        "services.{service}.listen: the plugin {plugin} does not speak {what}, which come to \
         {written}; use {instead}"
    ))
}

/// A limit on the time of handlers where there are none; which style a plugin has is known only here.
fn refuse_unused(brief: &ProbeBrief, descriptor: &Descriptor) -> Result<(), String> {
    if descriptor.blocking || brief.plan.limits.threads.handler_ms == 0 {
        return Ok(());
    }
    let (service, plugin) = (&brief.service, &descriptor.name);
    let key = format!("services.{service}.limits.handler");
    let place = brief.places.get(&key);
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    Err(format!(
        "{place}{key}: the plugin {plugin} has no handlers that block, so this would limit nothing; \
         remove it (limits.idle and limits.lifetime are for every plugin)"
    ))
}
