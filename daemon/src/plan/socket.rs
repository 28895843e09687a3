//! What a service wants of its sockets: the options as written, brought into the units of the
//! kernel, with names looked up. Which options no endpoint of the service could have is told in `fits`.
//!
//! Whether the kernel grants them shows when they are set, where listeners are bound. An option
//! that nobody wrote is `None` and not touched, so that the system's own settings hold.
//!
//! Invariant: a group that comes out without a fault is heard by an endpoint of the service.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Looked};
use super::{Address, Endpoint};
use crate::config::{self, Fault, shown};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketPlan {
    pub backlog: i32,
    pub send_buffer_bytes: Option<u32>,
    pub receive_buffer_bytes: Option<u32>,
    pub nodelay: bool,
    /// `None` asks no silent peer.
    pub keepalive: Option<Keepalive>,
    pub ttl: Option<u8>,
    pub tos: Option<u8>,
    pub device: Option<String>,
    pub mark: Option<u32>,
    pub v6only: bool,
    pub fast_open: Option<u16>,
    /// 0 never holds a connection back; `None` leaves it to whether the plugin lets the peer speak
    /// first.
    pub defer_accept_s: Option<u32>,
    pub user_timeout_ms: Option<u32>,
    pub busy_poll_us: Option<u32>,
    /// 0 resets what is closed.
    pub linger_s: Option<u32>,
    pub broadcast: bool,
    pub multicast: Vec<Group>,
    pub file: SocketFile,
}

/// When to ask a silent peer; the kernel decides what is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    pub idle_s: Option<u32>,
    pub interval_s: Option<u32>,
    pub count: Option<u8>,
}

/// A multicast group to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub address: IpAddr,
    /// The interface's number; 0 lets the routes decide.
    pub interface: u32,
}

/// The file of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketFile {
    pub mode: u32,
    /// `None` keeps who made it.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Default for SocketPlan {
    fn default() -> SocketPlan {
        SocketPlan {
            backlog: 4096,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            nodelay: true,
            keepalive: None,
            ttl: None,
            tos: None,
            device: None,
            mark: None,
            v6only: false,
            fast_open: None,
            defer_accept_s: None,
            user_timeout_ms: None,
            busy_poll_us: None,
            linger_s: None,
            broadcast: false,
            multicast: Vec::new(),
            file: SocketFile {
                mode: 0o660,
                uid: None,
                gid: None,
            },
        }
    }
}

impl Group {
    /// Whether a socket bound here hears the group: it has to be bound to every address, or to the
    /// group itself.
    pub fn reaches(&self, bound: &SocketAddr, v6only: bool) -> bool {
        let any = bound.ip().is_unspecified();
        let family = match (self.address, bound.ip()) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => true,
            (IpAddr::V4(_), IpAddr::V6(_)) => !v6only,
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        bound.ip() == self.address || (any && family)
    }
}

/// An option's name, without its table, and what is wrong with it.
pub(super) type Faults = Vec<(&'static str, Fault)>;

/// `endpoints` is `None` where some of them were refused: then nobody knows what would fit.
pub(super) fn resolve(
    written: &config::Socket,
    endpoints: Option<&[Endpoint]>,
    was_written: impl Fn(&str) -> bool,
    facts: &Facts,
) -> (SocketPlan, Faults) {
    let mut faults = Faults::new();
    refuse_keepalive_without(&was_written, &mut faults);
    let mut taken = |key, result: Result<_, Fault>| match result {
        Ok(value) => value,
        Err(fault) => {
            faults.push((key, fault));
            None
        }
    };
    let mut seconds = |key, ms: Option<u64>| taken(key, ms.map(whole_seconds).transpose());
    let keepalive = Keepalive {
        idle_s: seconds("keepalive_idle", written.keepalive_idle_ms),
        interval_s: seconds("keepalive_interval", written.keepalive_interval_ms),
        count: written.keepalive_count,
    };
    let defer_accept_s = seconds("defer_accept", written.defer_accept_ms);
    let linger_s = seconds("linger", written.linger_ms);
    let owner = written.owner.as_deref();
    let group = written.group.as_deref();
    let user = |name: &str| (facts.user)(name).map(|found| found.map(|numbers| numbers.uid));
    let uid = taken(
        "owner",
        owner.map(|name| number("user", name, user)).transpose(),
    );
    let gid = taken(
        "group",
        group
            .map(|name| number("group", name, facts.group))
            .transpose(),
    );
    let mode = taken("mode", octal(&written.mode).map(Some));
    if let Some(Err(fault)) = written.device.as_deref().map(interface_name) {
        faults.push(("device", fault));
    }
    let plan = SocketPlan {
        backlog: written.backlog,
        send_buffer_bytes: written.send_buffer_bytes,
        receive_buffer_bytes: written.receive_buffer_bytes,
        nodelay: written.nodelay,
        keepalive: written.keepalive.then_some(keepalive),
        ttl: written.ttl,
        tos: written.tos,
        device: written.device.clone(),
        mark: written.mark,
        v6only: written.v6only,
        fast_open: written.fast_open,
        defer_accept_s,
        user_timeout_ms: written.user_timeout_ms,
        busy_poll_us: written.busy_poll_us,
        linger_s,
        broadcast: written.broadcast,
        multicast: groups(written, endpoints, facts, &mut faults),
        file: SocketFile {
            mode: mode.unwrap_or(0),
            uid,
            gid,
        },
    };
    (plan, faults)
}

/// Who writes `keepalive = false` beside them knows.
fn refuse_keepalive_without(was_written: impl Fn(&str) -> bool, faults: &mut Faults) {
    for key in ["keepalive_idle", "keepalive_interval", "keepalive_count"] {
        if was_written(key) && !was_written("keepalive") {
            let fault = Fault::new("has no effect without keepalive");
            faults.push((key, fault.hint("set keepalive = true as well")));
        }
    }
}

fn whole_seconds(ms: u64) -> Result<u32, Fault> {
    match u32::try_from(ms / 1_000) {
        Ok(seconds) if ms.is_multiple_of(1_000) => Ok(seconds),
        _ => Err(
            Fault::new(format!("expected whole seconds, found \"{ms}ms\""))
                .hint("the kernel counts this in seconds"),
        ),
    }
}

fn octal(mode: &str) -> Result<u32, Fault> {
    let digits = matches!(mode.len(), 3 | 4) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
    u32::from_str_radix(mode, 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o777)
        .ok_or_else(|| {
            Fault::new(format!(
                "expected permissions in octal, found \"{}\"",
                shown(mode)
            ))
            .hint("write \"0660\" for owner and group, \"0666\" for everybody")
        })
}

fn number(what: &str, name: &str, look: impl Fn(&str) -> Looked<u32>) -> Result<u32, Fault> {
    let shown = shown(name);
    match look(name) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(
            Fault::new(format!("there is no {what} \"{shown}\" on this machine")).hint(format!(
                "create it, or name another {what} (by name, not by number)"
            )),
        ),
        Err(error) => Err(Fault::new(format!(
            "cannot look up {what} \"{shown}\": {error}"
        ))),
    }
}

