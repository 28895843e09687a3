//! The hot path takes no memory: a worker on a thread of its own, with real sockets and a plugin, is
//! watched by an allocator that counts.
//!
//! Only the worker's thread is counted: worker, engine, plugin host and the plugin, for what a shared library
//! takes comes from the C library as well. Each load runs until all that grows with the first requests has
//! grown, and is counted from then on.

#[path = "support/folder.rs"]
#[allow(dead_code, reason = "it installs fixtures too")]
mod folder;
mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use folder::{Folder, set_mode};
use nix::libc::ENOMEM;
use polyport::channel::{ListenerBrief, Order, Report, StoredPlugin};
use polyport::config::{self, Sources};
use polyport::hub::core::Hub;
use polyport::hub::sqlite::{Retention, Sqlite};
use polyport::hub::wire::next_frame;
use polyport::plan::{Access, Address, Facts, LogLevel, resolve};
use polyport::plugin_host::{Instance, InstanceFacts, Surroundings, WakeSource, load};
use polyport::scoreboard::sources::{SourceTable, Sources as SourceCounts};
use polyport::scoreboard::{BYTES, Scoreboard};
use polyport::sys::shared_memory::SharedWords;
use polyport::worker::{NextOrder, Orders, Share, Wakes, serve};
use support::fixtures;

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS_BEFORE: u64 = 100;
const ROUNDS: u64 = 500;

// --- the allocator -----------------------------------------------------------------------------

thread_local! {
    /// Where this thread's allocations are counted, if they are.
    static COUNTER: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

fn count() {
    if let Some(counter) = COUNTER.get() {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

// The C library's own, by the names that it keeps for whoever puts something before them.
unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, bytes: usize) -> *mut c_void;
}

/// What every library of this process calls, a plugin as well, and what Rust's allocator does.
///
/// # Safety
///
/// That of malloc(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    count();
    // SAFETY: passed on as it is.
    unsafe { __libc_malloc(bytes) }
}

/// # Safety
///
/// That of calloc(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(of: usize, bytes: usize) -> *mut c_void {
    count();
    // SAFETY: passed on as it is.
    unsafe { __libc_calloc(of, bytes) }
}

/// # Safety
///
/// That of realloc(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, bytes: usize) -> *mut c_void {
    count();
    // SAFETY: passed on as it is; `memory` came from the C library, as all of it does here.
    unsafe { __libc_realloc(memory, bytes) }
}

/// # Safety
///
/// That of posix_memalign(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, alignment: usize, bytes: usize) -> c_int {
    count();
    // SAFETY: the caller gives an alignment that is good.
    let memory = unsafe { __libc_memalign(alignment, bytes) };
    if memory.is_null() {
        return ENOMEM;
    }
    // SAFETY: the caller lends a place for a pointer.
    unsafe { to.write(memory) };
    0
}

// --- the worker --------------------------------------------------------------------------------

/// The channel of a supervisor that has nothing to order until it goes, but that the bus be joined.
struct FewOrders {
    channel: UnixStream,
    bus: Option<OwnedFd>,
    is_told: bool,
}

impl Orders for FewOrders {
    fn fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    fn report(&mut self, _: &Report) -> std::io::Result<()> {
        Ok(())
    }

    fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.bus.take()
    }

    fn next(&mut self) -> NextOrder {
        if !std::mem::replace(&mut self.is_told, true) {
            return NextOrder::Order(Order::Bus {});
        }
        match self.channel.read(&mut [0]) {
            Ok(0) => NextOrder::Closed,
            _ => NextOrder::Empty,
        }
    }
}

struct NoWakes(WakeSource);

impl Wakes for NoWakes {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    fn next(&mut self) -> Option<u64> {
        None
    }
}

struct Running {
    /// Closed to let the worker drain.
    channel: UnixStream,
    thread: JoinHandle<()>,
    hub: JoinHandle<()>,
    allocations: &'static AtomicU64,
    _folder: Folder,
}

