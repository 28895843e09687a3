//! The answer to `doctor sockopts`: every option of every listener, beside that of a fresh socket of
//! the same kind.
//!
//! Only the supervisor can answer it, because it alone holds all the sockets. Nothing is set and
//! nothing is asked of a worker.
//!
//! Invariant: at most [`LISTENERS_MAX`] listeners are read for one question, so that answering
//! takes milliseconds however many there are.

mod known;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde_json::Value;

use super::listeners::Listener;
use super::service::Service;
use crate::control::{ListenerOptions, Reply, SocketOption, SocketOptions};
use crate::exit;
use crate::lifecycle::ServiceId;
use crate::plan::{Address, Transport};
use crate::sys::socket_option::read;
use known::{Kind, Level};

/// More are left out of one answer; naming a service brings those.
const LISTENERS_MAX: usize = 64;

pub(super) fn reply(services: &BTreeMap<ServiceId, Service>, wanted: Option<&str>) -> Reply {
    match of(services, wanted) {
        Some(answer) => Reply::done(serde_json::to_value(answer).expect("an answer is plain data")),
        None => {
            let names: Vec<&str> = services
                .values()
                .map(|service| service.name.as_str())
                .collect();
            let text = format!("there is no such service; there are: {}", names.join(", "));
            Reply::failed(exit::FAILED, text)
        }
    }
}

/// Of one service or of all; `None` if there is no such service.
fn of(services: &BTreeMap<ServiceId, Service>, wanted: Option<&str>) -> Option<SocketOptions> {
    let is_wanted = |service: &&Service| wanted.is_none_or(|name| service.name == name);
    if wanted.is_some() && !services.values().any(|service| is_wanted(&service)) {
        return None;
    }
    let mut answer = SocketOptions::default();
    let mut defaults = BTreeMap::new();
    for service in services.values().filter(is_wanted) {
        for listener in service.listeners() {
            if answer.listeners.len() == LISTENERS_MAX {
                answer.left_out += 1;
                continue;
            }
            let options = of_listener(listener, &mut defaults);
            answer.listeners.push(ListenerOptions {
                service: service.name.clone(),
                url: listener.local().to_string(),
                options,
            });
        }
    }
    Some(answer)
}

/// A family and whether it is for streams.
type Sort = (i32, bool);

fn of_listener(
    listener: &Listener,
    defaults: &mut BTreeMap<Sort, Vec<SocketOption>>,
) -> Vec<SocketOption> {
    let address = listener.local();
    let family = match address.socket() {
        Some(SocketAddr::V4(_)) => AddressFamily::Inet,
        Some(SocketAddr::V6(_)) => AddressFamily::Inet6,
        None => AddressFamily::Unix,
    };
    let stream = address.transport() == Transport::Stream;
    let levels = levels(address);
    let usual =
        defaults
            .entry((family as i32, stream))
            .or_insert_with(|| match fresh(family, stream) {
                Some(socket) => all(&socket, &levels),
                None => Vec::new(),
            });
    let mut options = all(listener.socket(), &levels);
    for (option, usual) in options.iter_mut().zip(usual) {
        option.default = usual.value.clone();
    }
    options
}

fn levels(address: &Address) -> Vec<Level> {
    let mut levels = vec![known::SOCKET];
    if let Some(socket) = address.socket() {
        levels.push(known::IP);
        if socket.is_ipv6() {
            levels.push(known::IPV6);
        }
    }
    match address {
        Address::Tcp(_) => levels.push(known::TCP),
        Address::Udp(_) => levels.push(known::UDP),
        Address::Unix(_) | Address::UnixDatagram(_) => {}
    }
    levels
}

fn fresh(family: AddressFamily, stream: bool) -> Option<OwnedFd> {
    let kind = match stream {
        true => SockType::Stream,
        false => SockType::Datagram,
    };
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None).ok()
}

fn all(socket: impl AsFd, levels: &[Level]) -> Vec<SocketOption> {
    let options = levels
        .iter()
        .flat_map(|level| level.options.iter().map(move |known| (level, known)));
    options
        .map(|(level, known)| SocketOption {
            level: level.name.to_owned(),
            name: known.name.to_owned(),
            value: value(socket.as_fd(), level.number, known.number, known.kind),
            default: Value::Null,
        })
        .collect()
}

/// `null` where this kernel or this socket has no such option.
fn value(socket: impl AsFd, level: i32, number: i32, kind: Kind) -> Value {
    let mut bytes = [0; 64];
    if kind == Kind::Unread {
        return Value::Null;
    }
    match read(socket, level, number, &mut bytes) {
        Ok(length) => decode(&bytes[..length], kind),
        Err(_) => Value::Null,
    }
}

