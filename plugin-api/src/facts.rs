//! What a plugin is told of its peers: addresses, the facts of a session or a datagram, and why a
//! session ended. Values only; they are read from the raw tables in `glue`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::abi;

/// Where a peer or a listener is. Shown as an administrator would write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6, with its port.
    Ip(SocketAddr),
    /// A socket of this machine; shown as `unix`.
    Unix,
}

impl Address {
    pub(crate) fn from_raw(raw: &abi::Address) -> Address {
        match raw.family {
            abi::FAMILY_IPV4 => {
                // As a word, which is how the host has written it.
                let ip = Ipv4Addr::from((u128::from_le_bytes(raw.ip) as u32).to_le_bytes());
                Address::Ip(SocketAddrV4::new(ip, raw.port).into())
            }
            abi::FAMILY_IPV6 => {
                let ip = Ipv6Addr::from(raw.ip);
                Address::Ip(SocketAddrV6::new(ip, raw.port, 0, raw.scope).into())
            }
            _ => Address::Unix,
        }
    }

    pub(crate) fn to_raw(self) -> abi::Address {
        let mut raw = abi::Address::default();
        match self {
            Address::Unix => raw.family = abi::FAMILY_UNIX,
            Address::Ip(SocketAddr::V4(address)) => {
                raw.family = abi::FAMILY_IPV4;
                raw.port = address.port();
                raw.ip[..4].copy_from_slice(&address.ip().octets());
            }
            Address::Ip(SocketAddr::V6(address)) => {
                raw.family = abi::FAMILY_IPV6;
                raw.port = address.port();
                raw.scope = address.scope_id();
                raw.ip = address.ip().octets();
            }
        }
        raw
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix => f.write_str("unix"),
        }
    }
}

/// Who is at the other end of a local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The facts of a new session.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub(crate) peer: Address,
    pub(crate) local: Address,
    pub(crate) accepted: Duration,
    pub(crate) endpoint: &'a str,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) proxied: bool,
}

impl Facts<'_> {
    /// The other end.
    pub fn peer(&self) -> Address {
        self.peer
    }

    /// Our end, as the peer addressed it.
    pub fn local(&self) -> Address {
        self.local
    }

    /// When the connection was accepted, on the clock of [`Context::now`](crate::Context::now).
    pub fn accepted(&self) -> Duration {
        self.accepted
    }

    /// The listener as the administrator wrote it.
    pub fn endpoint(&self) -> &str {
        self.endpoint
    }

    /// The peer's process and user, where the transport knows them.
    pub fn credentials(&self) -> Option<Credentials> {
        self.credentials
    }

    /// Whether the addresses are what a trusted proxy reported.
    pub fn is_proxied(&self) -> bool {
        self.proxied
    }
}

/// Names the way back of a datagram: the socket, the address and interface it came to, and its peer.
/// May be kept for a while: it is good for the next few hundred datagrams, then answers
/// [`Error::Gone`](crate::Error::Gone).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyToken(pub(crate) u64);

/// The facts of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    pub(crate) peer: Address,
    pub(crate) local: Address,
    pub(crate) reply_token: ReplyToken,
    /// Text, which is only made sure of where somebody asks: datagrams are many.
    pub(crate) endpoint: &'a [u8],
    pub(crate) proxied: bool,
    pub(crate) to_many: bool,
}

impl Datagram<'_> {
    /// Who sent it.
    pub fn peer(&self) -> Address {
        self.peer
    }

    /// Where it was sent to.
    pub fn local(&self) -> Address {
        self.local
    }

    /// Whether it was sent to a broadcast or multicast address, which [`local`](Datagram::local) then
    /// is.
    pub fn is_to_many(&self) -> bool {
        self.to_many
    }

    /// What an answer must name, see [`Context::reply`](crate::Context::reply).
    pub fn reply_token(&self) -> ReplyToken {
        self.reply_token
    }

    /// The listener as the administrator wrote it; nothing if a host passed what is no text.
    pub fn endpoint(&self) -> &str {
        std::str::from_utf8(self.endpoint).unwrap_or_default()
    }

    /// Whether the addresses are what a trusted proxy reported.
    pub fn is_proxied(&self) -> bool {
        self.proxied
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Both sides finished in order.
    Finished,
    /// The plugin asked for it, or one of its methods returned an error.
    Aborted,
    /// The peer reset the connection or vanished.
    Lost,
    /// No byte either way for too long.
    Idle,
    /// A limit was passed.
    Limit,
    /// The worker's time to drain was over.
    Drain,
    /// The plugin broke a rule.
    Fault,
    /// A file that was being sent became shorter, or could not be read.
    File,
    /// It goes on in another worker: the peer has noticed nothing.
    Carried,
    /// A reason that this release does not know.
    Other(u32),
}

impl End {
    pub(crate) fn from_raw(raw: u32) -> End {
        match raw {
            abi::END_FINISHED => End::Finished,
            abi::END_ABORTED => End::Aborted,
            abi::END_LOST => End::Lost,
            abi::END_IDLE => End::Idle,
            abi::END_LIMIT => End::Limit,
            abi::END_DRAIN => End::Drain,
            abi::END_FAULT => End::Fault,
            abi::END_FILE => End::File,
            abi::END_CARRIED => End::Carried,
            other => End::Other(other),
        }
    }

    pub(crate) fn to_raw(self) -> u32 {
        match self {
            End::Finished => abi::END_FINISHED,
            End::Aborted => abi::END_ABORTED,
            End::Lost => abi::END_LOST,
            End::Idle => abi::END_IDLE,
            End::Limit => abi::END_LIMIT,
            End::Drain => abi::END_DRAIN,
            End::Fault => abi::END_FAULT,
            End::File => abi::END_FILE,
            End::Carried => abi::END_CARRIED,
            End::Other(other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ends_survive_the_border() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443", "[fe80::1%7]:9"] {
            let address = Address::Ip(text.parse().expect("a valid address"));
            assert_eq!(Address::from_raw(&address.to_raw()), address);
            assert_eq!(address.to_string(), text);
        }
        assert_eq!(Address::from_raw(&Address::Unix.to_raw()), Address::Unix);
        for raw in 0..10 {
            assert_eq!(End::from_raw(raw).to_raw(), raw);
        }
    }
}
