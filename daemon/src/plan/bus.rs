//! The bus of a plan: what is kept, and the servers that it is to use, if any.
//!
//! Servers are checked as far as that goes without a network: their names are looked up by the hub, each
//! time that it connects. Files are named and not read: the hub reads them as the user that it is.
//!
//! Invariant: a plan with servers has at least one, and what has to stand together does.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::config::Tls;
use crate::config::{self, Fault, shown};

/// What the bus keeps, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusPlan {
    /// Messages of each topic.
    pub history: u64,
    pub keep_ms: u64,
    /// `None`: it is a bus of this machine alone.
    #[serde(default)]
    pub nats: Option<NatsPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatsPlan {
    pub servers: Vec<String>,
    pub user: Option<String>,
    pub credentials: Option<PathBuf>,
    pub tls: Tls,
    pub ca: Option<PathBuf>,
    /// With its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub prefix: String,
    pub replicas: usize,
    pub node_timeout_ms: u64,
}

/// Longer names of streams are no use to anybody.
const PREFIX_BYTES_MAX: usize = 32;

/// `complain` is told a key and what is wrong with it.
pub(super) fn resolve(bus: &config::Bus, mut complain: impl FnMut(&str, Fault)) -> BusPlan {
    let nats = &bus.nats;
    let nats = (bus.backend == config::Backend::Nats).then(|| {
        if bus.history == 0 {
            let fault = Fault::new("a bus over NATS without history").hint(
                "write at least 1: what a daemon missed while it was cut off is taken from there",
            );
            complain("daemon.bus.history", fault);
        }
        let servers = nats.servers.clone().unwrap_or_default();
        if servers.is_empty() {
            let fault = Fault::new("a bus over NATS without a server")
                .hint("set daemon.bus.nats.servers, such as [\"nats://127.0.0.1:4222\"]");
            complain("daemon.bus.backend", fault);
        }
        for server in &servers {
            if let Err(fault) = check_server(server) {
                complain("daemon.bus.nats.servers", fault);
            }
        }
        if nats.user.is_some() && nats.credentials.is_none() {
            let fault = Fault::new("a user without a password")
                .hint("name the file that it stands in: set daemon.bus.nats.credentials");
            complain("daemon.bus.nats.user", fault);
        }
        let certificate = nats.certificate.clone().zip(nats.key.clone());
        for (one, other, has) in [
            ("certificate", "key", nats.key.is_some()),
            ("key", "certificate", nats.certificate.is_some()),
        ] {
            if certificate.is_none() && !has && (nats.certificate.is_some() || nats.key.is_some()) {
                let fault = Fault::new(format!("a {one} without a {other}"))
                    .hint(format!("set daemon.bus.nats.{other} as well"));
                complain(&format!("daemon.bus.nats.{one}"), fault);
            }
        }
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if !nats.prefix.chars().all(good) || nats.prefix.len() > PREFIX_BYTES_MAX {
            let fault = Fault::new(format!(
                "expected at most {PREFIX_BYTES_MAX} letters, digits, - and _, found \"{}\"",
                shown(&nats.prefix)
            ));
            complain("daemon.bus.nats.prefix", fault);
        }
        NatsPlan {
            servers,
            user: nats.user.clone(),
            credentials: nats.credentials.clone(),
            tls: nats.tls,
            ca: nats.ca.clone(),
            certificate,
            prefix: nats.prefix.clone(),
            replicas: nats.replicas,
            node_timeout_ms: nats.node_timeout_ms,
        }
    });
    BusPlan {
        history: bus.history,
        keep_ms: bus.keep_ms,
        nats,
    }
}

fn check_server(written: &str) -> Result<(), Fault> {
    let name = shown(written);
    let wrong = |hint: &str| {
        let fault = format!("expected nats://HOST:PORT or tls://HOST:PORT, found \"{name}\"");
        Err(Fault::new(fault).hint(hint.to_owned()))
    };
    let Some((scheme, rest)) = written.split_once("://") else {
        return wrong(&format!("write \"nats://{name}\""));
    };
    if !["nats", "tls"].contains(&scheme) {
        return wrong("begin it with nats:// or tls://");
    }
    if rest.contains('@') {
        let fault = Fault::new("a user or password in the address of a server");
        return Err(fault.hint("set daemon.bus.nats.user and daemon.bus.nats.credentials"));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            _ => return wrong("an IPv6 address stands in brackets, as in nats://[::1]:4222"),
        },
        None => rest.find(':').map_or((rest, ""), |at| rest.split_at(at)),
    };
    let good = |letter: char| letter.is_ascii_alphanumeric() || ".-_:".contains(letter);
    if host.is_empty() || !host.chars().all(good) {
        return wrong("the host is a name or an address, with nothing behind the port");
    }
    match port.strip_prefix(':').map(str::parse::<u16>) {
        None if port.is_empty() => Ok(()),
        Some(Ok(port)) if port > 0 => Ok(()),
        _ => wrong("the port is a number from 1 to 65535; without one it is 4222"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_perhaps_a_port() {
        for good in [
            "nats://127.0.0.1:4222",
            "nats://bus.example.org",
            "tls://[::1]:4222",
            "nats://[fe80::1]",
        ] {
            assert_eq!(check_server(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:4222",
            "http://127.0.0.1",
            "nats://",
            "nats://:4222",
            "nats://a:0",
            "nats://a:70000",
            "nats://a:4222/x",
            "nats://a b",
            "nats://u:p@a:4222",
            "nats://[a]:1",
            "nats://::1:4222",
        ] {
            assert!(check_server(bad).is_err(), "{bad}");
        }
    }
}
