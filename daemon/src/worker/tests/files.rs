//! Files for very many peers at once, beside somebody who wants little.

use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv};

use super::*;
use crate::engine::desk::{Desk, Said};
use crate::engine::files::HeldFile;
use crate::engine::session::{Closing, Facts, Fed, TimerToken, Token};
use crate::worker::files::TURN_FILES_BYTES_MAX;

const LARGE: usize = 100;
const FILE_BYTES: u64 = 1 << 20;

/// Sends a file to who says `f`, and `bye` to all others, at whose end it holds the loop. At `h` it does
/// so at once. It tells of each who comes, and of each time that it holds the loop.
struct Library {
    desk: Desk,
    file: OwnedFd,
    told: Sender<()>,
    go_on: Receiver<()>,
}

impl Library {
    fn hold(&self) {
        self.told.send(()).expect("the test waits for it");
        // A test that holds nobody any more has dropped its end.
        let _ = self.go_on.recv();
    }
}

impl Protocol for Library {
    type State = ();

    fn open(&mut self, _: Token, _: &Facts<'_>) -> Result<(), End> {
        self.told.send(()).expect("the test waits for it");
        Ok(())
    }

    fn feed(&mut self, session: Token, (): (), input: &[u8]) -> Fed {
        let asked = match input[0] {
            b'f' => {
                let file = self.file.try_clone().expect("a descriptor is left");
                self.desk
                    .send_file(session, 0, FILE_BYTES, || HeldFile::of_memory(file))
            }
            b'h' => {
                self.hold();
                Ok(())
            }
            _ => {
                let bye = self.desk.write(session, Said::Bytes(b"bye"), false);
                bye.and(self.desk.close(session, Closing::Done))
            }
        };
        asked.expect("it is open and empty");
        Fed::Took(input.len())
    }

    fn peer_finished(&mut self, _: Token, (): ()) -> Result<bool, End> {
        Ok(false)
    }

    fn writable(&mut self, _: Token, (): ()) -> Result<(), End> {
        Ok(())
    }

    fn closed(&mut self, _: Token, (): (), why: End) {
        if why == End::Finished {
            self.hold();
        }
    }

    fn timer(&mut self, _: TimerToken, _: u64) {}

    fn wake(&mut self, _: u64) {}

    fn drain(&mut self, _: u64) {}

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

fn waiting_bytes(peer: &TcpStream) -> usize {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(peer.as_raw_fd(), &mut vec![0; FILE_BYTES as usize], flags).unwrap_or(0)
}

#[test]
fn who_wants_little_does_not_wait_until_all_files_of_the_others_are_on_their_way() {
    let file = SharedWords::file("test", FILE_BYTES as usize).expect("memory");
    let (tell, told) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let library = Library {
        desk: Desk::default(),
        file,
        told: tell,
        go_on,
    };
    let mut running = start_with(|_| library, limits());
    let wait = || told.recv_timeout(PATIENCE).expect("it tells");
    let mut peers: Vec<_> = (0..LARGE + 3).map(|_| running.connect()).collect();
    peers.iter().for_each(|_| wait());
    let mut holder = peers.remove(0);
    // Whichever way round the peers of one turn have their answers.
    let mut small = [peers.remove(0), peers.remove(0)];
    let say = |peer: &mut TcpStream, what| peer.write_all(what).expect("the kernel takes it");
    say(&mut holder, b"h");
    wait();
    say(&mut small[0], b"b");
    peers.iter_mut().for_each(|peer| say(peer, b"f"));
    say(&mut small[1], b"b");
    for _ in &small {
        let_go.send(()).expect("the loop waits");
        wait();
    }
    // Both have their answers now, and nothing more is sent to the others.
    let sent: usize = peers.iter().map(waiting_bytes).sum();
    assert!((1..=TURN_FILES_BYTES_MAX).contains(&sent), "{sent} bytes");
    let_go.send(()).expect("the loop waits");
    for peer in &mut small {
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("an orderly end");
        assert_eq!(heard, b"bye");
    }
    // All others get theirs.
    for peer in &mut peers {
        let mut whole = vec![0; FILE_BYTES as usize];
        peer.read_exact(&mut whole).expect("all of it comes");
    }
    drop(let_go);
    drop((peers, holder));
    running.drain(1);
    running.join();
}
