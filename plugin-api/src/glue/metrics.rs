//! The host's `polyport.metrics/1` as safe calls.
//!
//! It promises nothing about the host: one without the table, or with a hole in it, refuses a
//! definition, and then there is nothing to count. Invariant: a number that is passed on came from the
//! host's `define`.

use std::ffi::CStr;

use super::host::Host;
use crate::abi;
use crate::{Error, Result};

pub(super) const EXT_METRICS: &CStr = c"polyport.metrics/1";

impl Host {
    pub(crate) fn define_metric(
        &self,
        kind: u32,
        name: &str,
        help: &str,
        bounds: &[u64],
    ) -> Result<u32> {
        let define = self.metrics.and_then(|table| table.define);
        let define = define.ok_or(Error::Unsupported)?;
        let lent = |text: &str| abi::Bytes {
            ptr: text.as_ptr(),
            len: text.len(),
        };
        let what = abi::Metric {
            size: size_of::<abi::Metric>() as u32,
            kind,
            name: lent(name),
            help: lent(help),
            bounds: bounds.as_ptr(),
            bound_count: bounds.len(),
        };
        let mut metric = 0;
        // SAFETY: the host is valid; what is lent outlives the call, and `metric` is ours.
        Error::check(unsafe { define(self.raw(), &raw const what, &raw mut metric) })?;
        Ok(metric)
    }

    pub(crate) fn metric_add(&self, metric: u32, amount: u64) {
        if let Some(add) = self.metrics.and_then(|table| table.add) {
            // SAFETY: the host is valid, and this is called inside of a callback or of `serve`.
            let status = unsafe { add(self.raw(), metric, amount) };
            // A metric of another instance changes nothing here.
            let _ = status;
        }
    }

    pub(crate) fn metric_change(&self, metric: u32, by: i64) {
        if let Some(change) = self.metrics.and_then(|table| table.change) {
            // SAFETY: as above.
            let status = unsafe { change(self.raw(), metric, by) };
            // A metric of another instance changes nothing here.
            let _ = status;
        }
    }

    pub(crate) fn metric_set(&self, metric: u32, value: i64) {
        if let Some(set) = self.metrics.and_then(|table| table.set) {
            // SAFETY: as above.
            let status = unsafe { set(self.raw(), metric, value) };
            // A metric of another instance changes nothing here.
            let _ = status;
        }
    }

    pub(crate) fn metric_record(&self, metric: u32, value: u64) {
        if let Some(record) = self.metrics.and_then(|table| table.record) {
            // SAFETY: as above.
            let status = unsafe { record(self.raw(), metric, value) };
            // A metric of another instance changes nothing here.
            let _ = status;
        }
    }
}
