//! The load generator for rooms: one member speaks, all others hear it.
//!
//! The speaker has so many messages under way; when every other member has heard one, the next one
//! leaves. Each message has a number, and a member that hears one out of order, twice or not at all is
//! an error. What servers say beside that is skipped: they greet, and tell who comes and goes.
//!
//! Invariant: it stops after the time that it was given, or at the first error, and never speaks to
//! anything beyond this machine.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv};

use crate::servers::PATIENCE;
use crate::tally::{Tally, only_on_loopback};

const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 64 * 1024;
/// Of a message, without what a server puts around it.
const TEXT_BYTES: usize = 64;
/// Members that come in at the same time: fewer than any server has places for those who are new.
const TOGETHER: usize = 100;
/// Said between two looks at the clock, all of which are heard before the next.
const MESSAGES_EACH: u64 = 100;

/// How one talks to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Whatever one says is sent to all others.
    Bare,
    LineChat,
    Irc,
    Nats,
}

/// Who is in the room, and what is said there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) members: usize,
    /// Messages under way.
    pub(crate) window: usize,
}

pub(crate) struct Generator {
    dialect: Dialect,
    room: Room,
    epoll: Epoll,
    speaker: TcpStream,
    members: Vec<Member>,
    /// What only the messages of this generator have.
    mark: String,
    said: u64,
    /// The last that were said, the oldest first.
    under_way: VecDeque<Message>,
    buffer: Box<[u8]>,
}

struct Message {
    since: Instant,
    /// Members that have not heard it.
    left: usize,
}

struct Member {
    socket: TcpStream,
    /// The beginning of a line.
    partial: Vec<u8>,
    heard: u64,
}

impl Dialect {
    /// What to say first, and what to wait for before that is over.
    fn steps(self, name: &str, speaks: bool) -> Vec<(String, &'static str)> {
        match self {
            Dialect::Bare => Vec::new(),
            Dialect::LineChat => vec![(format!("{name}\n"), "you are in #lobby")],
            Dialect::Irc => vec![
                (
                    format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
                    " 001 ",
                ),
                ("JOIN #lobby\r\n".to_owned(), " 366 "),
            ],
            Dialect::Nats => {
                let hears = if speaks { "" } else { "SUB room 1\r\n" };
                let hello = "CONNECT {\"verbose\":false,\"echo\":false}\r\n";
                vec![(format!("{hello}{hears}PING\r\n"), "PONG")]
            }
        }
    }

    fn message(self, text: &str) -> String {
        match self {
            Dialect::Bare | Dialect::LineChat => format!("{text}\n"),
            Dialect::Irc => format!("PRIVMSG #lobby :{text}\r\n"),
            Dialect::Nats => format!("PUB room {}\r\n{text}\r\n", text.len()),
        }
    }
}

impl Generator {
    /// Many members come in at the same time, for one of the servers lets in whoever waits once a second; the
    /// speaker comes last.
    pub(crate) fn new(
        server: SocketAddrV4,
        dialect: Dialect,
        room: Room,
        nth: usize,
    ) -> io::Result<Generator> {
        only_on_loopback(server)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut members = Vec::with_capacity(room.members);
        let names = (0..room.members).map(|number| format!("m{nth}x{number}"));
        let names: Vec<String> = names.collect();
        let mut sockets = Vec::with_capacity(room.members);
        for names in names.chunks(TOGETHER) {
            sockets.extend(enter(server, dialect, names, false)?);
        }
        for (number, socket) in sockets.into_iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(socket.as_fd(), event)?;
            members.push(Member {
                socket,
                partial: Vec::new(),
                heard: 0,
            });
        }
        let name = [format!("s{nth}")];
        let speaker = enter(server, dialect, &name, true)?.remove(0);
        Ok(Generator {
            dialect,
            room,
            epoll,
            speaker,
            members,
            mark: format!("fan{}x{nth}-", std::process::id()),
            said: 0,
            under_way: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Requests are deliveries: messages, times those who hear them.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let begun = Instant::now();
        while tally.time < time && tally.errors == 0 {
            self.exchange(&mut tally)?;
            tally.time = begun.elapsed();
        }
        Ok(tally)
    }

    /// As many messages as may be under way leave one after the other; each that all have heard is
    /// followed by another one.
    fn exchange(&mut self, tally: &mut Tally) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
        let timeout = EpollTimeout::try_from(PATIENCE).expect("seconds fit");
        let until = self.said + MESSAGES_EACH;
        while self.under_way.len() < self.room.window {
            self.say()?;
        }
        while !self.under_way.is_empty() {
            let heard = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => continue,
                heard => heard?,
            };
            if heard == 0 {
                tally.fail(format!("not all members have heard message {}", self.said));
                return Ok(());
            }
            for event in &events[..heard] {
                let member = &mut self.members[event.data() as usize];
                let before = member.heard;
                if let Err(why) = member.hear(&mut self.buffer, &self.mark) {
                    tally.fail(why);
                    return Ok(());
                }
                let first = self.said + 1 - self.under_way.len() as u64;
                for number in before..member.heard {
                    // Those under way are the last that were said.
                    let message = &mut self.under_way[(number + 1 - first) as usize];
                    message.left -= 1;
                    tally.requests += 1;
                    tally.took(message.since.elapsed());
                }
            }
            while self
                .under_way
                .front()
                .is_some_and(|message| message.left == 0)
            {
                self.under_way.pop_front();
                if self.said < until {
                    self.say()?;
                }
            }
        }
        Ok(())
    }

    fn say(&mut self) -> io::Result<()> {
        self.said += 1;
        let text = format!("{}{:08} ", self.mark, self.said);
        let message = self.dialect.message(&format!("{text:x<TEXT_BYTES$}"));
        self.under_way.push_back(Message {
            since: Instant::now(),
            left: self.members.len(),
        });
        self.speaker.write_all(message.as_bytes())
    }
}

