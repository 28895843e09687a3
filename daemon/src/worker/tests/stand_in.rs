//! The stand-in of a plugin that keeps failing: said, closed in order, counted.

use super::*;
use crate::channel;
use crate::worker::stand_in::StandIn;

/// Rows of what is said, and what the peer has sent before it hears that.
#[test]
fn whoever_connects_is_told_and_closed_in_order_whatever_it_sends() {
    for (refusal, sent) in [
        (&b""[..], &b""[..]),
        (b"", b"half a line"),
        (b"421 try again later\r\n", b""),
        (b"421 \0 later\r\n", &[b'x'; 20_000]),
    ] {
        let told = channel::StandIn {
            refusal: refusal.to_vec(),
        };
        // Its own, so that what it counts can be told from what the loop does.
        let file = SharedWords::file("test", scoreboard::BYTES).expect("memory file");
        let board = SharedWords::map(&file).expect("mapping");
        let board = Scoreboard::over(board).expect("long enough");
        let stand_in = StandIn::new(&told, board.clone());
        let mut running = start_with(|_| stand_in, limits());
        for _ in 0..3 {
            let mut stream = running.connect();
            stream.write_all(sent).expect("the kernel takes it");
            stream.shutdown(Shutdown::Write).expect("it is open");
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).expect("a FIN and no reset");
            assert_eq!(heard, refusal);
        }
        running.drain(10);
        assert_eq!(running.join(), Outcome::Drained);
        for (counter, expected) in [(Counter::Refused, 3), (Counter::RefusedFailing, 3)] {
            assert_eq!(board.read(counter), expected, "{counter:?}");
        }
    }
}
