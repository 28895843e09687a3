//! Verbs about bans: `ban`, `unban`, `bans`.

use ipnet::IpNet;

use super::running::PATIENCE;
use super::{Daemon, fail, say_json};
use crate::config::Fault;
use crate::config::units::parse_duration_ms;
use crate::control::{BanList, Request, client};
use crate::exit;
use crate::plan::parse_network;
use crate::terminal::{complain, say};

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

pub(super) fn ban(daemon: &Daemon, network: IpNet, for_ms: u64, why: String, json: bool) -> u8 {
    let request = Request::Ban {
        network,
        for_ms: (for_ms > 0).then_some(for_ms),
        why,
    };
    change(daemon, &request, json)
}

pub(super) fn unban(daemon: &Daemon, network: IpNet, json: bool) -> u8 {
    change(daemon, &Request::Unban { network }, json)
}

fn change(daemon: &Daemon, request: &Request, json: bool) -> u8 {
    match client::ask(&daemon.control_socket(), request, PATIENCE) {
        Err(failure) => fail(&failure, json),
        Ok((answer, _)) if json => say_json(exit::DONE, &answer),
        Ok((answer, _)) => match answer["warning"].as_str() {
            Some(warning) => complain(exit::DONE, warning),
            None => exit::DONE,
        },
    }
}

pub(super) fn bans(daemon: &Daemon, json: bool) -> u8 {
    let answer = match client::ask(&daemon.control_socket(), &Request::Bans, PATIENCE) {
        Ok((answer, _)) => answer,
        Err(failure) => return fail(&failure, json),
    };
    if json {
        return say_json(exit::DONE, &answer);
    }
    match serde_json::from_value::<BanList>(answer) {
        Ok(list) => say(exit::DONE, &list.to_string()),
        Err(error) => {
            let text = format!("the daemon's answer is not understood: {error}");
            complain(exit::FAILED, &text)
        }
    }
}
