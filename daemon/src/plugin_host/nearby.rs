//! Which plugin an administrator may have meant who named one that is not there.
//!
//! It looks at names of files only, and opens none. Invariant: whatever cannot be read is no suggestion.

use std::path::Path;

use crate::config::nearest;

/// The name, as a service would write it, of a plugin in the same folder.
pub(super) fn meant(missing: &Path) -> Option<String> {
    let written = name(missing)?;
    let entries = std::fs::read_dir(missing.parent()?).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut names: Vec<String> = paths.filter_map(|path| name(&path)).collect();
    // The folder lists them in any order.
    names.sort();
    nearest(&written, names.iter().map(String::as_str)).map(str::to_owned)
}

/// "libpolyport_line_chat.so" → "line-chat".
fn name(file: &Path) -> Option<String> {
    let stem = file.file_name()?.to_str()?.strip_suffix(".so")?;
    Some(match stem.strip_prefix("libpolyport_") {
        Some(stem) => stem.replace('_', "-"),
        None => stem.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_only_when_it_is_near_and_there() {
        let folder = std::env::temp_dir().join(format!("polyport-nearby-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        for file in [
            "echo.so",
            "libpolyport_line_chat.so",
            "notes.txt",
            "gopher.so",
        ] {
            std::fs::write(folder.join(file), "").expect("a file");
        }
        for (written, expected) in [
            ("ecko.so", Some("echo")),
            ("linechat.so", Some("line-chat")),
            ("line_chat.so", Some("line-chat")),
            ("notes.so", None),
            ("quite-another.so", None),
        ] {
            let found = meant(&folder.join(written));
            assert_eq!(found.as_deref(), expected, "{written}");
        }
        assert_eq!(meant(&folder.join("none/echo.so")), None);
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}
