//! Bans while the daemon lives: who may put somebody on the list, and who is told of it.
//!
//! Operators say so, or a worker of a sensor reports who came. A worker is not trusted with more
//! than that: what it names is one source, of its own sensor, and not more often than it can.
//!
//! Invariant: after `spread_bans` every change has been sent to every worker, or waits for room in its
//! channel.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::bans::Bans;
use super::children::{Children, Kind};
use super::life::Life;
use crate::channel::TRAPPED_PER_S;
use crate::control::{Answer, BanList, Credentials, Reply, Request};
use crate::exit as code;
use crate::lifecycle::WorkerId;
use crate::sys::clock::utc_ms;

/// Reports from one worker in one second. Far more than a worker sends: a supervisor that was held
/// up finds those of several seconds at once, though no more than a channel holds.
const REPORTS_PER_S_MAX: u32 = 8 * TRAPPED_PER_S;

/// How often workers have reported in the present second.
#[derive(Debug, Default)]
pub(super) struct Reported(BTreeMap<WorkerId, (u64, u32)>);

impl Reported {
    fn is_flood(&mut self, worker: WorkerId, now_ms: u64) -> bool {
        let (second, count) = self.0.entry(worker).or_insert((now_ms / 1_000, 0));
        if *second != now_ms / 1_000 {
            (*second, *count) = (now_ms / 1_000, 0);
        }
        *count += 1;
        *count > REPORTS_PER_S_MAX
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.0.remove(&worker);
    }
}

impl Life {
    /// `Err` says what is wrong with the worker that reports.
    pub(super) fn trapped(
        &mut self,
        worker: WorkerId,
        source: IpNet,
        now_ms: u64,
    ) -> Result<(), &'static str> {
        let service = self.services.get(&worker.service);
        let Some(service) = service.filter(|service| service.plan.access.sensor) else {
            return Err("a trapped source without being a sensor");
        };
        let width = if source.addr().is_ipv4() { 32 } else { 64 };
        if source.prefix_len() != width || source.trunc() != source {
            return Err("a trapped source that is not one");
        }
        if self.reported.is_flood(worker, now_ms) {
            return Err("too many trapped sources");
        }
        let why = format!("came to the sensor {}", service.name);
        let for_ms = service.plan.access.sensor_ban_ms;
        tracing::warn!(%source, "banned: {why}");
        self.bans.trap(source, for_ms, &why, utc_ms());
        Ok(())
    }

    /// Gives every worker the changes of the list.
    pub(super) fn spread_bans(&mut self, children: &mut Children) {
        let news = self.bans.take_news();
        if news.is_empty() {
            return;
        }
        let workers = children
            .iter()
            .filter_map(|(pid, child)| match &child.kind {
                Kind::Worker { name, .. } => Some((pid, name.clone())),
                Kind::Check | Kind::Probe(_) | Kind::Hub | Kind::Rehearsal => None,
            });
        for (pid, name) in workers.collect::<Vec<_>>() {
            for order in &news {
                if let Err(error) = children.tell(pid, order) {
                    tracing::warn!(
                        "the worker {name} (pid {pid}) cannot be told of a ban: {error}"
                    );
                }
            }
        }
    }
}

/// Answers what an operator asked about bans.
pub(super) fn answer(bans: &mut Bans, request: &Request, caller: Credentials) -> Answer {
    let now = utc_ms();
    let reply = match request {
        Request::Bans => {
            let list = BanList {
                bans: bans.status(now),
            };
            Reply::done(serde_json::to_value(list).expect("bans are plain data"))
        }
        Request::Ban {
            network,
            for_ms,
            why,
        } => {
            tracing::info!(%network, why, "banned for uid {}", caller.uid);
            bans.ban(*network, *for_ms, why, now);
            kept(bans, serde_json::json!({ "banned": network.trunc() }))
        }
        Request::Unban { network } => {
            tracing::info!(%network, "taken off the bans for uid {}", caller.uid);
            match bans.unban(*network, now) {
                true => kept(bans, serde_json::json!({ "unbanned": network.trunc() })),
                false => {
                    let text = format!(
                        "{} is not banned; `polyport bans` shows who is",
                        network.trunc()
                    );
                    Reply::failed(code::FAILED, text)
                }
            }
        }
        _ => unreachable!("these are about no bans"),
    };
    Answer::Now(reply)
}

/// An operator is to know when a change does not outlive the daemon.
fn kept(bans: &mut Bans, mut answer: serde_json::Value) -> Reply {
    if let Err(error) = bans.save() {
        answer["warning"] = format!("it holds until the daemon stops: {error}").into();
    }
    Reply::done(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::ServiceId;

    #[test]
    fn a_flood_of_reports_is_noticed_within_its_second() {
        let worker = |slot| WorkerId {
            service: ServiceId(0),
            generation: 1,
            slot,
            incarnation: 1,
        };
        let mut reported = Reported::default();
        for _ in 0..REPORTS_PER_S_MAX {
            assert!(!reported.is_flood(worker(0), 1_999));
        }
        assert!(reported.is_flood(worker(0), 1_999));
        assert!(!reported.is_flood(worker(1), 1_999));
        assert!(!reported.is_flood(worker(0), 2_000));
    }
}
