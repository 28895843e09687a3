//! Programs that everybody has, as peers of the real daemon: each row is one of them and what it
//! says. `cargo test --test clients NAME` plays one.
//!
//! They differ in what a script of ours never does: how they end, how they cut, what they send
//! unasked. What the modes mean in detail is tested elsewhere.

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use support::daemon::{Daemon, Directory, PATIENCE};
use support::program::{End, Talk, holds, program, talk};
use support::script::pattern;

struct Row {
    /// Program and arguments, in them `{host}`, `{port}`, `{url}` and what is behind its scheme,
    /// `{rest}`.
    command: &'static str,
    /// A plugin, and its settings.
    service: (&'static str, &'static str),
    endpoint: Endpoint,
    says: Says,
    end: End,
}

#[derive(Clone, Copy)]
enum Endpoint {
    Tcp,
    Udp,
    Unix,
    Abstract,
    UnixDatagram,
    AbstractDatagram,
}

/// What it is given, and what it should print.
enum Says {
    /// So many bytes of every kind, and the same again.
    Bytes(usize),
    /// The same again.
    Text(&'static str),
    /// Another text, `PORT` for the peer's own.
    Answered(&'static str, &'static str),
}

const STREAM: (&str, &str) = ("echo", "");
const LINE: (&str, &str) = ("echo", "mode = \"line\"");
const WHO: (&str, &str) = ("echo", "mode = \"who\"");
const DISCARD: (&str, &str) = ("echo", "mode = \"discard\"");
const QOTD: (&str, &str) = ("echo", "mode = \"qotd\"\nquotes = [\"Less is more.\"]");
const DATAGRAM: (&str, &str) = ("udp-echo", "");

/// More than all buffers between the two hold.
const MANY: Says = Says::Bytes(8 << 20);
/// One datagram: what goes into a pipe at once comes out at once.
const ONE: Says = Says::Bytes(1400);
const LINES: Says = Says::Text("one\r\n\r\nthree\nthe last has no end");
const SHORT: Says = Says::Text("one\n\n3\n");
const ASKED: Says = Says::Answered(
    "Käse\r\n",
    "You are 127.0.0.1:PORT\r\nYou entered 4 characters: Käse\r\n",
);

macro_rules! rows {
    ($($name:ident: $command:literal, $service:ident at $endpoint:ident, $says:expr, $end:ident;)*) => {
        $(
            #[test]
            fn $name() {
                let row = Row {
                    command: $command,
                    service: $service,
                    endpoint: Endpoint::$endpoint,
                    says: $says,
                    end: End::$end,
                };
                row.play(stringify!($name));
            }
        )*
    };
}

rows! {
    nc: "nc -N {host} {port}", STREAM at Tcp, MANY, Daemon;
    nc_lines: "nc -N {host} {port}", LINE at Tcp, LINES, Daemon;
    nc_who: "nc {host} {port}", WHO at Tcp, ASKED, Daemon;
    nc_discard: "nc -N {host} {port}", DISCARD at Tcp, Says::Answered("sent", ""), Daemon;
    nc_qotd: "nc -N {host} {port}", QOTD at Tcp, Says::Answered("", "Less is more.\r\n"), Daemon;
    nc_unix: "nc -NU {rest}", STREAM at Unix, MANY, Daemon;
    nc_udp: "nc -u {host} {port}", DATAGRAM at Udp, ONE, Test;
    nc_unix_datagram: "nc -uU {rest}", DATAGRAM at UnixDatagram, ONE, Test;

    ncat: "ncat {host} {port}", STREAM at Tcp, MANY, Daemon;
    ncat_crlf: "ncat -C {host} {port}", LINE at Tcp, Says::Answered("a\nb\n", "a\r\nb\r\n"), Daemon;
    ncat_who: "ncat {host} {port}", WHO at Tcp, ASKED, Daemon;
    ncat_unix: "ncat -U {rest}", STREAM at Unix, MANY, Daemon;
    ncat_udp: "ncat -u {host} {port}", DATAGRAM at Udp, ONE, Test;

    socat: "socat -t60 - TCP:{host}:{port}", STREAM at Tcp, MANY, Daemon;
    socat_lines: "socat -t60 - TCP:{host}:{port}", LINE at Tcp, LINES, Daemon;
    socat_who: "socat -t60 - TCP:{host}:{port}", WHO at Tcp, ASKED, Daemon;
    socat_unix: "socat -t60 - UNIX-CONNECT:{rest}", STREAM at Unix, MANY, Daemon;
    socat_abstract: "socat -t60 - ABSTRACT-CONNECT:{rest}", STREAM at Abstract, MANY, Daemon;
    socat_udp: "socat - UDP:{host}:{port}", DATAGRAM at Udp, ONE, Test;
    socat_unix_datagram: "socat - UNIX-SENDTO:{rest},bind={rest}.peer", DATAGRAM at UnixDatagram, ONE, Test;
    socat_abstract_datagram: "socat - ABSTRACT-SENDTO:{rest},bind={rest}.try", DATAGRAM at AbstractDatagram, ONE, Test;

    curl: "curl -sN telnet://{host}:{port}", STREAM at Tcp, Says::Text("not a line"), Test;
    curl_lines: "curl -sN telnet://{host}:{port}", LINE at Tcp, Says::Text("one\ntwo\n"), Test;
    curl_who: "curl -sN telnet://{host}:{port}", WHO at Tcp, ASKED, Input;

    python: "python3 tests/clients/stream.py {url}", STREAM at Tcp, MANY, Daemon;
    python_lines: "python3 tests/clients/stream.py {url}", LINE at Tcp, LINES, Daemon;
    python_who: "python3 tests/clients/stream.py {url}", WHO at Tcp, ASKED, Daemon;
    python_unix: "python3 tests/clients/stream.py {url}", STREAM at Unix, MANY, Daemon;
    python_abstract: "python3 tests/clients/stream.py {url}", STREAM at Abstract, MANY, Daemon;
    python_udp: "python3 tests/clients/datagrams.py {url}", DATAGRAM at Udp, SHORT, Daemon;
    python_unix_autobind: "python3 tests/clients/datagrams.py {url}", DATAGRAM at UnixDatagram, SHORT, Daemon;
    python_unix_from_abstract: "python3 tests/clients/datagrams.py {url} @{rest}", DATAGRAM at UnixDatagram, SHORT, Daemon;
    python_abstract_autobind: "python3 tests/clients/datagrams.py {url}", DATAGRAM at AbstractDatagram, SHORT, Daemon;
    python_abstract_from_path: "python3 tests/clients/datagrams.py {url} {rest}/peer", DATAGRAM at AbstractDatagram, SHORT, Daemon;
}

impl Row {
    fn play(&self, name: &str) {
        let served = Served::start(name, self.service, self.endpoint);
        let (input, expected) = match self.says {
            Says::Bytes(count) => (pattern(count), pattern(count)),
            Says::Text(text) => (text.into(), text.into()),
            Says::Answered(text, answer) => (text.into(), answer.as_bytes().to_vec()),
        };
        let spoken = Talk {
            prompt: "",
            input: &input,
            end: self.end,
        };
        let printed = talk(served.client(self.command), &spoken, |printed| {
            without_port(printed).len() >= expected.len()
        });
        let printed = without_port(&printed);
        assert!(
            printed == expected,
            "{} bytes instead of {}: {:?}",
            printed.len(),
            expected.len(),
            String::from_utf8_lossy(&printed[..printed.len().min(200)])
        );
        served.daemon.finish(&[]);
    }
}

/// What differs from run to run, left out.
fn without_port(printed: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = b"You are 127.0.0.1:";
    let Some(rest) = printed.strip_prefix(BEFORE) else {
        return printed.to_vec();
    };
    let end = rest.iter().position(|byte| !byte.is_ascii_digit());
    [BEFORE, b"PORT", &rest[end.unwrap_or(rest.len())..]].concat()
}

/// A daemon with one service, and where that listens.
struct Served {
    daemon: Daemon,
    url: String,
    /// Of its Unix sockets.
    folder: Directory,
}

impl Served {
    fn start(name: &str, (plugin, settings): (&str, &str), endpoint: Endpoint) -> Served {
        let folder = Directory::new(&format!("c-{name}"));
        let path = folder.path().display();
        let listen = match endpoint {
            Endpoint::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Endpoint::Udp => "udp://127.0.0.1:0".to_owned(),
            Endpoint::Unix => format!("unix:{path}/socket"),
            Endpoint::Abstract => format!("unix:@{path}"),
            Endpoint::UnixDatagram => format!("unixgram:{path}/socket"),
            Endpoint::AbstractDatagram => format!("unixgram:@{path}"),
        };
        let config = format!(
            "[services.it]\nplugin = {plugin:?}\nlisten = [{listen:?}]\nworkers = 1\n\
             [services.it.settings]\n{settings}\n"
        );
        let daemon = Daemon::start(&format!("clients-{name}"), &config);
        let url = daemon.url("it", 0);
        Served {
            daemon,
            url,
            folder,
        }
    }

