//! The plugin's side of extensions: its tables by id, checked for their size and copied.
//!
//! Invariant: a table that is returned has all the fields that were published with its id.

use std::ffi::CStr;

use polyport_plugin::abi;

pub(super) const NEEDS: &CStr = c"polyport.needs/1";
pub(super) const BLOCKING: &CStr = c"polyport.blocking/1";
pub(super) const CARRY: &CStr = c"polyport.carry/1";
pub(super) const WORK: &CStr = c"polyport.work/1";
pub(super) const BUS: &CStr = c"polyport.bus/1";
/// Of the daemon's side only.
pub(super) const FILE: &CStr = c"polyport.file/1";
pub(super) const METRICS: &CStr = c"polyport.metrics/1";

/// The plugin's table of this id, if it has one; `Err` says what is wrong with it.
///
/// # Safety
///
/// `table` is an admitted plugin's, and the header says that the answer to `id` is a static `T`, which
/// begins with its size.
pub(super) unsafe fn table_of<T: abi::Sized32>(
    table: &abi::Plugin,
    id: &'static CStr,
) -> Result<Option<T>, String> {
    let Some(extension) = table.extension else {
        return Ok(None);
    };
    // SAFETY: the header promises a pure function; the id is static.
    let raw = unsafe { extension(id.as_ptr()) }.cast::<T>();
    if raw.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let table = unsafe { abi::read_sized(raw) };
    let short = |size| {
        let (name, least) = (T::NAME, T::BYTES_MIN);
        format!("its size is {size}, but sizeof({name}) is {least}")
    };
    table.map(Some).map_err(short)
}
