//! News of the bus that never end.

use super::*;
use crate::engine::desk::Desk;
use crate::engine::session::{Fed, TimerToken};

/// It answers each of its own messages with another one.
#[derive(Default)]
struct Restless {
    desk: Desk,
    told: usize,
}

impl Protocol for Restless {
    type State = ();

    fn open(&mut self, _: Token, _: &Facts<'_>) -> Result<(), End> {
        Ok(())
    }

    fn feed(&mut self, _: Token, (): (), input: &[u8]) -> Fed {
        Fed::Took(input.len())
    }

    fn peer_finished(&mut self, _: Token, (): ()) -> Result<bool, End> {
        Ok(false)
    }

    fn writable(&mut self, _: Token, (): ()) -> Result<(), End> {
        Ok(())
    }

    fn closed(&mut self, _: Token, (): (), _: End) {}

    fn timer(&mut self, _: TimerToken, _: u64) {}

    fn wake(&mut self, _: u64) {}

    fn drain(&mut self, _: u64) {}

    fn hear_bus(&mut self, _: BusNews<'_>) -> Result<bool, String> {
        self.told += 1;
        Ok(true)
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

#[test]
fn a_protocol_that_answers_itself_for_ever_is_interrupted() {
    let mut streams = Streams::new(Restless::default(), &Limits::default());
    assert_eq!(
        streams.hear_bus(BusNews::More, 0),
        Ok(true),
        "there is more"
    );
    assert_eq!(streams.protocol.told, BUS_NEWS_MAX);
}
