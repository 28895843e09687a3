//! Several hosts on one service: each a folder named like the host.
//!
//! A gopher request carries no host, so none is guessed: the address that the peer came to decides,
//! or the `Host` of HTTP, or `;name` behind the selector.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, RawDir, openat};

use crate::menu::Item;
use crate::site::Site;

/// The hosts that have a folder here.
pub(crate) fn in_folder(folder: &OwnedFd) -> Result<BTreeMap<String, Arc<OwnedFd>>, String> {
    let failed = |error| format!("hosts: the folder cannot be read: {error}");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = openat(folder, ".", flags, Mode::empty()).map_err(failed)?;
    let mut buffer = vec![MaybeUninit::uninit(); 16 * 1024];
    let mut names = RawDir::new(listed, &mut buffer);
    let mut hosts = BTreeMap::new();
    while let Some(found) = names.next() {
        let found = found.map_err(failed)?;
        let Some(name) = found.file_name().to_str().ok().filter(|name| is_host(name)) else {
            continue;
        };
        let opened = openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
        // A file among the folders is no host.
        if let Ok(opened) = opened {
            hosts.insert(name.to_ascii_lowercase(), Arc::new(opened));
        }
    }
    Ok(hosts)
}

fn is_host(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !name.starts_with('.') && !name.is_empty() && name.bytes().all(is_good)
}

/// The host of a `Host` field, without its port.
pub(crate) fn of_http<'a>(site: &'a Site, field: &[u8]) -> Option<&'a str> {
    let field = std::str::from_utf8(field).ok()?.trim();
    let name = field.rsplit_once(':').map_or(field, |(name, _)| name);
    known(site, name.as_bytes())
}

/// `/path;host` → the path and the host, if there is one of that name.
pub(crate) fn of_selector<'a, 's>(
    site: &'a Site,
    selector: &'s [u8],
) -> Option<(&'s [u8], &'a str)> {
    let at = selector.iter().rposition(|byte| *byte == b';')?;
    Some((&selector[..at], known(site, &selector[at + 1..])?))
}

fn known<'a>(site: &'a Site, name: &[u8]) -> Option<&'a str> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    // A dot at the end says that nothing comes behind it.
    let name = name.strip_suffix('.').unwrap_or(&name);
    site.hosts
        .get_key_value(name)
        .map(|(name, _)| name.as_str())
}

/// The line `%` of a map.
pub(crate) fn items(site: &Site) -> Vec<Item> {
    let hosts = site.hosts.keys();
    hosts
        .map(|host| Item::local(b'1', host.as_str(), format!("/;{host}")))
        .collect()
}
