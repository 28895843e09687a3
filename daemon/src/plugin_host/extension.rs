//! The plugin's side of extensions: its tables by id, checked for their size and copied.
//!
//! Invariant: a table that is returned has all the fields that this revision knows.

use std::ffi::CStr;
use std::mem::size_of;

use polyport_plugin::abi;

pub(super) const NEEDS: &CStr = c"polyport.needs/1";
pub(super) const BLOCKING: &CStr = c"polyport.blocking/1";
pub(super) const CARRY: &CStr = c"polyport.carry/1";
pub(super) const WORK: &CStr = c"polyport.work/1";
pub(super) const BUS: &CStr = c"polyport.bus/1";
/// Of the daemon's side only.
pub(super) const FILE: &CStr = c"polyport.file/1";
pub(super) const METRICS: &CStr = c"polyport.metrics/1";

/// The plugin's table of this id, if it has one; `Err` says what is wrong with it. `c_name` is the header's name of its type.
///
/// # Safety
///
/// `table` is an admitted plugin's, and the header says that the answer to `id` is a static `T`, which
/// begins with its size.
pub(super) unsafe fn table_of<T: Copy>(
    table: &abi::Plugin,
    id: &'static CStr,
    c_name: &str,
) -> Result<Option<T>, String> {
    let Some(extension) = table.extension else {
        return Ok(None);
    };
    // SAFETY: the header promises a pure function; the id is static.
    let raw = unsafe { extension(id.as_ptr()) }.cast::<T>();
    if raw.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise: the size comes first.
    let size = unsafe { raw.cast::<u32>().read_unaligned() };
    if (size as usize) < size_of::<T>() {
        return Err(format!(
            "its size is {size}, but sizeof({c_name}) is {}",
            size_of::<T>()
        ));
    }
    // SAFETY: it is as long as it says, which is no less than this revision has.
    Ok(Some(unsafe { raw.read_unaligned() }))
}
