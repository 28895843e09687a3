//! The engine with a loaded plugin in the loop: what peers say tells the plugin `plays` what to answer, and
//! that plugin ends the process where the host breaks a promise of the header.
//!
//! Here is only what stands between the two and writes into the ledger what passes. What peers do and what
//! must hold is in `world`. Invariant: each input has an instance of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use polyport::channel::StoredPlugin;
use polyport::engine::desk::{Ask, Desk};
use polyport::engine::piece::Piece;
use polyport::engine::protocol::Protocol;
use polyport::engine::session::{End, Facts, Fed, TimerToken, Token};
use polyport::plan::LogLevel;
use polyport::plugin_host::{Instance, InstanceFacts, Surroundings, load};
use polyport::scoreboard::{BYTES, Scoreboard};
use polyport::sys::shared_memory::SharedWords;

use super::world::{Ledger, World};

pub fn plugin(plays: &StoredPlugin, bytes: &[u8]) -> bool {
    let watched = |ledger| Watched {
        instance: instance(plays),
        ledger,
    };
    World::new(bytes, watched).play();
    true
}

fn instance(plays: &StoredPlugin) -> Instance {
    let facts = InstanceFacts {
        endpoints: &[],
        udp_ports: &[],
        service: "plays",
        worker_index: 0,
        worker_count: 1,
        generation: 1,
    };
    let memory = SharedWords::file("board", BYTES).expect("memory");
    let around = Surroundings {
        seed: 1,
        board: Scoreboard::over(SharedWords::map(&memory).expect("mapped")).expect("long"),
        clock: || 77_000,
        log_level: LogLevel::Info,
        jobs_max: 0,
    };
    let admitted = load(plays, None).unwrap_or_else(|error| panic!("{error}"));
    let chosen = admitted.choose("plays", &BTreeMap::new(), &BTreeMap::new());
    Instance::create(admitted, &chosen.expect("no options"), &facts, around).expect("created")
}

struct Watched {
    instance: Instance,
    ledger: Rc<RefCell<Ledger>>,
}

impl Watched {
    /// One callback; what it wrote is noted, but what a feed that is made again wrote to its session.
    fn call<R>(
        &mut self,
        input: &[u8],
        undone: impl Fn(&R) -> Option<Token>,
        call: impl FnOnce(&mut Instance) -> R,
    ) -> R {
        let before = self.instance.desk().asks().len();
        let answer = call(&mut self.instance);
        let undone = undone(&answer);
        let desk = self.instance.desk();
        let mut ledger = self.ledger.borrow_mut();
        for ask in &desk.asks()[before..] {
            if let Ask::Write { session, piece } = ask
                && Some(*session) != undone
            {
                let said = ledger.said.get_mut(session).expect("it was opened");
                said.extend_from_slice(match piece {
                    Piece::Lent(range) => &input[range.clone()],
                    Piece::Copied(range) => &desk.bytes()[range.clone()],
                });
            }
        }
        answer
    }
}

impl Protocol for Watched {
    type State = <Instance as Protocol>::State;

    fn open(&mut self, session: Token, facts: &Facts<'_>) -> Result<Self::State, End> {
        // It may write at once, and be refused all the same.
        self.ledger.borrow_mut().opened(session);
        let opened = self.call(&[], |_| None, |instance| instance.open(session, facts));
        if opened.is_err() {
            self.ledger.borrow_mut().refused(session);
        }
        opened
    }

    fn feed(&mut self, session: Token, state: Self::State, input: &[u8]) -> Fed {
        let undone = |fed: &Fed| matches!(fed, Fed::Full).then_some(session);
        let fed = self.call(input, undone, |instance| {
            instance.feed(session, state, input)
        });
        self.ledger.borrow_mut().fed(session, input, &fed);
        fed
    }

    fn peer_finished(&mut self, session: Token, state: Self::State) -> Result<bool, End> {
        self.call(
            &[],
            |_| None,
            |instance| instance.peer_finished(session, state),
        )
    }

    fn writable(&mut self, session: Token, state: Self::State) -> Result<(), End> {
        self.call(&[], |_| None, |instance| instance.writable(session, state))
    }

    fn closed(&mut self, session: Token, state: Self::State, why: End) {
        self.ledger.borrow_mut().closed(session, why);
        self.call(
            &[],
            |()| None,
            |instance| {
                instance.closed(session, state, why);
            },
        );
    }

    fn timer(&mut self, timer: TimerToken, token: u64) {
        self.call(&[], |()| None, |instance| instance.timer(timer, token));
    }

    fn wake(&mut self, token: u64) {
        self.call(&[], |()| None, |instance| instance.wake(token));
    }

    fn drain(&mut self, grace_ms: u64) {
        self.call(&[], |()| None, |instance| instance.drain(grace_ms));
    }

    fn desk(&mut self) -> &mut Desk {
        self.instance.desk()
    }
}
