//! Where a plugin's code may come from, and the store that keeps it.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/folder.rs"]
mod folder;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use fixtures::build_fixture;
use folder::{Folder, set_mode};
use polyport::plugin_host::{LoadError, load, prune, take};

#[test]
fn a_file_that_others_could_have_changed_is_not_taken() {
    let folder = Folder::new("trust");
    let plugin = folder.install("table");
    assert!(folder.admit("table").is_ok());

    set_mode(&plugin, 0o664);
    let error = folder
        .take(&plugin)
        .expect_err("group-writable")
        .to_string();
    let path = plugin.display();
    assert_eq!(
        error,
        format!(
            "{path} is not trusted: others than its owner can write it (mode 0664)
  fix: chmod go-w {path}"
        )
    );
    set_mode(&plugin, 0o644);

    let open = folder.0.join("open");
    std::fs::create_dir(&open).expect("a folder");
    let inside = open.join("table.so");
    std::fs::copy(&plugin, &inside).expect("installed");
    for (mode, trusted) in [
        (0o777, false),
        (0o775, false),
        (0o1777, true),
        (0o755, true),
    ] {
        set_mode(&open, mode);
        let taken = folder.take(&inside);
        let blamed = matches!(&taken, Err(LoadError::Untrusted { path, .. }) if *path == open);
        assert_eq!(
            (taken.is_ok(), blamed),
            (trusted, !trusted),
            "mode {mode:o}: {taken:?}"
        );
    }
    // A link is followed to where the plugin really is, and judged there.
    let link = folder.0.join("link.so");
    symlink(&inside, &link).expect("a link");
    assert!(folder.take(&link).is_ok());
    set_mode(&open, 0o777);
    assert!(matches!(
        folder.take(&link),
        Err(LoadError::Untrusted { .. })
    ));
}

#[test]
fn a_stranger_may_own_neither_the_file_nor_its_folder() {
    let folder = Folder::new("owner");
    let plugin = folder.install("table");
    if !nix::unistd::getuid().is_root() {
        // Only root can give a file away: here the tester is the stranger.
        let own = take(&plugin, &folder.0, &[]);
        assert!(matches!(own, Err(LoadError::Untrusted { .. })), "{own:?}");
        return;
    }
    const STRANGER: u32 = 4_711;
    let owned = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), None).expect("chown");
    owned(&plugin, STRANGER);
    let error = folder.take(&plugin).expect_err("a stranger's").to_string();
    assert!(error.contains("it belongs to user 4711"), "{error}");
    assert!(take(&plugin, &folder.0, &[STRANGER]).is_ok());
    owned(&plugin, 0);
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).expect("a folder");
    std::fs::copy(&plugin, inner.join("table.so")).expect("installed");
    owned(&inner, STRANGER);
    assert!(matches!(
        folder.take(&inner.join("table.so")),
        Err(LoadError::Untrusted { path, .. }) if path == inner
    ));
}

/// Who could rename a folder above the store could put another in its place.
#[test]
fn a_store_below_a_folder_of_others_is_not_used() {
    let folder = Folder::new("store-parents");
    let plugin = folder.install("table");
    let above = folder.0.join("above");
    let state = above.join("state");
    std::fs::create_dir_all(&state).expect("folders");
    let own = [nix::unistd::getuid().as_raw()];
    for (mode, trusted) in [
        (0o777, false),
        (0o775, false),
        (0o1777, true),
        (0o755, true),
    ] {
        set_mode(&above, mode);
        let taken = take(&plugin, &state, &own);
        let blamed = matches!(&taken, Err(LoadError::Untrusted { path, .. }) if *path == above);
        assert_eq!(
            (taken.is_ok(), blamed),
            (trusted, !trusted),
            "mode {mode:o}: {taken:?}"
        );
    }
}

#[test]
fn what_is_no_plain_file_is_not_taken() {
    let folder = Folder::new("kinds");
    let fifo = folder.0.join("fifo.so");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a fifo");
    let missing = folder.0.join("missing.so");
    let large = folder.0.join("large.so");
    std::fs::File::create(&large)
        .and_then(|f| f.set_len((256 << 20) + 1))
        .expect("a sparse file");
    set_mode(&large, 0o644);
    assert_eq!(
        folder.take(&fifo),
        Err(LoadError::NotRegular { path: fifo })
    );
    assert!(matches!(
        folder.take(&folder.0),
        Err(LoadError::NotRegular { .. })
    ));
    assert_eq!(
        folder.take(&missing),
        Err(LoadError::NotFound {
            path: missing,
            near: None
        })
    );
    assert!(matches!(
        folder.take(&large),
        Err(LoadError::TooLarge { .. })
    ));
}

#[test]
fn the_store_keeps_the_code_that_was_checked() {
    let folder = Folder::new("store");
    let plugin = folder.install("table");
    let stored = folder.take(&plugin).expect("taken");
    assert_eq!(
        std::fs::read(&stored.path).ok(),
        std::fs::read(&plugin).ok()
    );
    let name = format!("table-{}.so", &stored.hash[..16]);
    assert!(
        stored.path.ends_with(Path::new("plugins").join(name)),
        "{stored:?}"
    );
    assert_eq!(stored.hash.len(), 64);
    assert_eq!(
        std::fs::metadata(&stored.path)
            .expect("there")
            .permissions()
            .mode()
            & 0o7777,
        0o555
    );
    assert_eq!(
        folder.take(&plugin).as_ref(),
        Ok(&stored),
        "taking it again changes nothing"
    );

    // Overwritten in place, the plugin is another one; the stored one is as it was.
    std::fs::copy(build_fixture("rude"), &plugin).expect("overwritten");
    let other = folder.take(&plugin).expect("taken");
    assert_ne!(other, stored);
    assert_eq!(load(&stored, None).expect("the old code").name(), "table");
    assert_eq!(load(&other, None).expect("the new code").name(), "rude");

    std::fs::remove_file(&other.path).expect("removed");
    std::fs::copy(&stored.path, &other.path).expect("swapped");
    assert!(matches!(load(&other, None), Err(LoadError::Changed { .. })));
}

#[test]
fn code_that_is_in_use_stays_the_same_file_when_it_is_taken_again() {
    let folder = Folder::new("again");
    let plugin = folder.install("table");
    let inode = |path: &Path| std::fs::metadata(path).expect("stored").ino();
    let first = folder.take(&plugin).expect("taken");
    let before = inode(&first.path);
    let second = folder.take(&plugin).expect("taken again");
    assert_eq!((&first, before), (&second, inode(&second.path)));

    // What is not what its name says is no use to anybody.
    std::fs::remove_file(&first.path).expect("removed");
    std::fs::write(&first.path, b"something else").expect("written");
    let third = folder.take(&plugin).expect("taken once more");
    assert_eq!(third, first);
    load(&third, None).expect("the right code again");
}

#[test]
fn pruning_removes_what_no_generation_uses() {
    let folder = Folder::new("prune");
    prune(&folder.0, &[]).expect("no store is an empty store");
    let kept = folder.take(&folder.install("table")).expect("taken");
    let dropped = folder.take(&folder.install("rude")).expect("taken");
    let store = folder.0.join("plugins");
    let (torn, foreign) = (store.join(".table.1.tmp"), store.join("README"));
    std::fs::write(&torn, "half").expect("written");
    std::fs::write(&foreign, "mine").expect("written");
    prune(&folder.0, &[&kept]).expect("pruned");
    let left = [&kept.path, &dropped.path, &torn, &foreign].map(|path| path.exists());
    assert_eq!(left, [true, false, false, true]);
}
