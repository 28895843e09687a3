//! What is kept of a small world: the way it came there, told if it fails, and a print by which it is
//! known again.
//!
//! A print is 64 bits: of the some hundred thousand worlds of a run two would be taken for one once in
//! a million runs. Invariant: nothing here looks at a rule.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use polyport::lifecycle::Event;

/// What has happened, the last first.
pub(super) struct Path {
    pub(super) event: Event,
    pub(super) before: Option<Rc<Path>>,
}

/// What was written into it, as one number.
#[derive(Default)]
pub(super) struct Print(DefaultHasher);

impl Print {
    pub(super) fn number(&self) -> u64 {
        self.0.finish()
    }
}

impl Write for Print {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// Says how it came to that, also where the lifecycle itself gave up.
pub(super) struct Telling<'a>(pub(super) &'a Path);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut at = Some(self.0);
            eprintln!("after, the last first:");
            while let Some(path) = at {
                eprintln!("  {:?}", path.event);
                at = path.before.as_deref();
            }
        }
    }
}