    fn client(&self, written: &str) -> Command {
        let (_, rest) = self.url.split_once(':').expect("a scheme");
        let rest = rest.trim_start_matches("//").trim_start_matches('@');
        let (host, port) = rest.rsplit_once(':').unwrap_or_default();
        let mut words = written.split(' ').map(|word| {
            let word = word.replace("{host}", host).replace("{port}", port);
            word.replace("{rest}", rest).replace("{url}", &self.url)
        });
        let name = words.next().expect("a program");
        let package = match name.as_str() {
            "nc" => "netcat-openbsd",
            "script" => "bsdutils",
            "date" => "coreutils",
            same => same,
        };
        let mut command = program(&name, package);
        command.args(words);
        command
    }
}

#[test]
fn a_unix_datagram_comes_back_from_where_it_was_sent_to() {
    // The kernel keeps the name of the bind whatever becomes of the file, and some peers compare it.
    let served = Served::start("unix-names", DATAGRAM, Endpoint::UnixDatagram);
    let (_, path) = served.url.split_once(':').expect("a scheme");
    let own = served.folder.path().join("peer");
    let peer = UnixDatagram::bind(own).expect("bound");
    peer.set_read_timeout(Some(PATIENCE)).expect("not zero");
    peer.send_to(b"where from?", path).expect("taken");
    let (length, source) = peer.recv_from(&mut [0; 100]).expect("an answer");
    let source = source.as_pathname().expect("a path").to_owned();
    assert_eq!((length, source.as_path()), (11, Path::new(path)));
    served.daemon.finish(&[]);
}

#[test]
fn telnet_on_a_terminal() {
    // What is missing should be named, not what `script` says of it.
    drop(program("telnet", "telnet"));
    let served = Served::start("telnet", WHO, Endpoint::Tcp);
    let mut command = served.client("script -qc");
    let (_, address) = served.url.split_once("//").expect("an Internet address");
    command.arg(format!("telnet {}", address.replace(':', " ")));
    command.arg("/dev/null");
    let spoken = Talk {
        prompt: "You are 127.0.0.1:",
        input: b"five!\n",
        end: End::Test,
    };
    let answer = b"You entered 5 characters: five!\r\n";
    let printed = talk(command, &spoken, |printed| holds(printed, answer));
    let text = String::from_utf8_lossy(&printed).into_owned();
    assert!(holds(&printed, answer), "{text}");
    served.daemon.finish(&[]);
}

#[test]
fn chargen_goes_on_until_its_peer_has_gone() {
    let settings = ("echo", "mode = \"chargen\"");
    let served = Served::start("chargen", settings, Endpoint::Tcp);
    let spoken = Talk {
        prompt: "",
        input: b"",
        end: End::Test,
    };
    let client = served.client("nc {host} {port}");
    let printed = talk(client, &spoken, |printed| printed.len() >= 1 << 20);
    assert!(printed.len() >= 1 << 20);
    for (nth, line) in (0..).zip(printed.chunks_exact(74)) {
        // RFC 864 shows it: the ring of printable characters, one further with each line.
        let expected = (nth..nth + 72).map(|at| b' ' + (at % 95) as u8);
        assert!(line.iter().copied().eq(expected.chain(*b"\r\n")), "{nth}");
    }
    served.daemon.finish(&[]);
}

#[test]
fn what_time_says_is_the_time() {
    let printed = said_at_once("time", "mode = \"time\"");
    let seconds: [u8; 4] = printed.as_slice().try_into().expect("four bytes");
    // RFC 868: 2,208,988,800 corresponds to 00:00 1 Jan 1970 GMT.
    let said = u32::from_be_bytes(seconds).wrapping_sub(2_208_988_800);
    assert_is_now(said.into());
}

#[test]
fn what_daytime_says_is_a_date_to_others() {
    let printed = said_at_once("daytime", "mode = \"daytime\"");
    let text = String::from_utf8(printed).expect("text");
    let text = text.strip_suffix("-UTC\r\n").expect("its end");
    let mut date = program("date", "coreutils");
    let output = date.args(["-d", &format!("{text} UTC"), "+%s"]).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_is_now(said.trim().parse().unwrap_or_else(|_| panic!("{text}")));
}

fn said_at_once(name: &str, settings: &str) -> Vec<u8> {
    let served = Served::start(name, ("echo", settings), Endpoint::Tcp);
    let spoken = Talk {
        prompt: "",
        input: b"",
        end: End::Daemon,
    };
    let printed = talk(served.client("nc -d {host} {port}"), &spoken, |_| false);
    served.daemon.finish(&[]);
    printed
}

fn assert_is_now(said: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    // It was said a moment ago, however long the moment was.
    assert!((now - 3600..=now).contains(&said), "{said} is not {now}");
}