impl Running {
    /// Serves this shipped plugin on this socket.
    fn new(plugin: &str, socket: OwnedFd, local: Address) -> Running {
        let folder = Folder::new(plugin);
        let installed = folder.0.join(format!("{plugin}.so"));
        let library = format!("libpolyport_{}.so", plugin.replace('-', "_"));
        let built = support::plugins::folder().join(library);
        std::fs::copy(built, &installed).expect("installed");
        set_mode(&installed, 0o644);
        let code = folder.take(&installed).expect("taken");
        let endpoint = local.to_string();
        let share = share(socket, local);
        let allocations: &AtomicU64 = Box::leak(Box::default());
        let (channel, orders) = UnixStream::pair().expect("a pair");
        orders.set_nonblocking(true).expect("it is a socket");
        let (end, bus) = UnixStream::pair().expect("a pair");
        let hub = thread::spawn(move || keep_hub(end));
        let thread = thread::spawn(move || {
            let memory = SharedWords::file("board", BYTES).expect("memory");
            let board = Scoreboard::over(SharedWords::map(&memory).expect("mapped"));
            let board = board.expect("long enough");
            let instance = instance(&code, endpoint, board.clone());
            let wakes = NoWakes(instance.wakes());
            COUNTER.set(Some(allocations));
            let orders = FewOrders {
                channel: orders,
                bus: Some(bus.into()),
                is_told: false,
            };
            let served = serve(share, instance, wakes, orders, board);
            COUNTER.set(None);
            served.expect("the event loop works");
        });
        Running {
            channel,
            thread,
            hub,
            allocations,
            _folder: folder,
        }
    }

    /// How much more is allocated in rounds from the hundredth on.
    fn allocated_in_rounds(&self, mut round: impl FnMut(u64)) -> u64 {
        (0..ROUNDS_BEFORE).for_each(&mut round);
        let before = self.allocations.load(Ordering::SeqCst);
        (ROUNDS_BEFORE..ROUNDS_BEFORE + ROUNDS).for_each(&mut round);
        self.allocations.load(Ordering::SeqCst) - before
    }

    fn stop(self) {
        drop(self.channel);
        self.thread.join().expect("no panic");
        self.hub.join().expect("no panic");
    }
}

/// A hub for one worker that keeps no history, until that worker has ended.
fn keep_hub(mut end: UnixStream) {
    let nothing = Retention {
        messages: 0,
        keep_ms: 0,
        holes: false,
    };
    let mut hub = Hub::new(Sqlite::open(Path::new(""), nothing), false, 0);
    let member = hub.attach("it", false);
    let (mut input, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        // Its worker may have ended without hearing all of it.
        let read = end.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return;
        }
        input.extend_from_slice(&buffer[..read]);
        while let Some((content, taken)) = next_frame(&input).expect("a frame") {
            hub.hear(member, content, 1, 1).expect("it makes sense");
            input.drain(..taken);
        }
        hub.stored();
        while hub.pop_touched().is_some() {
            let said = hub.output(member).to_vec();
            // Its next read finds out if there is nobody any more.
            let _ = end.write_all(&said);
            hub.sent(member, said.len());
        }
    }
}

fn share(socket: OwnedFd, local: Address) -> Share {
    let brief = ListenerBrief {
        endpoint: local.to_string(),
        local,
        shard: 0,
        shared: false,
    };
    let sources = Sources {
        inline: Some("[services.it]\nplugin = \"echo\"\nlisten = [\"tcp://[::1]:0\"]\n".to_owned()),
        ..Sources::default()
    };
    let config = config::read(&sources, &config::Surroundings::of_this_process());
    let table = SourceTable::new(1).expect("memory");
    let counts = SourceCounts::map(table.file(), 0).expect("mapping");
    let plan = resolve(config, &Facts::of_this_machine()).expect("a plan");
    Share {
        listeners: vec![(socket, brief)],
        limits: plan.services["it"].limits.clone(),
        access: Access::default(),
        bans: Vec::new(),
        sources: counts,
        send_buffer_bytes: None,
        worker_count: 1,
        drain_timeout_ms: 1000,
    }
}

fn instance(code: &StoredPlugin, endpoint: String, board: Scoreboard) -> Instance {
    let admitted = load(code, None).expect("admitted");
    let is_chat = admitted.name() == "line-chat";
    // Nobody is slowed down.
    let settings = [("burst".to_owned(), 10_000.into())];
    let settings: BTreeMap<_, _> = settings.into_iter().filter(|_| is_chat).collect();
    let chosen = admitted.choose("it", &settings, &BTreeMap::new());
    let facts = InstanceFacts {
        service: "it",
        worker_index: 0,
        worker_count: 1,
        generation: 1,
        endpoints: &[endpoint],
        udp_ports: &[],
    };
    let around = Surroundings {
        seed: 1,
        board,
        jobs_max: 0,
        clock: || 77_000,
        log_level: LogLevel::Info,
    };
    Instance::create(admitted, &chosen.expect("settings"), &facts, around).expect("an instance")
}

