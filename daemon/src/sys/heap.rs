//! Memory that was freed, given back to the system.
//!
//! malloc(3) keeps what is freed for whoever asks next, and that is right as long as somebody will. Of
//! other libraries than glibc's nothing is asked, for they have no such call. Invariant: nothing that
//! is in use is touched.

use std::ffi::CStr;

/// For the environment of a process that may free very much: malloc(3) keeps freed pieces of each size
/// at hand, which costs a page wherever one of them lies in what could be given back. Only small ones
/// are worth that; they are what is asked for most.
pub const TUNABLES: &CStr = c"GLIBC_TUNABLES=glibc.malloc.tcache_max=128";

/// Whole pages of what is free, wherever between others they lie. It looks at all of that: for somebody
/// who has freed a lot, not for every turn.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes the locks of malloc itself, and releases free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    /// All of malloc's own, in bytes that are resident.
    fn resident_kib() -> usize {
        let text = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        kib.expect("a number")
    }

    #[test]
    fn what_was_freed_between_others_is_given_back() {
        let pieces: Vec<Vec<u8>> = (0..8_000).map(|_| vec![1; 4_000]).collect();
        let full = resident_kib();
        // The last one keeps free memory from being the end of the heap.
        let last = vec![1; 4_000];
        drop(pieces);
        give_back();
        let left = resident_kib();
        assert!(left + 20_000 < full, "{full} KiB before, {left} KiB after");
        drop(last);
    }
}
