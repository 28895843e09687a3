//! The options, and what an administrator is told who asks for something dangerous.
//!
//! Invariant: an instance whose settings were accepted here reaches nobody outside this machine
//! unless somebody wrote that it may.

use ipnet::IpNet;
use polyport_plugin::prelude::*;

use crate::rules::{Rules, is_local};

pub(crate) const OPTIONS: &[Opt] = &[
    Opt::text(
        c"mode",
        c"echo sends each datagram back, discard (RFC 863) answers none.",
    )
    .default(c"echo"),
    Opt::list(
        c"allow",
        c"Networks whose peers are answered, as 192.0.2.0/24; without any, all are.",
    )
    .default(c""),
    Opt::boolean(
        c"public",
        c"Serve everybody, on addresses that others reach, although sources can be forged.",
    )
    .default(c"false"),
    Opt::boolean(
        c"allow_broadcast",
        c"Answer what was sent to a broadcast or multicast address.",
    )
    .default(c"false"),
    Opt::list(
        c"refuse_ports",
        c"Source ports never answered, beside those below 1024 and this daemon's own.",
    )
    .default(c"1900,2049,3702,5353,11211"),
    Opt::integer(
        c"rate",
        c"Datagrams a second that one source has answered; 0 is no limit. Loopback only if written.",
    )
    .default(c"100")
    .between(0, 1_000_000),
    Opt::integer(
        c"burst",
        c"Datagrams of one source answered at once before its rate holds them back.",
    )
    .default(c"200")
    .between(1, 1_000_000),
    Opt::integer(
        c"service_rate",
        c"Datagrams a second answered to all sources; 0 is no limit. Loopback only if written.",
    )
    .default(c"10000")
    .between(0, 100_000_000),
    Opt::integer(
        c"repeats",
        c"A source that sends one payload more often within 2 seconds is muted; 0 never mutes.",
    )
    .default(c"32")
    .between(0, 1_000_000),
    Opt::duration(c"mute", c"How long a source that repeats itself is not answered.")
        .default(c"60s")
        .between(1000, 86_400_000),
    Opt::duration(
        c"summary",
        c"How often what happened is logged in one line, if anything did; 0 never.",
    )
    .default(c"1m")
    .between(0, 86_400_000),
];

/// What is wrong with these settings, beyond what the table says.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    is_echo(settings)?;
    rules(settings)?;
    let exposed = settings.endpoints().iter().find(|url| !is_local(url));
    let Some(endpoint) = exposed else {
        return Ok(());
    };
    if settings.boolean("public") || !settings.list("allow").is_empty() {
        return Ok(());
    }
    Err(format!(
        "{endpoint} can be reached from elsewhere, and whoever forges a source address can have \
         this service send to others; write whom it is for, as allow = [\"192.0.2.0/24\"], or \
         public = true, in [services.{}.settings]",
        settings.service()
    ))
}

pub(crate) fn is_echo(settings: &Settings) -> Result<bool, String> {
    match settings.text("mode") {
        "echo" => Ok(true),
        "discard" => Ok(false),
        mode @ ("chargen" | "qotd" | "daytime" | "time") => Err(format!(
            "there is no {mode} over UDP: one forged datagram makes two such services answer each \
             other for ever (CVE-2024-2169); serve it over tcp:// with the plugin echo"
        )),
        mode => Err(format!("mode is \"echo\" or \"discard\", not {mode:?}")),
    }
}

pub(crate) fn rules(settings: &Settings) -> Result<Rules, String> {
    let mut refused_ports = Vec::new();
    for text in settings.list("refuse_ports") {
        let port: Result<u16, _> = text.parse();
        refused_ports.push(port.map_err(|_| {
            format!("refuse_ports: {text:?} is no port; write a number from 0 to 65535 in quotes")
        })?);
    }
    let mut allow = Vec::new();
    for text in settings.list("allow") {
        let one: Result<IpNet, _> = text.parse::<std::net::IpAddr>().map(IpNet::from);
        let net = one.or_else(|_| text.parse::<IpNet>());
        allow.push(net.map_err(|_| {
            format!("allow: {text:?} is no network; write it as 192.0.2.0/24 or 2001:db8::/32")
        })?);
    }
    let mut served_ports = settings.udp_ports().to_vec();
    refused_ports.sort_unstable();
    served_ports.sort_unstable();
    Ok(Rules {
        refused_ports,
        served_ports,
        allow_broadcast: settings.boolean("allow_broadcast"),
        allow,
    })
}
