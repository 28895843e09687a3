//! A host that sends datagrams to a daemon, and hears what comes back within our patience.

use std::net::{SocketAddr, UdpSocket};

use super::daemon::{Daemon, PATIENCE};

pub fn address(daemon: &Daemon, service: &str) -> SocketAddr {
    let url = daemon.url(service, 0);
    let address = url.strip_prefix("udp://").expect("a UDP service");
    address.parse().expect("an address")
}

pub fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

pub fn hear(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = [0; 2000];
    let length = socket.recv(&mut bytes).expect("an answer");
    bytes[..length].to_vec()
}

pub fn counted(daemon: &Daemon, service: &str, counter: &str) -> u64 {
    let status = daemon.status();
    status["services"][service]["totals"][counter]
        .as_u64()
        .unwrap_or_else(|| panic!("no {counter} in {status}"))
}
