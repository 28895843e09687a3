//! Panics of a plugin are caught here, with their text and place, and without a word on stderr.
//!
//! A worker's stderr belongs to the daemon's log, so while a plugin's method runs, the panic hook
//! keeps the message for the fault that `glue` reports. Panics elsewhere (a plugin's own threads, a
//! test's assertions) reach the hook that was there before. The hook is the plugin's alone: each
//! shared library has a standard library of its own.
//!
//! Invariant: nothing unwinds out of `caught`, not even out of dropping what was thrown.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static TEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a plugin's code; a panic becomes its message and place.
///
/// Whatever the code had in its hands may be half changed afterwards: the caller must not let it be
/// used as if nothing had happened.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    install();
    let outer = GUARDED.replace(true);
    let answer = panic::catch_unwind(AssertUnwindSafe(code));
    GUARDED.set(outer);
    answer.map_err(|thrown| {
        discard(thrown);
        TEXT.take()
            .unwrap_or_else(|| "panicked without a message".to_owned())
    })
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                TEXT.set(Some(text_of(info)));
            } else {
                before(info);
            }
        }));
    });
}

fn text_of(info: &PanicHookInfo<'_>) -> String {
    let message = match info.payload().downcast_ref::<&str>() {
        Some(text) => text,
        None => info
            .payload()
            .downcast_ref::<String>()
            .map_or("(no text)", String::as_str),
    };
    match info.location() {
        Some(place) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    }
}

/// Dropping an unknown value may run code that panics again: it is forgotten instead.
fn discard(thrown: Box<dyn Any + Send>) {
    if !thrown.is::<String>() && !thrown.is::<&'static str>() {
        std::mem::forget(thrown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_becomes_its_message_and_place() {
        let text = caught(|| panic!("number {}", 7)).expect_err("it panicked");
        assert!(text.starts_with("panicked at "), "{text}");
        assert!(
            text.contains("panics.rs:") && text.ends_with(": number 7"),
            "{text}"
        );
        assert_eq!(
            caught(|| panic!("plain")).map_err(|text| text.ends_with(": plain")),
            Err(true)
        );
        assert_eq!(caught(|| 3), Ok(3));
    }

    #[test]
    fn a_thrown_value_that_panics_when_dropped_is_harmless() {
        let text = caught(|| panic::panic_any(Bomb)).expect_err("it panicked");
        assert!(text.ends_with("(no text)"), "{text}");
    }

    #[test]
    fn a_guard_inside_a_guard_leaves_the_outer_one_in_place() {
        let outer = caught(|| {
            caught(|| panic!("inner")).expect_err("it panicked");
            panic!("outer");
        });
        assert!(outer.expect_err("it panicked").ends_with("outer"));
    }
}
