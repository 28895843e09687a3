//! Jobs: closures of a plugin that run on a thread of the host's, and the way of their results back.
//!
//! A job travels as the `arg` of `polyport.work/1`: boxed here, run once on a thread, taken apart
//! again in `done` on the loop. A panic of the closure is kept as its text and reported there.
//!
//! Invariant: whoever holds the pointer holds the job; the host passes it on, to `run` at most once
//! and then to `done` exactly once.

use std::any::Any;
use std::ffi::{CStr, c_void};

use super::{Events, instance_of};
use crate::abi;
use crate::context::WorkId;
use crate::panics::caught;
use crate::{Error, Protocol};

pub(crate) const EXT_WORK: &CStr = c"polyport.work/1";

type Outcome = Box<dyn Any + Send>;
type Closure = Box<dyn FnOnce() -> Outcome + Send>;

pub(crate) enum Job {
    Waiting(Closure),
    Running,
    Over(Result<Outcome, String>),
}

impl Job {
    pub(crate) fn new<T: Any + Send>(closure: impl FnOnce() -> T + Send + 'static) -> Box<Job> {
        Box::new(Job::Waiting(Box::new(move || Box::new(closure()))))
    }

    fn run(&mut self) {
        if let Job::Waiting(closure) = std::mem::replace(self, Job::Running) {
            *self = Job::Over(caught(closure));
        }
    }
}

/// The `run` of every job.
pub(super) unsafe extern "C" fn run(arg: *mut c_void) {
    // SAFETY: it came from `Box::into_raw` in `Host::submit`, and is this thread's until the return.
    unsafe { &mut *arg.cast::<Job>() }.run();
}

impl<P: Protocol> Events<P> {
    pub(super) const WORK_SINK: &'static abi::WorkSink1 = &abi::WorkSink1 {
        size: size_of::<abi::WorkSink1>() as u32,
        reserved0: 0,
        done: Some(done::<P>),
    };
}

unsafe extern "C" fn done<P: Protocol>(
    instance: *mut c_void,
    token: u64,
    arg: *mut c_void,
    _status: abi::Status,
) {
    // SAFETY: the instance is alive and nothing else runs in it.
    let instance = unsafe { instance_of::<P>(instance) };
    // SAFETY: it came from `Box::into_raw` in `Host::submit`, and this is the last call with it.
    let job = unsafe { Box::from_raw(arg.cast::<Job>()) };
    // What the job says of itself is more than the status: it was run if it is over.
    let result = match *job {
        Job::Over(Ok(outcome)) => Ok(outcome),
        Job::Over(Err(text)) => {
            instance.context.host().fault(&format!("work {text}"));
            Err(Error::Panicked)
        }
        Job::Waiting(closure) => {
            // Dropping what it holds is the plugin's code as well.
            let _ = instance.call("dropping work", |_, _| drop(closure));
            Err(Error::Cancelled)
        }
        Job::Running => Err(Error::Failed),
    };
    // Fail closed: the result is used up.
    let _ = instance.call("worked", |protocol, cx| {
        protocol.worked(cx, WorkId(token), result);
    });
}