// --- the loads ---------------------------------------------------------------------------------

#[test]
fn an_echo_takes_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let running = Running::new("echo", listener.into(), Address::Tcp(address));
    let mut peers: Vec<TcpStream> = (0..8)
        .map(|_| {
            let peer = TcpStream::connect(address).expect("it listens");
            peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
            peer
        })
        .collect();
    for bytes in [1, 64, 16 << 10, 100_000] {
        let mut echoed = vec![0; bytes];
        let allocated = running.allocated_in_rounds(|round| {
            let sent = vec![round as u8; bytes];
            for peer in &mut peers {
                peer.write_all(&sent).expect("it is read");
            }
            for peer in &mut peers {
                peer.read_exact(&mut echoed).expect("it is echoed");
                assert!(echoed == sent, "an echo differs");
            }
        });
        assert_eq!(allocated, 0, "echoes of {bytes} bytes");
    }
    drop(peers);
    running.stop();
}

#[test]
fn an_echo_of_a_datagram_takes_no_memory() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    socket.set_nonblocking(true).expect("it is a socket");
    let running = Running::new("udp-echo", socket.into(), Address::Udp(address));
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    peer.connect(address).expect("on loopback");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    for bytes in [8, 64, 1400] {
        let mut echoed = [0; 2048];
        let allocated = running.allocated_in_rounds(|round| {
            let datagram = |nth: u64| {
                let mut datagram = vec![bytes as u8; bytes];
                datagram[..8].copy_from_slice(&(round * 16 + nth).to_le_bytes());
                datagram
            };
            for nth in 0..16 {
                peer.send(&datagram(nth)).expect("it is received");
            }
            for nth in 0..16 {
                let length = peer.recv(&mut echoed).expect("it is echoed");
                assert!(echoed[..length] == datagram(nth), "an echo differs");
            }
        });
        assert_eq!(allocated, 0, "echoes of datagrams of {bytes} bytes");
    }
    running.stop();
}

/// What is taken for a line is for the line itself, on its way to the bus and from there.
#[test]
fn a_line_of_a_room_takes_as_much_memory_for_few_as_for_many() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let running = Running::new("line-chat", listener.into(), Address::Tcp(address));
    let mut members = Vec::new();
    let taken = [3, 20].map(|hearers| {
        while members.len() <= hearers {
            let name = format!("member{}\n", members.len());
            let mut member = TcpStream::connect(address).expect("it listens");
            member.set_read_timeout(Some(PATIENCE)).expect("not zero");
            member.write_all(name.as_bytes()).expect("it is read");
            until(&mut member, b"you are in #lobby");
            members.push(member);
        }
        let (speaker, hearers) = members.split_first_mut().expect("the first speaks");
        running.allocated_in_rounds(|round| {
            let line = format!("line {round:04} of a length that is usual\n");
            speaker.write_all(line.as_bytes()).expect("it is read");
            for hearer in &mut *hearers {
                until(hearer, line.trim_end().as_bytes());
            }
        })
    });
    assert_eq!(
        taken,
        [10 * ROUNDS; 2],
        "six of the plugin's, three for the bus, one for all who hear it"
    );
    drop(members);
    running.stop();
}

/// Reads until this has come.
fn until(peer: &mut TcpStream, wanted: &[u8]) {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while !heard.windows(wanted.len()).any(|it| it == wanted) {
        let read = peer.read(&mut buffer).expect("it is told");
        assert!(read > 0, "it was sent away");
        heard.extend_from_slice(&buffer[..read]);
    }
}

#[test]
fn what_a_thread_takes_is_counted_if_it_is_to_be() {
    static COUNTED: AtomicU64 = AtomicU64::new(0);
    drop(black_box(Box::new(1)));
    COUNTER.set(Some(&COUNTED));
    drop(black_box(Box::new(2)));
    let mut grown = black_box(vec![0_u8; 10]);
    grown.reserve(1000);
    COUNTER.set(None);
    drop(black_box(grown));
    assert_eq!(COUNTED.load(Ordering::SeqCst), 3);
}
