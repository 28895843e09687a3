//! What cases about limits and access need of the machine: other sources, few descriptors, hours
//! that are and are not now.

use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

/// From an address of this machine.
pub fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let source = SocketAddrV4::new(source.parse().expect("an IPv4 address"), 0);
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket");
    bind(fd.as_raw_fd(), &SockaddrStorage::from(source)).expect("bound");
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).expect("connected");
    TcpStream::from(fd)
}

/// Lowers the limit of a process until so many descriptors are left to it.
pub fn leave_descriptors(pid: u32, count: usize) {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let taken: Vec<usize> = names
        .map(|name| name.to_string_lossy().parse().expect("a number"))
        .collect();
    let free = (0..).filter(|fd| !taken.contains(fd)).nth(count);
    let limit = free.expect("numbers do not end");
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string()])
        .arg(format!("--nofile={limit}:{limit}"))
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success());
}

/// Replaces `{hours now}` and `{hours other}` by hours, in UTC, that this moment lies in or not, each
/// with hours to spare.
pub fn fill_in(line: &str) -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let hour = since.as_secs() / 3600 % 24;
    let hours = |from: u64, until: u64| format!("{:02}:00-{:02}:00", from % 24, until % 24);
    line.replace("{hours now}", &hours(hour + 20, hour + 28))
        .replace("{hours other}", &hours(hour + 8, hour + 16))
}
