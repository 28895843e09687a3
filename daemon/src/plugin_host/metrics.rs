//! `polyport.metrics/1` from the daemon's side: a plugin's own numbers go straight to the scoreboard.
//!
//! Defining is checked here as far as memory goes; what a name may be, the scoreboard knows. Counting is
//! a load, a comparison and a store, on whichever of the daemon's threads the plugin runs.
//!
//! Invariant: whatever number a plugin passes, only a metric that it has defined, and of that kind, is
//! changed.

use std::ffi::c_void;

use polyport_plugin::abi::{self, Status};

use super::host_state::{borrowed, state_of, status};
use super::log::About;
use super::text::escaped;
use super::threads;
use crate::scoreboard::Scoreboard;
use crate::scoreboard::metrics::Undefined;

/// More than this no name, help or list of bounds can have; what is longer is refused unread.
const LENT_MAX: usize = 4096;

/// The host's side; one for all instances of a process.
pub(super) static TABLE: abi::Metrics1 = abi::Metrics1 {
    size: size_of::<abi::Metrics1>() as u32,
    reserved0: 0,
    define: Some(define),
    add: Some(add),
    change: Some(change),
    set: Some(set),
    record: Some(record),
};

// Their safety is the header's: `host` is what `create` was given, and each pointer is valid for its
// length during the call.

unsafe extern "C" fn define(
    host: *mut abi::Host,
    what: *const abi::Metric,
    metric: *mut u32,
) -> Status {
    // SAFETY: the header's promise.
    let Some(state) = (unsafe { state_of(host) }) else {
        return abi::E_ARG;
    };
    // SAFETY: the header's promises.
    let Ok(what) = (unsafe { Lent::read(what) }) else {
        return abi::E_ARG;
    };
    if metric.is_null() {
        return abi::E_ARG;
    }
    // SAFETY: as above.
    unsafe {
        status(host, |inside| {
            if !inside.is_young {
                return Err(abi::E_THREAD);
            }
            let Lent {
                kind,
                name,
                help,
                bounds,
            } = what;
            match state.board.define_metric(kind, name, help, &bounds) {
                Ok(number) => {
                    // SAFETY: not null, and the caller's to be written, as the header demands.
                    metric.write(number);
                    Ok(())
                }
                Err(Undefined::Full) => Err(abi::E_FULL),
                Err(Undefined::Bad(why)) => {
                    let name = escaped(name, abi::METRIC_NAME_BYTES as usize);
                    let text = format!("the metric \"{name}\" is refused: {why}");
                    let now_ms = (state.clock)();
                    let about = About::default();
                    state
                        .log
                        .line(now_ms, abi::LOG_WARNING, about, text.as_bytes());
                    Err(abi::E_ARG)
                }
            }
        })
    }
}

/// A definition as a plugin lends it.
struct Lent<'a> {
    kind: u32,
    name: &'a [u8],
    help: &'a [u8],
    bounds: Vec<u64>,
}

impl<'a> Lent<'a> {
    /// # Safety
    ///
    /// `what` is null, or points to a `pp_metric` that begins with its size, and what it points to does
    /// not change during the call.
    unsafe fn read(what: *const abi::Metric) -> Result<Lent<'a>, Status> {
        if what.is_null() {
            return Err(abi::E_ARG);
        }
        // SAFETY: the caller's promise.
        let what = unsafe { abi::read_sized(what) }.map_err(|_| abi::E_ARG)?;
        if what.name.len > LENT_MAX || what.help.len > LENT_MAX || what.bound_count > LENT_MAX {
            return Err(abi::E_ARG);
        }
        let numbers: *const c_void = what.bounds.cast();
        // SAFETY: the caller's promise.
        let numbers = unsafe { borrowed(numbers, what.bound_count * size_of::<u64>()) }?;
        let (numbers, _) = numbers.as_chunks::<8>();
        Ok(Lent {
            kind: what.kind,
            // SAFETY: the caller's promise.
            name: unsafe { borrowed(what.name.ptr.cast(), what.name.len) }?,
            // SAFETY: as above.
            help: unsafe { borrowed(what.help.ptr.cast(), what.help.len) }?,
            bounds: numbers.iter().map(|it| u64::from_ne_bytes(*it)).collect(),
        })
    }
}

/// # Safety
///
/// `host` is null or what `create` was given.
#[inline]
unsafe fn on(host: *mut abi::Host, count: impl FnOnce(&Scoreboard) -> Option<()>) -> Status {
    // SAFETY: the caller's promise.
    match unsafe { state_of(host) } {
        None => abi::E_ARG,
        Some(state) if !state.is_here() && !threads::is_inside(state) => abi::E_THREAD,
        Some(state) => count(&state.board).map_or(abi::E_ARG, |()| abi::OK),
    }
}

unsafe extern "C" fn add(host: *mut abi::Host, metric: u32, amount: u64) -> Status {
    // SAFETY: the header's promise.
    unsafe { on(host, |board| board.metric_add(metric, amount)) }
}

unsafe extern "C" fn change(host: *mut abi::Host, metric: u32, by: i64) -> Status {
    // SAFETY: the header's promise.
    unsafe { on(host, |board| board.metric_change(metric, by)) }
}

unsafe extern "C" fn set(host: *mut abi::Host, metric: u32, value: i64) -> Status {
    // SAFETY: the header's promise.
    unsafe { on(host, |board| board.metric_set(metric, value)) }
}

unsafe extern "C" fn record(host: *mut abi::Host, metric: u32, value: u64) -> Status {
    // SAFETY: the header's promise.
    unsafe { on(host, |board| board.metric_record(metric, value)) }
}
