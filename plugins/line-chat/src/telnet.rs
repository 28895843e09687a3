//! Telnet on the way in (RFC 854): what belongs to the text, what is an order, and what is answered.
//!
//! Always on, since whoever does not speak telnet never sends its byte 255. Nothing is offered: each
//! option that the peer offers or asks for is refused once, so no two programs can refuse each other
//! for ever; only TIMING-MARK is refused every time, for a client that was interrupted shows nothing
//! until it hears that. Invariant: it keeps a few bytes of state, however the input is cut.

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const EL: u8 = 248;
const EC: u8 = 247;
const AYT: u8 = 246;
const IP: u8 = 244;
const SE: u8 = 240;
const TIMING_MARK: u8 = 6;
/// Bytes of a subnegotiation; one that is longer has ended.
const SUBNEGOTIATION_BYTES_MAX: u16 = 512;

/// What the next byte means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Text,
    Order,
    Option(u8),
    Subnegotiation(u16),
    /// Behind IAC in a subnegotiation.
    SubnegotiationOrder(u16),
}

/// One session's filter.
#[derive(Debug, Default)]
pub(crate) struct Telnet {
    next: Next,
    /// Options that were refused already, asked for and offered; made when the first one is.
    refused: Option<Box<[[u64; 4]; 2]>>,
}

/// What one byte came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Text(u8),
    /// An IAC that is no order, and the byte behind it.
    Both(u8, u8),
    /// To be sent back.
    Answer([u8; 3]),
    AreYouThere,
    Interrupt,
    EraseCharacter,
    EraseLine,
}

impl Telnet {
    pub(crate) fn byte(&mut self, byte: u8) -> Heard {
        match self.next {
            Next::Text if byte == IAC => self.then(Next::Order, Heard::Nothing),
            Next::Text => Heard::Text(byte),
            Next::Order => self.order(byte),
            Next::Option(order) => {
                let answer = self.answer(order, byte);
                self.then(Next::Text, answer)
            }
            Next::Subnegotiation(n) if n >= SUBNEGOTIATION_BYTES_MAX => {
                self.next = Next::Text;
                self.byte(byte)
            }
            Next::Subnegotiation(n) if byte == IAC => {
                self.then(Next::SubnegotiationOrder(n + 1), Heard::Nothing)
            }
            Next::Subnegotiation(n) => self.then(Next::Subnegotiation(n + 1), Heard::Nothing),
            Next::SubnegotiationOrder(_) if byte == SE => self.then(Next::Text, Heard::Nothing),
            Next::SubnegotiationOrder(n) => self.then(Next::Subnegotiation(n + 1), Heard::Nothing),
        }
    }

    /// Whether the next byte is text, unless it begins an order.
    pub(crate) fn is_in_text(&self) -> bool {
        self.next == Next::Text
    }

