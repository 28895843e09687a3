//! Socket options that nix has no type for, set and read.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// An option of one C `int`, as most are (socket(7), tcp(7), ip(7)).
pub fn set_int(socket: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set(socket, level, name, &value)
}

/// `T` is the type that the option's page names: the kernel reads as many bytes.
fn set<T: Copy>(socket: impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let pointer = std::ptr::from_ref(value).cast();
    // SAFETY: the pointer is to a value that is borrowed to the end of the call, and the length is
    // its own.
    let result =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, pointer, length) };
    Errno::result(result)?;
    Ok(())
}

/// Reads an option of any type; returns how many bytes of `value` the kernel filled.
pub fn read(socket: impl AsFd, level: i32, name: i32, value: &mut [u8]) -> io::Result<usize> {
    let mut length = value.len() as libc::socklen_t;
    let pointer = value.as_mut_ptr().cast();
    // SAFETY: the buffer is borrowed for the call and `length` is how long it is; getsockopt(2)
    // writes no more than that, and then what it wrote.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            pointer,
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok((length as usize).min(value.len()))
}

/// Takes datagrams of a multicast group, from one interface or, with 0, where the routes say.
pub fn join_group(socket: impl AsFd, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let request = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr {
                    s_addr: u32::from(group).to_be(),
                },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
            };
            set(socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
        }
        IpAddr::V6(group) => {
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr {
                    s6_addr: group.octets(),
                },
                ipv6mr_interface: interface,
            };
            let name = libc::IPV6_ADD_MEMBERSHIP;
            set(socket, libc::IPPROTO_IPV6, name, &request)
        }
    }
}
