//! Verbs about bans: `ban`, `unban`, `bans`.

use ipnet::IpNet;

use super::asking::Asking;
use super::say_json;
use crate::config::Fault;
use crate::config::units::parse_duration_ms;
use crate::control::{BanList, Request};
use crate::exit;
use crate::plan::parse_network;
use crate::terminal::complain;

/// As clap reads a network on the command line.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let said = |fault: Fault| match fault.hint {
        Some(hint) => format!("{}; {hint}", fault.problem),
        None => fault.problem,
    };
    parse_network(text).map_err(said)
}

/// "0" is without an end.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    parse_duration_ms(text)
}

pub(super) fn ban(network: IpNet, for_ms: u64, why: String, asking: &Asking) -> u8 {
    let request = Request::Ban {
        network,
        for_ms: (for_ms > 0).then_some(for_ms),
        why,
    };
    change(&request, asking)
}

pub(super) fn unban(network: IpNet, asking: &Asking) -> u8 {
    change(&Request::Unban { network }, asking)
}

fn change(request: &Request, asking: &Asking) -> u8 {
    match asking.change(request) {
        Err(failure) => asking.fail(&failure),
        Ok((answer, _)) if asking.output.json => say_json(exit::DONE, &answer),
        Ok((answer, _)) => match answer["warning"].as_str() {
            Some(warning) => complain(exit::DONE, warning),
            None => exit::DONE,
        },
    }
}

pub(super) fn bans(asking: &Asking) -> u8 {
    asking.show(&Request::Bans, |_: &BanList| exit::DONE)
}
