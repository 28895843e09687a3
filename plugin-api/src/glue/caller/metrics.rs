//! The fake host's `polyport.metrics/1`: what is lent is read and checked as the daemon does it.
//!
//! Invariant: nothing of the plugin's is kept but copies.

use super::table;
use crate::abi;
use crate::glue::lent_bytes;
use crate::testing::ledger::Ledger;
use crate::testing::metrics::{Defined, Kind};

pub(super) static METRICS: abi::Metrics1 = abi::Metrics1 {
    size: size_of::<abi::Metrics1>() as u32,
    reserved0: 0,
    define: Some(define),
    add: Some(add),
    change: Some(change),
    set: Some(set),
    record: Some(record),
};

unsafe extern "C" fn define(
    host: *mut abi::Host,
    what: *const abi::Metric,
    metric: *mut u32,
) -> abi::Status {
    let take = |ledger: &mut Ledger| {
        if ledger.during != Some("create") {
            ledger.broke("define was called outside of create");
            return abi::E_THREAD;
        }
        if what.is_null() || metric.is_null() {
            return abi::E_ARG;
        }
        if ledger.refuses("define") {
            return abi::E_FULL;
        }
        // SAFETY: not null, and lent by the plugin with its size at its beginning.
        let Ok(what) = (unsafe { abi::read_sized(what) }) else {
            return abi::E_ARG;
        };
        let counts = [what.name.len, what.help.len, what.bound_count];
        let nulls = [
            what.name.ptr.is_null(),
            what.help.ptr.is_null(),
            what.bounds.is_null() && what.bound_count > 0,
        ];
        if nulls.contains(&true) || counts.iter().any(|count| *count > 4096) {
            return abi::E_ARG;
        }
        // SAFETY: not null, and lent until the call has returned.
        let name = unsafe { lent_bytes(what.name.ptr, what.name.len) };
        // SAFETY: as above.
        let help = unsafe { lent_bytes(what.help.ptr, what.help.len) };
        let bounds = match what.bound_count {
            0 => &[][..],
            // SAFETY: as above; aligned, as a `const uint64_t *` of C is.
            count => unsafe { std::slice::from_raw_parts(what.bounds, count) },
        };
        match ledger.metrics.define(what.kind, name, help, bounds) {
            Ok(number) => {
                // SAFETY: not null, and the plugin's place for exactly this.
                unsafe { metric.write(number) };
                abi::OK
            }
            Err((status, why)) => {
                let name = String::from_utf8_lossy(name);
                ledger.note(format_args!("metric {name} is refused: {why}"));
                status
            }
        }
    };
    // SAFETY: see `ask`.
    unsafe { table::ask(host, "define", abi::E_THREAD, take) }
}

unsafe fn on(
    host: *mut abi::Host,
    call: &str,
    kind: Kind,
    metric: u32,
    note: impl FnOnce(&mut Defined),
) -> abi::Status {
    let take = |ledger: &mut Ledger| {
        if ledger.during.is_none() {
            ledger.broke(format!("{call} was called outside any callback"));
            return abi::E_THREAD;
        }
        match ledger.metrics.get(metric, kind) {
            Some(defined) => {
                note(defined);
                abi::OK
            }
            None => {
                ledger.broke(format!("{call} of {metric}, which is no {kind:?}"));
                abi::E_ARG
            }
        }
    };
    // SAFETY: see `ask`.
    unsafe { table::ask(host, call, abi::E_THREAD, take) }
}

unsafe extern "C" fn add(host: *mut abi::Host, metric: u32, amount: u64) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe {
        on(host, "add", Kind::Counter, metric, |it| {
            it.add(amount as i64)
        })
    }
}

unsafe extern "C" fn change(host: *mut abi::Host, metric: u32, by: i64) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe { on(host, "change", Kind::Gauge, metric, |it| it.add(by)) }
}

unsafe extern "C" fn set(host: *mut abi::Host, metric: u32, value: i64) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe { on(host, "set", Kind::Gauge, metric, |it| it.value = value) }
}

unsafe extern "C" fn record(host: *mut abi::Host, metric: u32, value: u64) -> abi::Status {
    // SAFETY: see `ask`.
    unsafe {
        on(host, "record", Kind::Histogram, metric, |it| {
            it.record(value)
        })
    }
}
