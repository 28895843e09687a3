//! Memory that is needed soon, asked for while something else is done.
//!
//! A hint to the processor, which never waits for it. On processors for which the language has no such
//! instruction nothing happens. Invariant: nothing is read or written, whatever the address.

use std::ptr;

/// Where something lies that is so many places behind `known`, in rows of `stride` bytes. To look it
/// up would mean to wait for it. If it is somewhere else, a hint is lost and nothing more.
#[inline]
pub fn neighbour<T>(known: &T, places: isize, stride: usize) -> *const u8 {
    let known: *const u8 = ptr::from_ref(known).cast();
    known.wrapping_offset(places.wrapping_mul(stride as isize))
}

/// The line of memory around this address.
#[inline]
pub fn fetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing but caches and faults at no address (Intel SDM,
        // PREFETCHh; AMD64 APM, PREFETCHlevel).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