impl Member {
    fn hear(&mut self, buffer: &mut [u8], mark: &str) -> Result<(), String> {
        let read = match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Err("it closed the connection of a member".to_owned()),
            Ok(read) => read,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(format!("recv: {}", errno.desc())),
        };
        let mut rest = &buffer[..read];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(end + 1);
            rest = behind;
            if self.partial.is_empty() {
                self.line(line, mark)?;
            } else {
                self.partial.extend_from_slice(line);
                let line = std::mem::take(&mut self.partial);
                self.line(&line, mark)?;
            }
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    fn line(&mut self, line: &[u8], mark: &str) -> Result<(), String> {
        let Some(at) = find(line, mark.as_bytes()) else {
            return Ok(());
        };
        let number = line.get(at + mark.len()..at + mark.len() + 8);
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        if number != Some(self.heard + 1) {
            return Err(format!("{number:?} was heard after message {}", self.heard));
        }
        self.heard += 1;
        Ok(())
    }
}

fn find(line: &[u8], mark: &[u8]) -> Option<usize> {
    let mut windows = line.windows(mark.len());
    windows.position(|window| window == mark)
}

/// Connects, and all of them are in the room when it returns. Each step is taken by all before the next.
fn enter(
    server: SocketAddrV4,
    dialect: Dialect,
    names: &[String],
    speaks: bool,
) -> io::Result<Vec<TcpStream>> {
    let mut sockets = Vec::with_capacity(names.len());
    for _ in names {
        let socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        sockets.push(socket);
    }
    let steps: Vec<_> = names
        .iter()
        .map(|name| dialect.steps(name, speaks))
        .collect();
    for step in 0..steps.iter().map(Vec::len).max().unwrap_or(0) {
        for (socket, steps) in sockets.iter_mut().zip(&steps) {
            socket.write_all(steps[step].0.as_bytes())?;
        }
        for ((socket, steps), name) in sockets.iter_mut().zip(&steps).zip(names) {
            wait_for(socket, dialect, steps[step].1, name)?;
        }
    }
    Ok(sockets)
}

/// What else is said meanwhile is skipped, but for the question whether somebody is there.
fn wait_for(socket: &mut TcpStream, dialect: Dialect, wanted: &str, name: &str) -> io::Result<()> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while find(&heard, wanted.as_bytes()).is_none() {
        let read = socket.read(&mut buffer)?;
        if read == 0 {
            let heard = String::from_utf8_lossy(&heard).into_owned();
            return Err(io::Error::other(format!("{name} was sent away: {heard}")));
        }
        heard.extend_from_slice(&buffer[..read]);
        if let Some(at) = find(&heard, b"PING :").filter(|_| dialect == Dialect::Irc) {
            let cookie: Vec<u8> = heard.split_off(at);
            let text = String::from_utf8_lossy(&cookie).replacen("PING", "PONG", 1);
            socket.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    use super::*;
    use crate::fanout_limit;

    fn here(listener: &TcpListener) -> SocketAddrV4 {
        match listener.local_addr().expect("it is bound") {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(address) => panic!("{address} was not asked for"),
        }
    }

    #[test]
    fn the_limit_tells_everybody_everything_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = here(&listener);
        thread::spawn(move || fanout_limit::serve(&listener));
        for (nth, window) in [1, 16].into_iter().enumerate() {
            let room = Room { members: 5, window };
            let generator = Generator::new(address, Dialect::Bare, room, nth);
            let tally = generator.expect("connected").run(Duration::from_millis(20));
            let tally = tally.expect("run");
            assert_eq!((tally.errors, &tally.first_error), (0, &None));
            assert_eq!(tally.requests % (5 * MESSAGES_EACH), 0);
        }
    }

    #[test]
    fn a_message_that_is_lost_or_comes_twice_is_noticed() {
        for (lines, why) in [
            ("fan-00000002 \n", "Some(2) was heard after message 0"),
            (
                "fan-00000001 \nfan-00000001 \n",
                "Some(1) was heard after message 1",
            ),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
            let mut member = Member {
                socket: TcpStream::connect(here(&listener)).expect("connected"),
                partial: Vec::new(),
                heard: 0,
            };
            let mut server = listener.accept().expect("accepted").0;
            server.write_all(lines.as_bytes()).expect("sent");
            let mut buffer = [0; 256];
            let heard = member.socket.peek(&mut buffer).map(|_| ());
            let heard = heard.map_err(|error| error.to_string());
            let heard = heard.and_then(|()| member.hear(&mut buffer, "fan-"));
            assert_eq!(heard, Err(why.to_owned()));
        }
    }
}
