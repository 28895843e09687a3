//! What a worker is asked about its connections, and what it says: for `connections`.
//!
//! The answer lies in a memory file that the supervisor made; the worker writes it and reports how
//! long it is. Numbers and addresses only: nothing that a peer has sent is in it.
//!
//! Invariant: a worker lists no more connections than it was asked for.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Which connections are meant; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionFilter {
    pub service: Option<String>,
    pub source: Option<IpNet>,
    /// Accepted so long ago, or longer.
    pub older_ms: Option<u64>,
    /// No byte has moved for so long, or longer.
    pub idle_ms: Option<u64>,
    /// As it was listed.
    pub id: Option<String>,
}

impl ConnectionFilter {
    pub fn is_everything(&self) -> bool {
        *self == ConnectionFilter::default()
    }
}

/// To one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsOrder {
    /// Of the question; the report repeats it.
    pub number: u64,
    pub filter: ConnectionFilter,
    /// The connection that an id in the filter means here.
    pub token: Option<u64>,
    pub list_max: usize,
    /// Let what is said leave, then close.
    pub end: bool,
}

/// From one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConnections {
    pub connections: Vec<OpenConnection>,
    pub left_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConnection {
    pub token: u64,
    /// `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub age_ms: u64,
    pub idle_ms: Option<u64>,
    pub bytes_in: Option<u64>,
    pub bytes_out: Option<u64>,
    pub queued: Option<u64>,
}

impl ConnectionsOrder {
    pub fn fits(&self, connection: &OpenConnection) -> bool {
        let ConnectionFilter {
            source,
            older_ms,
            idle_ms,
            ..
        } = &self.filter;
        let from_there = |net: &IpNet| {
            let peer = connection.peer.map(|peer| peer.ip().to_canonical());
            peer.is_some_and(|ip| net.contains(&ip))
        };
        let idle = |least: &u64| connection.idle_ms.is_some_and(|ms| ms >= *least);
        self.token.is_none_or(|token| token == connection.token)
            && source.as_ref().is_none_or(from_there)
            && older_ms.is_none_or(|least| connection.age_ms >= least)
            && idle_ms.as_ref().is_none_or(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_fits_if_everything_that_was_said_holds() {
        type Edit = fn(&mut ConnectionsOrder);
        let connection = OpenConnection {
            token: 7,
            peer: Some("[::ffff:192.0.2.1]:9".parse().expect("an address")),
            local: None,
            age_ms: 100,
            idle_ms: Some(50),
            bytes_in: None,
            bytes_out: None,
            queued: None,
        };
        let net = |text: &str| Some(text.parse().expect("a network"));
        let said = |edit: Edit| {
            let mut order = ConnectionsOrder {
                number: 1,
                filter: ConnectionFilter::default(),
                token: None,
                list_max: 1,
                end: false,
            };
            edit(&mut order);
            order
        };
        let mut order = said(|_| {});
        for (source, fits) in [
            ("192.0.2.0/24", true),
            ("192.0.3.0/24", false),
            ("::/0", false),
        ] {
            order.filter.source = net(source);
            assert_eq!(order.fits(&connection), fits, "{source}");
        }
        let rows: [(Edit, bool); 7] = [
            (|_| {}, true),
            (|o| o.token = Some(7), true),
            (|o| o.token = Some(8), false),
            (|o| o.filter.older_ms = Some(100), true),
            (|o| o.filter.older_ms = Some(101), false),
            (|o| o.filter.idle_ms = Some(50), true),
            (|o| o.filter.idle_ms = Some(51), false),
        ];
        for (edit, fits) in rows {
            let order = said(edit);
            assert_eq!(order.fits(&connection), fits, "{order:?}");
        }
        let on_unix = OpenConnection {
            peer: None,
            idle_ms: None,
            ..connection
        };
        order.filter.source = net("0.0.0.0/0");
        assert!(!order.fits(&on_unix));
        assert!(!said(|o| o.filter.idle_ms = Some(0)).fits(&on_unix));
    }
}
