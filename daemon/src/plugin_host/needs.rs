//! What a plugin's sandbox must allow: `polyport.needs/1`.
//!
//! It is read once, with the handshake, before any setting is known; an entry `$root` then stands
//! for the value of the option `root` and is replaced once the settings are chosen. What is granted
//! is `sys::sandbox`'s business.
//!
//! Invariant: every `$name` names an option whose value is a text or a list of texts.

use std::ffi::c_char;

use polyport_plugin::abi;

use super::error::LoadError;
use super::extension::{self, table_of};
use super::options::{Chosen, DeclaredOption, Kind, Typed};
use super::text::text_list;
use crate::plan::Needs;

const FILES_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 4096;
const FLAGS_KNOWN: u32 = abi::NEEDS_CONNECT | abi::NEEDS_EXEC | abi::NEEDS_JIT;

/// The needs as declared, `$name` and all.
#[derive(Debug, Default)]
pub(super) struct DeclaredNeeds {
    files_read: Vec<String>,
    files_write: Vec<String>,
    flags: u32,
}

pub(super) fn declared(
    table: &abi::Plugin,
    options: &[DeclaredOption],
) -> Result<DeclaredNeeds, LoadError> {
    let bad = |why: String| LoadError::BadNeeds { why };
    // SAFETY: the header says so of this id.
    let raw = unsafe { table_of::<abi::Needs1>(table, extension::NEEDS) };
    let Some(raw) = raw.map_err(bad)? else {
        return Ok(DeclaredNeeds::default());
    };
    let unknown = raw.flags & !FLAGS_KNOWN;
    if unknown != 0 {
        return Err(bad(format!("unknown flags {unknown:#x}")));
    }
    let paths = |field: &str, list: *const *const c_char| {
        // SAFETY: a static list of static paths, ended by null, as the header demands.
        let paths = unsafe { text_list(list, FILES_MAX, PATH_BYTES_MAX) };
        let paths = paths.map_err(|why| bad(format!("`{field}` {why}")))?;
        paths
            .iter()
            .try_for_each(|path| check_path(path, options))
            .map_err(&bad)?;
        Ok::<_, LoadError>(paths)
    };
    Ok(DeclaredNeeds {
        files_read: paths("files_read", raw.files_read)?,
        files_write: paths("files_write", raw.files_write)?,
        flags: raw.flags,
    })
}

fn check_path(path: &str, options: &[DeclaredOption]) -> Result<(), String> {
    let Some(name) = path.strip_prefix('$') else {
        return if path.starts_with('/') {
            Ok(())
        } else {
            Err(format!(
                "{path:?} is neither absolute nor the $name of an option"
            ))
        };
    };
    match options.iter().find(|option| option.facts.name == name) {
        None => Err(format!("{path:?} names no option")),
        Some(option) if matches!(option.kind, Kind::Text | Kind::List) => Ok(()),
        Some(option) => Err(format!(
            "{path:?} names an option of kind {}",
            option.facts.kind
        )),
    }
}

impl DeclaredNeeds {
    /// With each `$name` replaced by what was chosen; an empty value needs nothing.
    pub(super) fn with(&self, chosen: &Chosen) -> Needs {
        let paths = |declared: &[String]| {
            let mut paths: Vec<String> = Vec::new();
            for path in declared {
                match path.strip_prefix('$') {
                    None => paths.push(path.clone()),
                    Some(name) => match chosen.value(name) {
                        Some(Typed::Text(text)) => paths.push(text.clone()),
                        Some(Typed::List(items)) => paths.extend(items.iter().cloned()),
                        _ => {}
                    },
                }
            }
            paths.retain(|path| !path.is_empty());
            paths
        };
        self.replaced(paths)
    }

    /// With each `$name` as it stands.
    pub(super) fn as_declared(&self) -> Needs {
        self.replaced(<[String]>::to_vec)
    }

    fn replaced(&self, paths: impl Fn(&[String]) -> Vec<String>) -> Needs {
        Needs {
            files_read: paths(&self.files_read),
            files_write: paths(&self.files_write),
            connect: self.flags & abi::NEEDS_CONNECT != 0,
            exec: self.flags & abi::NEEDS_EXEC != 0,
            jit: self.flags & abi::NEEDS_JIT != 0,
        }
    }
}
