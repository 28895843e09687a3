//! Load on an echo: short connections one after the other, and long ones with data both ways all the
//! time. Every byte of every answer is compared.
//!
//! Invariant: what is counted as answered was answered whole.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect, setsockopt,
    socket, sockopt,
};

use crate::support::daemon::PATIENCE;

/// What is said, and compared, at a time.
const PIECE_MAX: usize = 16_384;
/// What may be on its way of a long connection.
pub(crate) const WINDOW: usize = 8_192;
/// So much of a short connection is on its way before anything is read.
const SHORT_MAX: usize = 3 * PIECE_MAX;

/// How connections ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Whole, in order, and to the end.
    pub(crate) answered: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) reset: AtomicU64,
    /// The end came too early.
    pub(crate) short: AtomicU64,
    /// A byte was another one. Nothing allows this.
    pub(crate) wrong: AtomicU64,
    /// Nothing came for as long as a test may wait.
    pub(crate) silent: AtomicU64,
    /// Bytes that came back to those who stay.
    pub(crate) returned: AtomicU64,
}

impl Tally {
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whoever was let in and then lost.
    pub(crate) fn broken(&self) -> u64 {
        self.reset.load(Ordering::Relaxed) + self.short.load(Ordering::Relaxed)
    }

    /// Nobody was refused, forgotten or told something wrong, whatever else happened.
    pub(crate) fn is_honest(&self) {
        for count in [&self.refused, &self.wrong, &self.silent] {
            assert_eq!(count.load(Ordering::Relaxed), 0, "{self:?}");
        }
    }

    pub(crate) fn is_clean(&self) {
        self.is_honest();
        assert_eq!(self.broken(), 0, "{self:?}");
        assert!(self.answered() > 0, "{self:?}");
    }

    fn count(&self, end: &Result<(), Failure>) {
        let counter = match end {
            Ok(()) => &self.answered,
            Err(Failure::Refused) => &self.refused,
            Err(Failure::Reset) => &self.reset,
            Err(Failure::Short) => &self.short,
            Err(Failure::Wrong) => &self.wrong,
            Err(Failure::Silent) => &self.silent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused,
    Reset,
    Short,
    Wrong,
    Silent,
}

/// Threads that keep a service busy until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pub(crate) short: Arc<Tally>,
    pub(crate) long: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many connections of each kind at any moment.
    pub(crate) fn begin(address: SocketAddr, short: u8, long: u8) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            short: Arc::default(),
            long: Arc::default(),
            threads: Vec::new(),
        };
        for nth in 0..short {
            let (stop, tally) = (load.stop.clone(), load.short.clone());
            load.threads.push(std::thread::spawn(move || {
                let mut length = usize::from(nth) + 1;
                while !stop.load(Ordering::Relaxed) {
                    // From one byte to more than a worker reads at once.
                    length = length * 7 % SHORT_MAX + 1;
                    tally.count(&exchange(address, nth, length));
                }
            }));
        }
        for nth in 0..long {
            let (stop, tally) = (load.stop.clone(), load.long.clone());
            let stream = dial(address, 100 + nth).expect("let in");
            load.threads.push(std::thread::spawn(move || {
                let mut stream = stream;
                loop {
                    tally.count(&converse(stream, &stop, usize::from(nth), &tally.returned));
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match dial(address, 100 + nth) {
                        Ok(next) => stream = next,
                        Err(_) => return tally.count(&Err(Failure::Refused)),
                    }
                }
            }));
        }
        load
    }

    /// Waits until so many more short connections were answered.
    pub(crate) fn goes_on(&self, count: u64) {
        rises(&self.short.answered, count);
    }

    /// Lets all of them end in order; how the short and the long ones went, which a soak shows.
    pub(crate) fn end(self) -> (Arc<Tally>, Arc<Tally>) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a load never panics");
        }
        println!("short {:?}\nlong {:?}", self.short, self.long);
        (self.short, self.long)
    }
}