    /// For [`import`](Telnet::import), in another worker.
    pub(crate) fn export(&self) -> Vec<u8> {
        let (state, n) = match self.next {
            Next::Text => (0, 0),
            Next::Order => (1, 0),
            Next::Option(order) => (2, u16::from(order)),
            Next::Subnegotiation(n) => (3, n),
            Next::SubnegotiationOrder(n) => (4, n),
        };
        let mut bytes = vec![state];
        bytes.extend_from_slice(&n.to_be_bytes());
        for word in self.refused.iter().flat_map(|it| it.iter().flatten()) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn import(bytes: &[u8]) -> Option<Telnet> {
        let (&[state, high, low], refused) = bytes.split_first_chunk()?;
        let n = u16::from_be_bytes([high, low]);
        let next = match state {
            0 => Next::Text,
            1 => Next::Order,
            2 => Next::Option(low),
            3 => Next::Subnegotiation(n),
            4 => Next::SubnegotiationOrder(n),
            _ => return None,
        };
        let mut words = [[0; 4]; 2];
        for (word, bytes) in words.iter_mut().flatten().zip(refused.chunks_exact(8)) {
            *word = u64::from_be_bytes(bytes.try_into().ok()?);
        }
        let refused = (!refused.is_empty()).then(|| Box::new(words));
        Some(Telnet { next, refused })
    }

    fn then(&mut self, next: Next, heard: Heard) -> Heard {
        self.next = next;
        heard
    }

    fn order(&mut self, byte: u8) -> Heard {
        let (next, heard) = match byte {
            IAC => (Next::Text, Heard::Text(IAC)),
            WILL | WONT | DO | DONT => (Next::Option(byte), Heard::Nothing),
            SB => (Next::Subnegotiation(0), Heard::Nothing),
            AYT => (Next::Text, Heard::AreYouThere),
            IP => (Next::Text, Heard::Interrupt),
            EC => (Next::Text, Heard::EraseCharacter),
            EL => (Next::Text, Heard::EraseLine),
            // The others, from end of file to go ahead, ask for nothing here.
            236..=249 => (Next::Text, Heard::Nothing),
            _ => (Next::Text, Heard::Both(IAC, byte)),
        };
        self.then(next, heard)
    }

    fn answer(&mut self, order: u8, option: u8) -> Heard {
        let (offered, refusal) = match order {
            DO => (0, WONT),
            WILL => (1, DONT),
            // We use nothing, so there is nothing to stop.
            _ => return Heard::Nothing,
        };
        let first = self.note(offered, option);
        if first || (order == DO && option == TIMING_MARK) {
            Heard::Answer([IAC, refusal, option])
        } else {
            Heard::Nothing
        }
    }

    /// Whether this is the first time.
    fn note(&mut self, offered: usize, option: u8) -> bool {
        let refused = self.refused.get_or_insert_default();
        let word = &mut refused[offered][usize::from(option / 64)];
        let bit = 1 << (option % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, and everything else in order.
    fn run(input: &[u8]) -> (Vec<u8>, Vec<Heard>) {
        let mut telnet = Telnet::default();
        let (mut text, mut others) = (Vec::new(), Vec::new());
        for byte in input {
            match telnet.byte(*byte) {
                Heard::Nothing => {}
                Heard::Text(byte) => text.push(byte),
                Heard::Both(first, second) => text.extend([first, second]),
                other => others.push(other),
            }
        }
        (text, others)
    }

    #[test]
    fn text_passes_and_orders_do_not() {
        let long = [&[IAC, SB, 24][..], &[b'x'; 512], b"text"].concat();
        for (input, text) in [
            (&b"hello"[..], &b"hello"[..]),
            (&[b'a', IAC, IAC, b'b'], &[b'a', IAC, b'b']),
            (&[b'a', IAC, 241, b'b', IAC, 243, b'c'], b"abc"),
            (&[b'a', IAC, WONT, 1, IAC, DONT, 3, b'b'], b"ab"),
            (&[b'a', IAC, SB, 24, 0, b'x', IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, SB, 24, IAC, IAC, b'x', IAC, SE, b'b'], b"ab"),
            (&[b'a', IAC, b'b'], &[b'a', IAC, b'b']),
            (&long, b"xtext"),
            (&[b'a', IAC], b"a"),
        ] {
            assert_eq!(run(input).0, text, "{input:?}");
        }
    }

    #[test]
    fn each_option_is_refused_once_and_the_timing_mark_always() {
        use Heard::Answer;
        for (input, answers) in [
            (&[IAC, DO, 1][..], &[Answer([IAC, WONT, 1])][..]),
            (&[IAC, WILL, 31], &[Answer([IAC, DONT, 31])]),
            (&[IAC, DO, 1, IAC, DO, 1], &[Answer([IAC, WONT, 1])]),
            (
                &[IAC, DO, 255, IAC, WILL, 255],
                &[Answer([IAC, WONT, 255]), Answer([IAC, DONT, 255])],
            ),
            (
                &[IAC, IP, IAC, DO, 6, IAC, DO, 6],
                &[
                    Heard::Interrupt,
                    Answer([IAC, WONT, 6]),
                    Answer([IAC, WONT, 6]),
                ],
            ),
            (
                &[IAC, AYT, IAC, EC, IAC, EL],
                &[Heard::AreYouThere, Heard::EraseCharacter, Heard::EraseLine],
            ),
        ] {
            assert_eq!(run(input).1, answers, "{input:?}");
        }
    }

    #[test]
    fn what_it_is_in_the_middle_of_survives_a_carry() {
        let input = [
            IAC, DO, 1, b'a', IAC, SB, 24, IAC, IAC, IAC, SE, IAC, DO, 1, IAC, IAC, b'b',
        ];
        for cut in 0..=input.len() {
            let mut telnet = Telnet::default();
            let mut heard: Vec<Heard> = input[..cut].iter().map(|it| telnet.byte(*it)).collect();
            let mut telnet = Telnet::import(&telnet.export()).expect("it was just written");
            heard.extend(input[cut..].iter().map(|it| telnet.byte(*it)));
            heard.retain(|it| *it != Heard::Nothing);
            let refusal = Heard::Answer([IAC, WONT, 1]);
            let text = [b'a', IAC, b'b'].map(Heard::Text);
            assert_eq!(heard, [refusal, text[0], text[1], text[2]], "cut at {cut}");
        }
        assert!(Telnet::import(b"").is_none() && Telnet::import(&[9, 0, 0]).is_none());
    }

    #[test]
    fn a_storm_of_options_gets_at_most_one_answer_each() {
        let storm: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| [IAC, if n % 2 == 0 { DO } else { WILL }, (n / 2 % 256) as u8])
            .collect();
        let marks = 20_000 / 512 + 1;
        let answers = run(&storm).1.len();
        assert!((512..=512 + marks).contains(&answers), "{answers}");
    }
}
