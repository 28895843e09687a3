//! Everything that answers are made from: the settings, the open folders and the ready menus. It is
//! shared by the loop and by the threads that may wait.
//!
//! Invariant: after it was made nothing in it changes but the ready menus.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyport_plugin::{Address, Settings};

use crate::cache::Cache;
use crate::lookup::{self, Disk, Patience, Rules};
use crate::menu::Here;
use crate::settings::Choices;
use crate::vhosts;

pub(crate) struct Site {
    pub(crate) choices: Choices,
    root: Arc<OwnedFd>,
    /// The hosts beside the main one.
    pub(crate) hosts: BTreeMap<String, Arc<OwnedFd>>,
    pub(crate) users: Option<OwnedFd>,
    cache: Mutex<Cache>,
}

/// One root among those that a site has, and what selectors into it look like.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) folder: Arc<OwnedFd>,
    /// In front of each path: nothing, or `/~name`.
    pub(crate) prefix: String,
    /// Behind each selector: nothing, or `;host`.
    pub(crate) suffix: String,
    /// What the menus of this tree are kept under; no two trees have the same.
    pub(crate) id: String,
}

impl Site {
    pub(crate) fn new(settings: &Settings) -> Result<Site, String> {
        let choices = Choices::of(settings)?;
        let optional = |option: &str| match settings.text(option) {
            "" => Ok(None),
            path => lookup::root(path)
                .map(Some)
                .map_err(|why| format!("{option}: {why}")),
        };
        let hosts = match optional("hosts")? {
            None => BTreeMap::new(),
            Some(folder) => vhosts::in_folder(&folder)?,
        };
        if let Some((_, host)) = choices
            .hosts_at
            .iter()
            .find(|(_, host)| !hosts.contains_key(host))
        {
            return Err(format!(
                "hosts_at: there is no folder \"{host}\" in the folder hosts"
            ));
        }
        let root = lookup::root(settings.text("root")).map_err(|why| format!("root: {why}"))?;
        Ok(Site {
            root: Arc::new(root),
            hosts,
            users: optional("users_home")?,
            cache: Mutex::new(Cache::new(choices.cache, choices.cache_time)),
            choices,
        })
    }

    /// The tree of a host, or the main one.
    pub(crate) fn tree(&self, host: Option<&str>) -> Tree {
        let found = host.and_then(|host| self.hosts.get_key_value(host));
        let (folder, id) = match found {
            Some((name, folder)) => (folder, name.clone()),
            None => (&self.root, String::new()),
        };
        Tree {
            folder: Arc::clone(folder),
            prefix: String::new(),
            suffix: String::new(),
            id,
        }
    }

    /// What menus name for a peer who came to this address.
    pub(crate) fn here(&self, local: Address, host: Option<&str>) -> Here {
        let (address, port) = match local {
            Address::Ip(address) => (unmapped(address), address.port()),
            Address::Unix => ("localhost".to_owned(), 70),
        };
        let named = host.unwrap_or(&self.choices.hostname);
        Here {
            host: if named.is_empty() {
                address
            } else {
                named.to_owned()
            },
            port: if self.choices.port == 0 {
                port
            } else {
                self.choices.port
            },
        }
    }

    /// The host that answers at this address of ours, if it is not the main one.
    pub(crate) fn host_at(&self, local: Address) -> Option<&str> {
        let Address::Ip(local) = local else {
            return None;
        };
        let ip = local.ip().to_canonical();
        let row =
            self.choices
                .hosts_at
                .iter()
                .find(|(address, _)| match address.parse::<SocketAddr>() {
                    Ok(address) => {
                        (address.ip().to_canonical(), address.port()) == (ip, local.port())
                    }
                    Err(_) => address
                        .parse()
                        .is_ok_and(|address: std::net::IpAddr| address == ip),
                });
        row.map(|(_, host)| host.as_str())
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        // A panic while it was locked leaves a cache that is at worst too empty.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    pub(crate) fn disk(&self, rules: Rules, patience: Patience) -> Disk<'_> {
        Disk {
            folder: self.folder.as_fd(),
            rules,
            patience,
        }
    }

    /// The selector of a name in a folder of this tree.
    pub(crate) fn selector_in(&self, folder: &[u8], name: &[u8]) -> Vec<u8> {
        let between: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        [
            self.prefix.as_bytes(),
            b"/",
            folder,
            between,
            name,
            self.suffix.as_bytes(),
        ]
        .concat()
    }

    /// The selector of a path of this tree.
    pub(crate) fn selector(&self, path: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"/", path, self.suffix.as_bytes()].concat()
    }
}

/// An IPv4 address stays one on a socket for both.
fn unmapped(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}
