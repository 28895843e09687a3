//! What hosts on the way, or the peers' own, have said against datagrams that a socket had sent.
//!
//! A socket that is not connected hears of it only in a queue of its own (IP_RECVERR, ip(7)), where it
//! stays until it is read; until then an event queue reports the socket without end. Which datagram it
//! was about is not asked: nobody would send it again.
//!
//! Invariant: one call reads no more than `ERRORS_MAX`, so that a flood of them holds up nobody.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Read at once; what is left is reported again.
const ERRORS_MAX: usize = 256;

/// Takes what waits, and says how many of it came from other hosts; the socket's own are not counted.
pub fn take_errors(socket: BorrowedFd<'_>) -> u64 {
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let mut control = nix::cmsg_space!([u8; 128]);
    let mut count = 0;
    for _ in 0..ERRORS_MAX {
        let fd = socket.as_raw_fd();
        let Ok(message) = recvmsg::<()>(fd, &mut [], Some(&mut control), flags) else {
            break;
        };
        let came_from_elsewhere = message.cmsgs().is_ok_and(|mut notes| {
            notes.any(|note| match note {
                ControlMessageOwned::Ipv4RecvErr(error, _) => is_icmp(error.ee_origin),
                ControlMessageOwned::Ipv6RecvErr(error, _) => is_icmp(error.ee_origin),
                _ => false,
            })
        });
        count += u64::from(came_from_elsewhere);
    }
    count
}

fn is_icmp(origin: u8) -> bool {
    matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;

    #[test]
    fn each_is_taken_once_and_ones_own_are_not_counted() {
        for host in ["127.0.0.1", "::1"] {
            let socket = UdpSocket::bind((host, 0)).expect("a free port");
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true).expect("ip(7)");
            if host == "::1" {
                setsockopt(&socket, sockopt::Ipv6RecvErr, &true).expect("ipv6(7)");
            }
            let gone = UdpSocket::bind((host, 0)).expect("a free port");
            let nowhere = gone.local_addr().expect("it is bound");
            drop(gone);
            assert_eq!(take_errors(socket.as_fd()), 0, "{host}");
            socket.send_to(b"hello", nowhere).expect("it is taken");
            assert_eq!(take_errors(socket.as_fd()), 1, "{host}");
            // Longer than any datagram, which the socket itself notices.
            socket.send_to(&[0; 65_536], nowhere).expect_err("too long");
            assert_eq!(take_errors(socket.as_fd()), 0, "{host}");
            // Nothing is left that a call would fail for.
            socket
                .send_to(b"again", socket.local_addr().expect("bound"))
                .expect("it is taken");
        }
    }
}
