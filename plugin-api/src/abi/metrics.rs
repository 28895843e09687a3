//! The raw layouts of `polyport.metrics/1`: numbers of a plugin's own among the daemon's.
//!
//! A part of `abi`, of which all that is said there holds: shapes and no behaviour, equal to the
//! header, and final.

use super::{Bytes, Fn3, Host, Status};

pub const EXT_METRICS: &str = "polyport.metrics/1";
/// Of an instance.
pub const METRICS_MAX: u32 = 64;
pub const METRIC_NAME_BYTES: u32 = 64;
pub const METRIC_HELP_BYTES: u32 = 128;
pub const METRIC_BOUNDS_MAX: u32 = 16;

/// How often, or how much, so far.
pub const METRIC_COUNTER: u32 = 1;
/// How many there are now.
pub const METRIC_GAUGE: u32 = 2;
/// How many of what was recorded are at most so large, for each bound.
pub const METRIC_HISTOGRAM: u32 = 3;

/// What a metric is; borrowed by `define`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Metric {
    pub size: u32,
    pub kind: u32,
    pub name: Bytes,
    pub help: Bytes,
    pub bounds: *const u64,
    pub bound_count: usize,
}

/// Host side: defines metrics in `create`, and changes them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Metrics1 {
    pub size: u32,
    pub reserved0: u32,
    pub define: Fn3<*mut Host, *const Metric, *mut u32, Status>,
    pub add: Fn3<*mut Host, u32, u64, Status>,
    pub change: Fn3<*mut Host, u32, i64, Status>,
    pub set: Fn3<*mut Host, u32, i64, Status>,
    pub record: Fn3<*mut Host, u32, u64, Status>,
}
