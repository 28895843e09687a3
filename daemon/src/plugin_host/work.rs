//! `polyport.work/1` from the daemon's side: jobs are taken from a callback, carried to a thread and
//! brought back.
//!
//! Invariant: a job's argument is looked at by nobody but the plugin. It is in `Jobs` from the moment
//! that the job was taken until its `done` is called.

use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use polyport_plugin::abi::{self, Status};
use slotmap::SecondaryMap;

use super::handlers::Answer;
use super::host_state::{HostState, refused, state_of, status};
use super::log::About;
use super::threads;
use crate::engine::handler::{Errand, JobEnd, JobToken};

/// The host's side; one for all instances of a process.
pub(super) static TABLE: abi::Work1 = abi::Work1 {
    size: size_of::<abi::Work1>() as u32,
    reserved0: 0,
    submit: Some(submit),
};

/// What is owed to the plugin.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// The plugin can be told that a job is over.
    pub(super) has_sink: bool,
    pub(super) owed: SecondaryMap<JobToken, Owed>,
}

/// What a job is for.
#[derive(Debug)]
pub(super) enum Owed {
    /// The plugin's own: its `done` gets these.
    Plugin { arg: *mut c_void, token: u64 },
    /// A datagram's, served by a thread.
    Answer(Arc<Mutex<Answer>>),
}

type Run = unsafe extern "C" fn(*mut c_void);

/// A function and its argument on their way to a thread.
struct Parcel {
    run: Run,
    arg: *mut c_void,
    host: &'static HostState,
}

// SAFETY: the header says that `run` is called on another thread with just this argument, which
// belongs to it until then; the host state is entered by its own thread only.
unsafe impl Send for Parcel {}

impl Parcel {
    fn run(self) -> JobEnd {
        // SAFETY: the plugin's own function with its own argument, once.
        let run = || unsafe { (self.run)(self.arg) };
        let ((), left) = threads::enter(self.host, About::default(), false, run);
        left.fault.map_or(JobEnd::Ran, JobEnd::Faulted)
    }
}

unsafe extern "C" fn submit(
    host: *mut abi::Host,
    run: Option<Run>,
    arg: *mut c_void,
    token: u64,
) -> Status {
    let Some(run) = run else { return abi::E_ARG };
    // SAFETY: null or what `create` was given, as the header demands.
    let Some(state) = (unsafe { state_of(host) }) else {
        return abi::E_ARG;
    };
    // SAFETY: as above.
    unsafe {
        status(host, |inside| {
            if !inside.jobs.has_sink {
                return Err(abi::E_UNSUPPORTED);
            }
            let parcel = Parcel {
                run,
                arg,
                host: state,
            };
            let job = inside
                .desk
                .submit(Errand::Job, move || parcel.run())
                .map_err(refused)?;
            inside.jobs.owed.insert(job, Owed::Plugin { arg, token });
            Ok(())
        })
    }
}
