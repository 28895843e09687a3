//! What sessions were opened with, kept small for as long as it may have to be told to another worker.
//!
//! There is one for each open connection, nearly all of which do nothing: two IPv4 addresses need
//! twelve bytes, and the endpoint's name is kept once for all who came to it.
//!
//! Invariant: what is told again is what was kept.

use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;

use super::roll::Beside;
use super::session::{Credentials, Facts, Party, Token};

#[derive(Debug, Default)]
pub(super) struct KeptFacts {
    kept: Beside<Kept>,
    endpoints: Endpoints,
}

impl KeptFacts {
    pub(super) fn keep(&mut self, token: Token, facts: &Facts<'_>) {
        let kept = Kept::of(facts, &mut self.endpoints);
        self.kept.insert(token, kept);
    }

    pub(super) fn of(&self, token: Token) -> Option<Facts<'_>> {
        self.kept.get(token).map(Kept::facts)
    }

    pub(super) fn forget(&mut self, token: Token) {
        self.kept.remove(token);
    }
}

#[derive(Debug)]
struct Kept {
    ends: Ends,
    endpoint: Rc<str>,
    accepted_ms: u64,
    proxied: bool,
}

#[derive(Debug)]
enum Ends {
    V4 {
        peer: SocketAddrV4,
        local: SocketAddrV4,
    },
    Other(Box<(Party, Party, Option<Credentials>)>),
}

/// The names of endpoints, each once.
#[derive(Debug, Default)]
struct Endpoints(Vec<Rc<str>>);

impl Endpoints {
    /// There are as many as the service listens on, and those that carried sessions came from.
    fn shared(&mut self, endpoint: &str) -> Rc<str> {
        if let Some(known) = self.0.iter().find(|known| &***known == endpoint) {
            return Rc::clone(known);
        }
        // Nobody keeps one that no session has any more.
        self.0.retain(|known| Rc::strong_count(known) > 1);
        let shared: Rc<str> = endpoint.into();
        self.0.push(Rc::clone(&shared));
        shared
    }
}

impl Kept {
    fn of(facts: &Facts<'_>, endpoints: &mut Endpoints) -> Kept {
        let ends = match (facts.peer, facts.local, facts.credentials) {
            (
                Party::Internet(SocketAddr::V4(peer)),
                Party::Internet(SocketAddr::V4(local)),
                None,
            ) => Ends::V4 { peer, local },
            other => Ends::Other(Box::new(other)),
        };
        Kept {
            ends,
            endpoint: endpoints.shared(facts.endpoint),
            accepted_ms: facts.accepted_ms,
            proxied: facts.proxied,
        }
    }

    fn facts(&self) -> Facts<'_> {
        let (peer, local, credentials) = match &self.ends {
            Ends::V4 { peer, local } => (
                Party::Internet(SocketAddr::V4(*peer)),
                Party::Internet(SocketAddr::V4(*local)),
                None,
            ),
            Ends::Other(ends) => **ends,
        };
        Facts {
            peer,
            local,
            credentials,
            accepted_ms: self.accepted_ms,
            proxied: self.proxied,
            endpoint: &self.endpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_told_again_and_is_small() {
        let internet = |text: &str| Party::Internet(text.parse().expect("an address"));
        let credentials = Some(Credentials {
            pid: 1,
            uid: 2,
            gid: 3,
        });
        let v4 = (internet("192.0.2.1:7"), internet("192.0.2.2:9"), None);
        let v6 = (internet("[fe80::1%3]:7"), internet("[::1]:9"), None);
        let mut endpoints = Endpoints::default();
        for (peer, local, credentials) in [v4, v6, (Party::Unix, Party::Unix, credentials)] {
            let facts = Facts {
                peer,
                local,
                credentials,
                accepted_ms: 5,
                proxied: true,
                endpoint: "tcp://[::]:7",
            };
            let kept = Kept::of(&facts, &mut endpoints);
            let again = kept.facts();
            assert_eq!((again.peer, again.local), (peer, local));
            assert_eq!((again.credentials, again.accepted_ms), (credentials, 5));
            assert_eq!((again.proxied, again.endpoint), (true, "tcp://[::]:7"));
        }
        assert_eq!(endpoints.0.len(), 1);
        assert!(size_of::<Kept>() <= 48, "{}", size_of::<Kept>());
    }
}
