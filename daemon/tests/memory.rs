//! What a worker's memory may grow to while a peer takes its time: no more than the limits say,
//! however much passes through. POLYPORT_SOAK=1 makes it 1 GiB.
//!
//! The peer is slow without a clock: it takes a little only when nothing more can be sent.

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use support::daemon::{Daemon, PATIENCE};

const OUTPUT_BYTES_MAX: usize = 512 << 10;
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Memory comes in pages, and the allocator rounds up.
const ROUNDING: usize = 128 << 10;
/// What the peer takes at a time.
const SIP: usize = 16 << 10;
/// No divisor of it is one of a buffer's, so bytes out of place are seen.
const ROUND: usize = 65_521;

#[test]
fn an_echo_of_any_length_to_a_slow_reader_stays_within_the_limits() {
    let length = match std::env::var_os("POLYPORT_SOAK") {
        Some(_) => 1 << 30,
        None => 64 << 20,
    };
    let config = format!(
        "[services.echo]\nplugin = \"echo\"\nlisten = [\"tcp://127.0.0.1:0\"]\nworkers = 1\n\
         [services.echo.limits]\noutput = \"{OUTPUT_BYTES_MAX}B\"\ninput = \"{INPUT_BYTES_MAX}B\"\n"
    );
    let daemon = Daemon::start("memory", &config);
    let worker = daemon.worker_pids("echo")[0];
    let address = daemon.address("echo", 0);
    // What the first connection costs once is no matter of limits.
    echo_slowly(TcpStream::connect(address).expect("accepted"), ROUND);
    let before = resident_bytes_max(worker);
    let waiting = echo_slowly(TcpStream::connect(address).expect("accepted"), length);
    let grown = resident_bytes_max(worker) - before;
    assert!(
        waiting > OUTPUT_BYTES_MAX,
        "the reader was not slow: at most {waiting} bytes were on their way"
    );
    assert!(
        grown <= OUTPUT_BYTES_MAX + INPUT_BYTES_MAX + ROUNDING,
        "{length} bytes made the worker grow by {grown}"
    );
    daemon.finish(&[]);
}

/// The most bytes that were on their way at once.
fn echo_slowly(mut stream: TcpStream, length: usize) -> usize {
    let round: Vec<u8> = (0..ROUND).map(|at| (at ^ (at >> 8)) as u8).collect();
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let (mut sent, mut taken, mut waiting) = (0, 0, 0);
    let mut sip = [0; SIP];
    while taken < length {
        stream.set_nonblocking(true).expect("it is a socket");
        while sent < length {
            let from = sent % ROUND;
            let piece = &round[from..ROUND.min(from + length - sent)];
            match stream.write(piece) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
            if sent == length {
                stream.shutdown(Shutdown::Write).expect("half-closed");
            }
        }
        waiting = waiting.max(sent - taken);
        stream.set_nonblocking(false).expect("it is a socket");
        let n = stream.read(&mut sip).expect("more comes back");
        assert!(n > 0, "the end came after {taken} bytes");
        for byte in &sip[..n] {
            assert_eq!(*byte, round[taken % ROUND], "byte {taken}");
            taken += 1;
        }
    }
    assert_eq!(stream.read(&mut sip).expect("an orderly end"), 0);
    waiting
}

/// Since the process started.
fn resident_bytes_max(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living worker");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.expect("proc(5) has it").parse().expect("a number");
    kib << 10
}
