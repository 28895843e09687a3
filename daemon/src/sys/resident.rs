//! Letting go of code that has run and is not needed now.
//!
//! A process keeps mapped whatever of its program it has ever touched, in pieces much larger than what
//! was touched. Nothing of that is its own: the pages are the page cache's, and come back from there
//! when they are used again. So a process that starts with much and then does little can be as
//! small as what it does.
//!
//! Only segments that are never written are let go of: what relocation or the process itself has
//! changed exists nowhere else. It is for a process whose libraries are its own and need no relocation in
//! their code, not for one with plugins. Breakpoints that a debugger has set go.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::slice;

use nix::unistd::{SysconfVar, sysconf};

/// Of the program and its libraries. Costs a moment's look at the page cache for what is used next.
pub fn let_go_of_code() {
    // SAFETY: `of_object` is called with what the loader lends it for the length of the call, and does
    // not call the loader (dl_iterate_phdr(3)).
    unsafe { libc::dl_iterate_phdr(Some(of_object), null_mut()) };
}

unsafe extern "C" fn of_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _none: *mut c_void,
) -> c_int {
    // SAFETY: the loader's promise to a callback.
    let object = unsafe { &*object };
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader's promise: so many headers are there.
    let headers =
        unsafe { slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    let is_code = |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0;
    let page = match sysconf(SysconfVar::PAGE_SIZE) {
        Ok(Some(bytes)) => bytes as usize,
        Ok(None) | Err(_) => return 0,
    };
    for header in headers.iter().filter(is_code) {
        let start = object.dlpi_addr as usize + header.p_vaddr as usize;
        let end = (start + header.p_memsz as usize).next_multiple_of(page);
        let start = start / page * page;
        // SAFETY: a segment of a loaded file has its pages for itself, and of these none was ever
        // written: the next access finds the same bytes in the file's cache (madvise(2)). Should the
        // kernel be against it, nothing has changed.
        unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::hash_map::DefaultHasher;
    use std::fs;
    use std::hash::Hasher;

    fn of_files_kib() -> u64 {
        let text = fs::read_to_string("/proc/self/status").expect("procfs");
        let line = text.lines().find_map(|line| line.strip_prefix("RssFile:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("a line").trim().parse().expect("a number")
    }

    /// Every byte of the program's own segments that are never written.
    fn sum_of_code() -> u64 {
        unsafe extern "C" fn add(
            object: *mut libc::dl_phdr_info,
            _: usize,
            sum: *mut c_void,
        ) -> c_int {
            // SAFETY: the loader lends it; the first one is the program itself.
            let object = unsafe { &*object };
            // SAFETY: so many are there.
            let headers =
                unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
            let mut hasher = DefaultHasher::new();
            for header in headers {
                if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                    let start = (object.dlpi_addr + header.p_vaddr) as *const u8;
                    // SAFETY: a loaded segment, readable and never written.
                    hasher.write(unsafe { slice::from_raw_parts(start, header.p_memsz as usize) });
                }
            }
            // SAFETY: the caller's own variable, for the length of the call.
            unsafe { *sum.cast::<u64>() = hasher.finish() };
            1
        }
        let mut sum = 0_u64;
        // SAFETY: the callback keeps to what it is lent.
        unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut sum).cast()) };
        sum
    }

    #[test]
    fn what_is_let_go_of_is_not_resident_and_comes_back_as_it_was() {
        let before = sum_of_code();
        let all = of_files_kib();
        let_go_of_code();
        let left = of_files_kib();
        // Other tests run meanwhile, and what they run is needed.
        assert!(left < all, "{all} KiB before, {left} after");
        assert_eq!(sum_of_code(), before);
    }
}