fn decode(bytes: &[u8], kind: Kind) -> Value {
    let int = |bytes: &[u8]| Some(i64::from(i32::from_ne_bytes(bytes.try_into().ok()?)));
    let long = |bytes: &[u8]| Some(i64::from_ne_bytes(bytes.try_into().ok()?));
    let ints = || bytes.chunks_exact(4).filter_map(int);
    match (kind, bytes) {
        (Kind::Number, [byte]) => (*byte).into(),
        // Some count without a sign, and "no limit" is all bits set.
        (Kind::Number, _) if bytes.len() == 8 => match long(bytes) {
            Some(-1) => "no limit".into(),
            number => number.map(i64::cast_unsigned).into(),
        },
        (Kind::Number, _) => int(bytes).into(),
        (Kind::Linger, _) => match ints().collect::<Vec<_>>()[..] {
            [0, _] => "off".into(),
            [_, seconds] => format!("{seconds}s").into(),
            _ => Value::Null,
        },
        (Kind::Time, _) => match bytes.split_at_checked(8) {
            Some((seconds, micros)) => match (long(seconds), long(micros)) {
                (Some(0), Some(0)) => "off".into(),
                (Some(seconds), Some(micros)) => format!("{seconds}.{micros:06}s").into(),
                _ => Value::Null,
            },
            None => Value::Null,
        },
        (Kind::Text, _) => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or(bytes);
            String::from_utf8_lossy(text).into_owned().into()
        }
        (Kind::Address, _) => match <[u8; 4]>::try_from(bytes) {
            Ok(octets) => Ipv4Addr::from(octets).to_string().into(),
            Err(_) => Value::Null,
        },
        (Kind::Numbers, _) => {
            let words: Vec<String> = ints().map(|number| number.to_string()).collect();
            words.join(",").into()
        }
        (Kind::Unread, _) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn two_fresh_sockets_have_the_same_defaults() {
        for (family, stream) in [
            (AddressFamily::Inet, true),
            (AddressFamily::Inet6, true),
            (AddressFamily::Inet6, false),
            (AddressFamily::Unix, true),
        ] {
            let levels = [known::SOCKET, known::IP, known::IPV6, known::TCP];
            let defaults = || all(fresh(family, stream).expect("a socket"), &levels);
            assert_eq!(defaults(), defaults());
        }
    }

    #[test]
    fn every_option_is_listed_once() {
        for level in [
            known::SOCKET,
            known::IP,
            known::IPV6,
            known::TCP,
            known::UDP,
        ] {
            let mut seen = BTreeSet::new();
            for option in level.options {
                assert!(seen.insert(option.number), "{} {}", level.name, option.name);
            }
        }
    }

    #[test]
    fn values_read_as_what_they_mean() {
        let words =
            |numbers: &[i32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_ne_bytes()).collect() };
        let cases = [
            (words(&[-1]), Kind::Number, Value::from(-1)),
            (vec![7], Kind::Number, Value::from(7)),
            (words(&[-1, -1]), Kind::Number, "no limit".into()),
            (words(&[0, 9]), Kind::Linger, "off".into()),
            (words(&[1, 0]), Kind::Linger, "0s".into()),
            (words(&[0, 0, 0, 0]), Kind::Time, "off".into()),
            (b"cubic\0\0".to_vec(), Kind::Text, "cubic".into()),
            (vec![127, 0, 0, 1], Kind::Address, "127.0.0.1".into()),
            (words(&[1, 0, 5]), Kind::Numbers, "1,0,5".into()),
            (vec![1, 2], Kind::Number, Value::Null),
            (Vec::new(), Kind::Time, Value::Null),
        ];
        for (bytes, kind, expected) in cases {
            assert_eq!(decode(&bytes, kind), expected, "{bytes:?}");
        }
    }

    #[test]
    fn reading_all_of_them_leaves_a_socket_as_it_was() {
        for (family, stream) in [
            (AddressFamily::Inet, true),
            (AddressFamily::Inet6, false),
            (AddressFamily::Unix, true),
        ] {
            let socket = fresh(family, stream).expect("a socket");
            let levels = [
                known::SOCKET,
                known::IP,
                known::IPV6,
                known::TCP,
                known::UDP,
            ];
            let first = all(&socket, &levels);
            let readable = first
                .iter()
                .filter(|option| !option.value.is_null())
                .count();
            assert!(readable > 25, "{readable} of {family:?}");
            assert_eq!(first, all(&socket, &levels));
        }
    }
}
