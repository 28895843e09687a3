//! What cases about limits and access need of the machine: other sources, few descriptors, hours
//! that are and are not now.

use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::OnceLock;
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

/// Lowers the soft limit of a process, which can be raised again, until so many descriptors are left to it.
pub fn leave_descriptors(pid: u32, count: usize) {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let taken: Vec<usize> = names
        .map(|name| name.to_string_lossy().parse().expect("a number"))
        .collect();
    let free = (0..).filter(|fd| !taken.contains(fd)).nth(count);
    limit_descriptors(pid, free.expect("numbers do not end"));
}

fn limit_descriptors(pid: u32, limit: usize) {
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string()])
        .arg(format!("--nofile={limit}:"))
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success());
}

/// Leaves it no number that another descriptor could have, not even in place of one that it closes.
pub fn leave_no_descriptor(pid: u32) {
    limit_descriptors(pid, 1);
}

/// How long a process has run so far, in nanoseconds, if it waits for something now.
pub fn ran_until_it_waited(pid: u32) -> Option<u64> {
    let of_process = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let waits = of_process("status")?.contains("State:\tS");
    let ran = of_process("schedstat")?.split(' ').next()?.parse().ok()?;
    waits.then_some(ran)
}

/// Replaces `{hours now}` and `{hours other}` by hours, in UTC, that this moment lies in or not, each
/// with hours to spare; `{named port}` and `{named port number}` by one that is free.
pub fn fill_in(line: &str) -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let hour = since.as_secs() / 3600 % 24;
    let hours = |from: u64, until: u64| format!("{:02}:00-{:02}:00", from % 24, until % 24);
    let line = line
        .replace("{hours now}", &hours(hour + 20, hour + 28))
        .replace("{hours other}", &hours(hour + 8, hour + 16));
    if !line.contains("{named port") {
        return line;
    }
    let (name, port) = named_port();
    line.replace("{named port}", name)
        .replace("{named port number}", &port.to_string())
}

/// A name in /etc/services, of a TCP port that anybody may have and nobody has now.
fn named_port() -> &'static (String, u16) {
    static FOUND: OnceLock<(String, u16)> = OnceLock::new();
    FOUND.get_or_init(|| {
        let services = std::fs::read_to_string("/etc/services").expect("of netbase");
        let named = services.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
            let port = port.parse().ok().filter(|port| *port >= 1024)?;
            Some((name.to_owned(), port))
        });
        let is_free = |(_, port): &(String, u16)| TcpListener::bind(("127.0.0.9", *port)).is_ok();
        let mut free = named.filter(is_free);
        free.next().expect("one of those ports is free")
    })
}