/// As the kernel would take it; whether there is one shows when it is used.
pub(super) fn interface_name(name: &str) -> Result<(), Fault> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'/';
    if (1..16).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Fault::new(format!(
        "\"{}\" is not the name of a network interface",
        shown(name)
    ))
    .hint("`ip link` lists those there are"))
}

/// By its name, or by its number, which a later interface may have.
pub(super) fn interface(written: &str, facts: &Facts) -> Result<u32, Fault> {
    if !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit()) {
        let number = written.parse().ok();
        return number.filter(|number| *number > 0).ok_or_else(|| {
            Fault::new(format!("there is no network interface {}", shown(written)))
        });
    }
    interface_name(written)?;
    let quoted = shown(written);
    match (facts.interface)(written) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(
            Fault::new(format!("there is no network interface \"{quoted}\""))
                .hint("`ip link` lists those there are"),
        ),
        Err(error) => Err(Fault::new(format!(
            "cannot look up the network interface \"{quoted}\": {error}"
        ))),
    }
}

fn groups(
    written: &config::Socket,
    endpoints: Option<&[Endpoint]>,
    facts: &Facts,
    faults: &mut Faults,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for text in written.multicast.iter().flatten() {
        match group(text, facts) {
            Ok(group) if groups.contains(&group) => {
                faults.push((
                    "multicast",
                    Fault::new(format!("{} stands twice", shown(text))),
                ));
            }
            Ok(group) => groups.push(group),
            Err(fault) => faults.push(("multicast", fault)),
        }
    }
    let sockets = || {
        endpoints
            .into_iter()
            .flatten()
            .filter_map(|endpoint| match endpoint.address {
                Address::Udp(socket) => Some(socket),
                Address::Tcp(_) | Address::Unix(_) | Address::UnixDatagram(_) => None,
            })
    };
    for group in &groups {
        let heard = sockets().any(|socket| group.reaches(&socket, written.v6only));
        // Without any UDP endpoint that is what the complaint is about.
        if sockets().next().is_some() && !heard {
            let any = match group.address {
                IpAddr::V4(_) => "udp://*:PORT",
                IpAddr::V6(_) => "udp://[::]:PORT",
            };
            let fault = Fault::new(format!("no endpoint can hear {}", group.address));
            faults.push(("multicast", fault.hint(format!("listen on {any}"))));
        }
    }
    groups
}

/// "239.1.2.3", "ff02::1@eth0".
fn group(text: &str, facts: &Facts) -> Result<Group, Fault> {
    let (address, interface_written) = match text.split_once('@') {
        Some((address, interface)) => (address, Some(interface)),
        None => (text, None),
    };
    let parsed: Option<IpAddr> = address.parse().ok();
    let Some(address) = parsed.filter(IpAddr::is_multicast) else {
        let fault = Fault::new(format!("\"{}\" is not a multicast group", shown(address)));
        return Err(
            fault.hint("IPv4 groups are 224.0.0.0 to 239.255.255.255, IPv6 ones begin with ff")
        );
    };
    let interface = match interface_written {
        Some(written) => interface(written, facts)?,
        None => 0,
    };
    Ok(Group { address, interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_heard_on_every_address_of_its_family() {
        let cases = [
            ("239.1.2.3", "0.0.0.0:9", false, true),
            ("239.1.2.3", "127.0.0.1:9", false, false),
            ("239.1.2.3", "239.1.2.3:9", false, true),
            ("239.1.2.3", "[::]:9", false, true),
            ("239.1.2.3", "[::]:9", true, false),
            ("ff02::1", "0.0.0.0:9", false, false),
            ("ff02::1", "[::]:9", true, true),
        ];
        for (address, bound, v6only, heard) in cases {
            let group = Group {
                address: address.parse().expect("an address"),
                interface: 0,
            };
            let bound = bound.parse().expect("an address");
            assert_eq!(
                group.reaches(&bound, v6only),
                heard,
                "{address} {bound} {v6only}"
            );
        }
    }

    #[test]
    fn permissions_are_octal() {
        let cases = [
            ("0660", Some(0o660)),
            ("600", Some(0o600)),
            ("0777", Some(0o777)),
            ("1777", None),
            ("0o66", None),
            ("0680", None),
            ("+660", None),
            ("66", None),
            ("rw", None),
        ];
        for (written, mode) in cases {
            assert_eq!(octal(written).ok(), mode, "{written}");
        }
    }
}
