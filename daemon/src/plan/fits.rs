//! Which keys of a service are for which of its endpoints: one that no endpoint could have is refused
//! instead of being kept without effect.
//!
//! A key for all endpoints is not here, and none that stands in for another one. What a plugin has to
//! do with a key is not known here; `plugin_host::probe` asks that.
//!
//! Invariant: a key that is refused here would change nothing.

use super::{Address, Endpoint, Transport, UnixName};
use crate::config::Fault;

/// Which endpoints a key is for.
#[derive(Clone, Copy)]
enum For {
    Streams,
    Datagrams,
    Tcp,
    Udp,
    Internet,
    Ipv6,
    Files,
}

/// Keys that are not for every transport.
const FITS: [(&str, For); 41] = [
    ("limits.connections", For::Streams),
    ("limits.per_source", For::Tcp),
    ("limits.rate", For::Streams),
    ("limits.burst", For::Streams),
    ("limits.pending", For::Streams),
    ("limits.idle", For::Streams),
    ("limits.lifetime", For::Streams),
    ("limits.progress", For::Streams),
    ("limits.stall", For::Streams),
    ("limits.bandwidth", For::Streams),
    ("limits.input", For::Streams),
    ("limits.output", For::Streams),
    ("limits.handler", For::Streams),
    ("limits.datagram_rate", For::Datagrams),
    ("limits.datagram_burst", For::Datagrams),
    ("access.allow", For::Internet),
    ("access.deny", For::Internet),
    ("access.banner_refused", For::Streams),
    ("access.sensor_ban", For::Tcp),
    ("access.proxy_from", For::Tcp),
    ("socket.backlog", For::Streams),
    ("socket.nodelay", For::Tcp),
    ("socket.keepalive", For::Tcp),
    ("socket.keepalive_idle", For::Tcp),
    ("socket.keepalive_interval", For::Tcp),
    ("socket.keepalive_count", For::Tcp),
    ("socket.fast_open", For::Tcp),
    ("socket.defer_accept", For::Tcp),
    ("socket.user_timeout", For::Tcp),
    ("socket.linger", For::Tcp),
    ("socket.ttl", For::Internet),
    ("socket.tos", For::Internet),
    ("socket.device", For::Internet),
    ("socket.mark", For::Internet),
    ("socket.busy_poll", For::Internet),
    ("socket.v6only", For::Ipv6),
    ("socket.broadcast", For::Udp),
    ("socket.multicast", For::Udp),
    ("socket.mode", For::Files),
    ("socket.owner", For::Files),
    ("socket.group", For::Files),
];

impl For {
    fn fits(self, address: &Address) -> bool {
        match self {
            For::Streams => address.transport() == Transport::Stream,
            For::Datagrams => address.transport() == Transport::Datagram,
            For::Tcp => matches!(address, Address::Tcp(_)),
            For::Udp => matches!(address, Address::Udp(_)),
            For::Internet => address.socket().is_some(),
            For::Ipv6 => address.socket().is_some_and(|socket| socket.is_ipv6()),
            For::Files => matches!(
                address,
                Address::Unix(UnixName::Path(_)) | Address::UnixDatagram(UnixName::Path(_))
            ),
        }
    }

    fn what(self) -> &'static str {
        match self {
            For::Streams => "tcp:// and unix: endpoints",
            For::Datagrams => "udp:// and unixgram: endpoints",
            For::Tcp => "tcp:// endpoints",
            For::Udp => "udp:// endpoints",
            For::Internet => "tcp:// and udp:// endpoints",
            For::Ipv6 => "IPv6 endpoints",
            For::Files => "unix: and unixgram: endpoints with a path",
        }
    }
}

/// Written keys of a service, without its name, that none of its endpoints could have.
pub(super) fn unfit(
    endpoints: &[Endpoint],
    was_written: impl Fn(&str) -> bool,
) -> Vec<(&'static str, Fault)> {
    let fits = |whom: For| endpoints.iter().any(|one| whom.fits(&one.address));
    let unfit = FITS
        .iter()
        .filter(|(key, whom)| !fits(*whom) && was_written(key));
    let fault = |whom: For| {
        Fault::new(format!("is for {}, and this service has none", whom.what()))
            .hint("remove it, or add such an endpoint")
    };
    unfit.map(|(key, whom)| (*key, fault(*whom))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::KEYS;

    #[test]
    fn each_key_is_one_of_a_service_and_stands_here_once() {
        for (nth, (key, _)) in FITS.iter().enumerate() {
            let path = format!("services.*.{key}");
            assert!(KEYS.iter().any(|known| known.path == path), "{key}");
            assert!(FITS[..nth].iter().all(|(other, _)| other != key), "{key}");
        }
    }
}
