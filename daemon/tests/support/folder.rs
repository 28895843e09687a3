//! A folder of one test, with the plugins it installs and the store it takes them to.
//!
//! It lies below the system's temporary folder: that one is sticky and so is trusted, whoever owns
//! the working copy.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use polyport::channel::StoredPlugin;
use polyport::plugin_host::{Admitted, LoadError, load, take};

use crate::fixtures::build_fixture;

/// A folder below the system's temporary one (which is sticky, so it is trusted), for one test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("polyport-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        set_mode(&folder, 0o755);
        Folder(folder)
    }

    /// A built fixture in this folder, as an administrator would install it.
    pub(crate) fn install(&self, fixture: &str) -> PathBuf {
        let installed = self.0.join(format!("{fixture}.so"));
        std::fs::copy(build_fixture(fixture), &installed).expect("installed");
        set_mode(&installed, 0o644);
        installed
    }

    pub(crate) fn take(&self, plugin: &Path) -> Result<StoredPlugin, LoadError> {
        take(plugin, &self.0, &[nix::unistd::getuid().as_raw()])
    }

    pub(crate) fn admit(&self, fixture: &str) -> Result<Admitted, LoadError> {
        self.take(&self.install(fixture))
            .and_then(|code| load(&code, None))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}
