//! What strangers and administrators write, at random: parsers answer everything, never panic, and
//! never contradict themselves.
//!
//! Each input is a mutation of something right, so that most get past the first byte. The seed is
//! printed; `POLYPORT_SEED=N` repeats a run. What the answers mean is tested where the parsers are.

mod targets;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use polyport::engine::access::Access;
use polyport::engine::session::Party;
use polyport::plan::{self, Hours};
use targets::{spoken, written};

const ROUNDS: usize = 20_000;

/// Xorshift.
struct Dice(u64);

impl Dice {
    fn new(test: &str) -> Dice {
        let seed = match std::env::var("POLYPORT_SEED") {
            Ok(seed) => seed.parse().expect("a number"),
            Err(_) => 0x5EED,
        };
        println!("{test}: POLYPORT_SEED={seed}");
        Dice(seed | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n.max(1)
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// Some bytes changed, doubled, left out or put in.
    fn mutate(&mut self, bytes: &mut Vec<u8>, alphabet: &[u8]) {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            let other = alphabet[self.below(alphabet.len())];
            match self.below(5) {
                _ if bytes.is_empty() => bytes.push(other),
                0 => bytes[at] = other,
                1 => bytes.insert(at, other),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again);
                }
            }
        }
    }

    fn text(&mut self, choices: &[&str], alphabet: &[u8]) -> String {
        let mut bytes = self.one_of(choices).as_bytes().to_vec();
        self.mutate(&mut bytes, alphabet);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

const PROXY_HEADERS: [&[u8]; 7] = [
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 7\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\nhello",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x04\0\x01\0",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24012345678901234567890123456789012345",
];

#[test]
fn a_proxy_header_is_judged_alike_however_it_is_cut() {
    let mut dice = Dice::new("proxy");
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let mut bytes = dice.one_of(&PROXY_HEADERS).to_vec();
        dice.mutate(&mut bytes, &every_byte);
        if dice.below(8) == 0 {
            bytes.resize(bytes.len() + dice.below(700), b' ');
        }
        accepted += usize::from(spoken::proxy_header(&bytes));
    }
    assert!(accepted > ROUNDS / 10, "mutations are not all noise");
}

#[test]
fn a_network_that_is_accepted_is_written_and_read_again_as_itself() {
    let mut dice = Dice::new("networks");
    let right = [
        "192.0.2.0/24",
        "10.0.0.1",
        "0.0.0.0/0",
        "2001:db8::/32",
        "::1",
        "::ffff:192.0.2.0/120",
    ];
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let text = dice.text(&right, b"0123456789abcdef:./%* +-\xff");
        accepted += usize::from(written::network(text.as_bytes()));
    }
    assert!(accepted > ROUNDS / 10, "mutations are not all noise");
}

#[test]
fn hours_that_are_accepted_are_open_at_some_minute_and_read_again_as_themselves() {
    let mut dice = Dice::new("hours");
    let right = [
        "08:00-18:00",
        "Mon-Fri 08:00-18:00",
        "Sat,Sun 22:00-06:00",
        "00:00-24:00",
        "fri-mon 23:59-00:00",
    ];
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let text = dice.text(&right, b"0123456789:-, MonTueWedFriSatS\xff");
        if written::access_times(text.as_bytes()) {
            accepted += 1;
            let hours = Hours::parse(&text).expect("it was just accepted");
            // Seeking in steps would miss a minute; all of them of one week in a few rounds only.
            if accepted % 500 == 0 {
                let minutes = (0..7 * 24 * 60).map(|minute| minute * 60);
                assert!(minutes.into_iter().any(|at| hours.contain(at)), "{text:?}");
            }
        }
    }
    assert!(accepted > ROUNDS / 10, "mutations are not all noise");
}

#[test]
fn lists_decide_as_a_walk_over_all_their_entries_does() {
    let mut dice = Dice::new("lists");
    for _ in 0..2_000 {
        let (allow, deny) = (some_networks(&mut dice), some_networks(&mut dice));
        let access = Access::new(&plan::Access {
            allow: allow.clone(),
            deny: deny.clone(),
            ..plan::Access::default()
        });
        for _ in 0..20 {
            let address = some_address(&mut dice);
            let peer = Party::from(SocketAddr::new(address, 1));
            let found = access.admit(peer, || 0).is_ok();
            assert_eq!(
                found,
                walk(&allow, &deny, address),
                "{address} {allow:?} {deny:?}"
            );
        }
    }
}

/// The slow way: the longest prefix of each list that the address lies in.
fn walk(allow: &[IpNet], deny: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    let longest = |list: &[IpNet]| {
        let matching = list.iter().filter(|network| network.contains(&address));
        matching.map(IpNet::prefix_len).max()
    };
    match (longest(allow), longest(deny)) {
        (None, None) => allow.is_empty(),
        (allowed, denied) => allowed > denied,
    }
}

/// From a few corners of the address space, so that they meet.
fn some_address(dice: &mut Dice) -> IpAddr {
    let low = dice.below(8) as u8;
    let high = dice.below(2) as u8 * 128;
    match dice.below(4) {
        0 => IpAddr::from([0x20, 1, high, 0, 0, 0, 0, low, 0, 0, 0, 0, 0, 0, high, low]),
        1 => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, high, low]),
        _ => IpAddr::from([10, 0, high, low]),
    }
}

fn some_networks(dice: &mut Dice) -> Vec<IpNet> {
    (0..dice.below(5))
        .map(|_| {
            let address = some_address(dice).to_canonical();
            let width = if address.is_ipv4() { 32 } else { 128 };
            let length = match dice.below(3) {
                0 => width,
                1 => width - dice.below(4),
                _ => dice.below(width + 1),
            };
            let network = IpNet::new(address, length as u8).expect("within its width");
            network.trunc()
        })
        .collect()
}
