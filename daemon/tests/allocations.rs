//! The hot path takes no memory: a worker on a thread of its own, with real sockets and a plugin, is
//! watched by an allocator that counts.
//!
//! Only the worker's thread is counted, so worker, engine and plugin host, and not what the plugin
//! takes, which is a shared library with an allocator of its own. Each load runs until all that grows
//! with the first requests has grown, and is counted from then on.

#[path = "support/folder.rs"]
#[allow(dead_code, reason = "it installs fixtures too")]
mod folder;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use folder::{Folder, set_mode};
use polyport::channel::{ListenerBrief, Report, StoredPlugin};
use polyport::config::{self, Sources};
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

struct Counting;

thread_local! {
    /// Where this thread's allocations are counted, if they are.
    static COUNTER: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

fn count() {
    if let Some(counter) = COUNTER.get() {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract;
// counting touches neither memory nor layout, and its thread-local needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps what `alloc` demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps what `alloc_zeroed` demands.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `memory` came from this allocator, so from the system's, with this layout.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from this allocator, so from the system's, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

// --- the worker --------------------------------------------------------------------------------

/// The channel of a supervisor that has nothing to order until it goes.
struct NoOrders(UnixStream);

impl Orders for NoOrders {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn report(&mut self, _: &Report) -> std::io::Result<()> {
        Ok(())
    }

    fn next(&mut self) -> NextOrder {
        match self.0.read(&mut [0]) {
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
        let thread = thread::spawn(move || {
            let memory = SharedWords::file("board", BYTES).expect("memory");
            let board = Scoreboard::over(SharedWords::map(&memory).expect("mapped"));
            let board = board.expect("long enough");
            let instance = instance(&code, endpoint, board.clone());
            let wakes = NoWakes(instance.wakes());
            COUNTER.set(Some(allocations));
            let served = serve(share, instance, wakes, NoOrders(orders), board);
            COUNTER.set(None);
            served.expect("the event loop works");
        });
        Running {
            channel,
            thread,
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
    let settings = BTreeMap::new();
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