/// Waits until a count of a load that goes on is so much higher.
pub(crate) fn rises(count: &AtomicU64, by: u64) {
    let enough = count.load(Ordering::Relaxed) + by;
    let until = std::time::Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) < enough {
        let now = std::time::Instant::now();
        assert!(now < until, "nobody is answered any more");
        crate::support::looking::again();
    }
}

/// The bytes from this place on of the stream of a connection. The period is no divisor of any buffer.
pub(crate) fn bytes(seed: usize, place: usize, length: usize) -> &'static [u8] {
    const PERIOD: usize = 65_521;
    static TWICE: OnceLock<Vec<u8>> = OnceLock::new();
    let all = TWICE.get_or_init(|| {
        let places = (0..PERIOD).cycle().take(PERIOD + PIECE_MAX);
        places.map(|at| (at ^ (at >> 8)) as u8).collect()
    });
    let from = (place + seed * 31) % PERIOD;
    &all[from..from + length]
}

/// From an address of this thread's own, so that ports do not run out.
pub(crate) fn dial(address: SocketAddr, nth: u8) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    let source = SockaddrIn::from(std::net::SocketAddrV4::new(
        Ipv4Addr::new(127, 0, 1, nth),
        0,
    ));
    bind(socket.as_raw_fd(), &source)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A short connection: all is said, its side is finished, all comes back.
fn exchange(address: SocketAddr, nth: u8, length: usize) -> Result<(), Failure> {
    let mut stream = dial(address, nth).map_err(|_| Failure::Refused)?;
    let mut said = 0;
    while said < length {
        let piece = bytes(length, said, PIECE_MAX.min(length - said));
        stream.write_all(piece).map_err(|e| failure(&e))?;
        said += piece.len();
    }
    stream.shutdown(Shutdown::Write).map_err(|e| failure(&e))?;
    take(&stream, length, length)
}

/// Bytes both ways without a pause until it is told to stop; then everything that was said has to
/// come back. Its peer is never a whole window ahead, so a load does not grow with its length.
fn converse(
    mut stream: TcpStream,
    stop: &AtomicBool,
    seed: usize,
    returned: &AtomicU64,
) -> Result<(), Failure> {
    let (mut said, mut taken) = (0, 0);
    let mut piece = [0; PIECE_MAX];
    while !stop.load(Ordering::Relaxed) {
        let length = 1 + said * 13 % 4_001;
        stream
            .write_all(bytes(seed, said, length))
            .map_err(|e| failure(&e))?;
        said += length;
        while said - taken > WINDOW {
            let count = take_some(&stream, seed, taken, &mut piece)?;
            returned.fetch_add(count as u64, Ordering::Relaxed);
            taken += count;
        }
    }
    stream.shutdown(Shutdown::Write).map_err(|e| failure(&e))?;
    take_from(&stream, seed, taken, said)
}

pub(crate) fn take(stream: &TcpStream, seed: usize, length: usize) -> Result<(), Failure> {
    take_from(stream, seed, 0, length)
}

/// The rest, which ends there and nowhere else.
fn take_from(stream: &TcpStream, seed: usize, from: usize, end: usize) -> Result<(), Failure> {
    let mut piece = [0; PIECE_MAX];
    let mut taken = from;
    loop {
        match take_some(stream, seed, taken, &mut piece) {
            Err(Failure::Short) if taken == end => return Ok(()),
            Err(why) => return Err(why),
            Ok(n) => taken += n,
        }
        if taken > end {
            return Err(Failure::Wrong);
        }
    }
}

/// What is there, at least a byte.
pub(crate) fn take_some(
    mut stream: &TcpStream,
    seed: usize,
    place: usize,
    piece: &mut [u8; PIECE_MAX],
) -> Result<usize, Failure> {
    match stream.read(piece) {
        Ok(0) => Err(Failure::Short),
        Ok(n) if piece[..n] == *bytes(seed, place, n) => Ok(n),
        Ok(_) => Err(Failure::Wrong),
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            Failure::Reset
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silent,
        _ => Failure::Refused,
    }
}
