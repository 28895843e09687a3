//! The kit's scripted peers and seeds: what they play, and that each of their expectations can fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use polyport_plugin::prelude::*;
use polyport_plugin::testing::{Conversation, Dice, Setup};

const IDLE: Duration = Duration::from_secs(60);

/// Greets, gives each line back, and ends what is idle.
#[derive(Default)]
struct Lines;

impl Protocol for Lines {
    type Session = ();

    fn open(&mut self, cx: &mut Context, session: SessionId, _: &Facts) -> Result<()> {
        cx.idle(session, IDLE)?;
        cx.write(session, b"hello\r\n")
    }

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            return Ok(0);
        };
        cx.write(from, b"> ")?;
        cx.write(from, &input[..=end])?;
        Ok(end + 1)
    }
}

/// The same, but what one feed brings is taken for lines.
#[derive(Default)]
struct Hasty;

impl Protocol for Hasty {
    type Session = ();

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        cx.write(from, b"> ")?;
        cx.write(from, input)?;
        Ok(input.len())
    }
}

/// What a panic says, of a test that has to fail.
fn complaint_of(test: impl FnOnce()) -> String {
    let caught = catch_unwind(AssertUnwindSafe(test)).expect_err("it has to fail");
    match caught.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => panic!("a panic of another kind"),
    }
}

#[test]
fn each_step_is_done_in_its_order() {
    let mut host = Setup::of::<Lines>().start().expect("no settings");
    let first = Conversation::new()
        .expect("hello\r\n")
        .line("one")
        .expect("> one\r\n")
        .bytes(b"tw")
        .expect("")
        .bytes(b"o\n")
        .expect_bytes(b"> two\n");
    let peer = host.play(&first);
    // Another one in between changes nothing for the first.
    let other = Conversation::new()
        .expect("hello\r\n")
        .vanish()
        .expect_end(End::Lost);
    host.play(&other);
    host.play_on(
        peer,
        &Conversation::new().line("three").expect("> three\r\n"),
    );
    let patient = Conversation::new()
        .pause(IDLE - Duration::from_millis(1))
        .line("still here")
        .expect("> still here\r\n")
        .finish()
        .expect_end(End::Finished);
    host.play_on(peer, &patient);
    let idle = Conversation::new().pause(IDLE).expect_end(End::Idle);
    host.play(&idle);
}

#[test]
fn what_was_not_expected_names_the_step() {
    for (talk, said) in [
        (
            Conversation::new().line("one").expect("> one\r\n"),
            "step 2 of this conversation: it got hello\\r\\n> one\\r\\n",
        ),
        (
            Conversation::new().expect("hello\r\n").expect("more"),
            "step 2 of this conversation: it got \n",
        ),
        (
            Conversation::new().expect_end(End::Finished),
            "step 1 of this conversation: it has None",
        ),
    ] {
        let text = complaint_of(|| {
            Setup::of::<Lines>()
                .start()
                .expect("no settings")
                .play(&talk);
        });
        assert!(text.starts_with(said), "{text}");
        assert!(text.contains(&talk.to_string()), "{text}");
    }
}

#[test]
fn seeds_find_what_takes_a_feed_for_a_line() {
    let talk = |greeting: &str| {
        Conversation::new()
            .line("one")
            .expect(&format!("{greeting}> one\r\n"))
            .line("two")
            .expect("> two\r\n")
    };
    let pause_max = Duration::from_secs(5);
    Setup::of::<Lines>().each_seed(0..200, &talk("hello\r\n"), pause_max);
    Setup::of::<Hasty>()
        .start()
        .expect("no settings")
        .play(&talk(""));
    let text = complaint_of(|| Setup::of::<Hasty>().each_seed(0..200, &talk(""), pause_max));
    assert!(text.starts_with("step "), "{text}");
}

#[test]
fn a_seed_is_the_same_on_every_machine() {
    let mut dice = Dice::new(7);
    let throws: Vec<usize> = (0..8).map(|_| dice.below(100)).collect();
    assert_eq!(throws, [87, 4, 46, 3, 74, 5, 98, 82]);
    assert_eq!(dice.below(0), 0);
}
