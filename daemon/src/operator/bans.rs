//! Verbs about bans: `ban`, `unban`, `bans`.

use std::io::Write;

use ipnet::IpNet;

use super::running::PATIENCE;
use super::{Daemon, complain, print_json};
use crate::config::Fault;
use crate::config::units::parse_duration_ms;
use crate::control::{BanList, Request, client};
use crate::exit;
use crate::plan::parse_network;

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
    let answer = match client::ask(&daemon.control_socket(), request, PATIENCE) {
        Ok((answer, _)) => answer,
        Err(failure) => return complain(failure.exit, &failure.text),
    };
    if json {
        print_json(&answer);
    } else if let Some(warning) = answer["warning"].as_str() {
        return complain(exit::DONE, warning);
    }
    exit::DONE
}

pub(super) fn bans(daemon: &Daemon, json: bool) -> u8 {
    let answer = match client::ask(&daemon.control_socket(), &Request::Bans, PATIENCE) {
        Ok((answer, _)) => answer,
        Err(failure) => return complain(failure.exit, &failure.text),
    };
    if json {
        print_json(&answer);
        return exit::DONE;
    }
    match serde_json::from_value::<BanList>(answer) {
        Ok(list) => {
            let _ = write!(std::io::stdout(), "{list}");
            exit::DONE
        }
        Err(error) => {
            let text = format!("the daemon's answer is not understood: {error}");
            complain(exit::FAILED, &text)
        }
    }
}
