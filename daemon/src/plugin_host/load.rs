//! From a confirmed file to the address of a plugin's table.
//!
//! A library is loaded for the life of the process: unloading one that has touched thread-local
//! storage may or may not unmap it, and a second load of a path may return the first code, so
//! neither is done. What lies at the table's address is `admit`'s business.
//!
//! Invariant: the entry function that is called lies in the file whose hash was confirmed.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use polyport_plugin::abi;

use super::error::LoadError;
use super::text::escaped;
use super::verify::Confirmed;

type Entry = unsafe extern "C" fn() -> *const abi::Plugin;

/// Loads the library and asks it for its table, which may be null.
pub(super) fn load(confirmed: &Confirmed) -> Result<*const abi::Plugin, LoadError> {
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: loading runs the library's constructors. That a plugin's code runs in this process is
    // what the administrator asked for by naming it; its provenance was checked.
    let library = unsafe { Library::open(Some(&confirmed.path), flags) };
    let library = library.map_err(|error| loader_error(&error))?;
    // Never closed, see the head of this file.
    let library = ManuallyDrop::new(library);
    // SAFETY: the symbol's name carries the ABI's major, which fixes this signature.
    let entry = unsafe { library.get::<Entry>(abi::ENTRY) };
    let Ok(entry) = entry else {
        return Err(LoadError::NoEntry {
            other: other_entry(&library),
        });
    };
    let entry = *entry;
    same_file(entry as usize, &confirmed.file, &confirmed.path)?;
    // SAFETY: the header promises a pure function that may be called from any thread.
    Ok(unsafe { entry() })
}

fn loader_error(error: &libloading::Error) -> LoadError {
    let text =
        std::error::Error::source(error).map_or_else(|| error.to_string(), |s| s.to_string());
    // Such a program looks like a library until the loader reads its flags.
    if text.ends_with("cannot dynamically load position-independent executable") {
        return LoadError::Program;
    }
    LoadError::Loader {
        text: escaped(text.as_bytes(), 1024),
    }
}

/// The entry symbol of another major, if the library exports one.
fn other_entry(library: &Library) -> Option<String> {
    let (stem, _) = abi::ENTRY.split_at(abi::ENTRY.len() - 1);
    (0..=9)
        .map(|major| format!("{stem}{major}"))
        .find(|symbol| {
            // SAFETY: the address is not used, whatever its type.
            unsafe { library.get::<*const ()>(symbol.as_str()) }.is_ok()
        })
}

/// Compares where the entry symbol lies with where the confirmed file would lie.
///
/// Both are read from the same list of mappings, because the device that fstat(2) reports differs
/// from the one listed there on some file systems (btrfs, overlayfs).
fn same_file(entry: usize, file: &File, path: &Path) -> Result<(), LoadError> {
    let system = |call| {
        move |error: std::io::Error| LoadError::System {
            call,
            why: error.to_string(),
        }
    };
    let one = NonZeroUsize::MIN;
    // SAFETY: a new private mapping at an address of the kernel's choice touches no other memory.
    let page = unsafe {
        mmap(
            None,
            one,
            ProtFlags::PROT_READ,
            MapFlags::MAP_PRIVATE,
            file,
            0,
        )
    };
    let page = page.map_err(|errno| system("mmap")(errno.into()))?;
    let maps = std::fs::read_to_string("/proc/self/maps");
    // SAFETY: the mapping made above; its bytes were never read and nothing points into it.
    let _ = unsafe { munmap(page, 1) };
    let maps = maps.map_err(system("/proc/self/maps"))?;
    let wanted = mapping_at(&maps, page.as_ptr() as usize);
    match mapping_at(&maps, entry) {
        Some(found) if wanted.is_some_and(|wanted| wanted.file == found.file) => Ok(()),
        Some(found) if !found.path.is_empty() && Path::new(found.path) != path => {
            Err(LoadError::OtherCode {
                found: escaped(found.path.as_bytes(), 4096),
            })
        }
        _ => Err(LoadError::Changed {
            path: path.to_owned(),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping<'a> {
    /// Device and inode.
    file: (&'a str, &'a str),
    path: &'a str,
}

/// The line of proc_pid_maps(5) that covers an address.
fn mapping_at(maps: &str, address: usize) -> Option<Mapping<'_>> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let (device, inode) = (fields.nth(2)?, fields.next()?);
        let path = line.find('/').map_or("", |at| &line[at..]);
        range.contains(&address).then_some(Mapping {
            file: (device, inode),
            path,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_the_mapping_that_covers_it() {
        let maps = "\
7f0000000000-7f0000001000 r--p 00000000 00:1f 4711   /var/lib/p/echo one.so\n\
7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n";
        let first = Mapping {
            file: ("00:1f", "4711"),
            path: "/var/lib/p/echo one.so",
        };
        assert_eq!(mapping_at(maps, 0x7f00_0000_0000), Some(first));
        assert_eq!(mapping_at(maps, 0x7f00_0000_0fff), Some(first));
        let anonymous = Mapping {
            file: ("00:00", "0"),
            path: "",
        };
        assert_eq!(mapping_at(maps, 0x7f00_0000_1000), Some(anonymous));
        assert_eq!(mapping_at(maps, 0x7f00_0000_2000), None);
    }
}
