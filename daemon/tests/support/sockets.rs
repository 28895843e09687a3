//! Steps of a case that look at sockets from outside: files of Unix sockets, and their options.
//!
//! `{sockets}` in a case's configuration and words is a folder of its own, made before the daemon
//! and short enough for the address of a Unix socket. `{user}` and `{own group}` are who runs the
//! test, `{credentials}` its process, user and group by number; `{owner}` and `{group}` are others if
//! that is root, for nobody else can give files away.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::PathBuf;

use nix::unistd::{Group, User, getegid, geteuid};
use serde_json::Value;

use super::daemon::{Daemon, Directory};
use super::namespace;

pub struct Sockets {
    folder: Directory,
    /// Kept open to the end of the case.
    foreign: Vec<Foreign>,
}

/// Somebody else's socket, held for being there.
enum Foreign {
    _Stream(UnixListener),
    _Datagram(UnixDatagram),
}

impl Sockets {
    pub fn new(case: &str) -> Sockets {
        Sockets {
            folder: Directory::new(&format!("s-{case}")),
            foreign: Vec::new(),
        }
    }

    pub fn fill_in(&self, text: &str) -> String {
        let text = text.replace("{sockets}", &self.folder.path().display().to_string());
        if !text.contains('{') {
            return text;
        }
        let (uid, gid, pid) = (geteuid(), getegid(), std::process::id());
        let user = User::from_uid(uid).ok().flatten().expect("a user").name;
        let group = Group::from_gid(gid).ok().flatten().expect("a group").name;
        // These are on every Debian, with different numbers.
        let (owner, other) = match namespace::is_root() && !namespace::is_inside() {
            true => ("daemon", "bin"),
            false => (user.as_str(), group.as_str()),
        };
        text.replace("{owner}", owner)
            .replace("{group}", other)
            .replace("{user}", &user)
            .replace("{own group}", &group)
            .replace("{credentials}", &format!("{pid} {uid} {gid}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `socket VERB NAME…`
    pub fn step(&mut self, words: &[&str]) {
        match words {
            ["stale", name] => drop(UnixListener::bind(self.path(name)).expect("bound")),
            ["live", name] => match name.strip_prefix('@') {
                Some(name) => {
                    let address = SocketAddr::from_abstract_name(name).expect("short");
                    let socket = UnixListener::bind_addr(&address).expect("bound");
                    self.foreign.push(Foreign::_Stream(socket));
                }
                None => {
                    let socket = UnixListener::bind(self.path(name)).expect("bound");
                    self.foreign.push(Foreign::_Stream(socket));
                }
            },
            ["live-datagram", name] => {
                let socket = UnixDatagram::bind(self.path(name)).expect("bound");
                self.foreign.push(Foreign::_Datagram(socket));
            }
            ["file", name] => fs::write(self.path(name), "not a socket").expect("written"),
            ["remove", name] => fs::remove_file(self.path(name)).expect("it was there"),
            ["mode", name, mode] => {
                let found = fs::metadata(self.path(name)).expect("it is there");
                assert!(found.file_type().is_socket());
                let found = format!("{:04o}", found.permissions().mode() & 0o7777);
                assert_eq!(found, *mode, "the permissions of {name}");
            }
            ["belongs", name, owner, group] => {
                let found = fs::metadata(self.path(name)).expect("it is there");
                let user = User::from_name(owner).ok().flatten().expect("a user");
                let group = Group::from_name(group).ok().flatten().expect("a group");
                let wanted = (user.uid.as_raw(), group.gid.as_raw());
                assert_eq!((found.uid(), found.gid()), wanted, "{name}");
            }
            ["only", names @ ..] => assert_eq!(self.names(), *names),
            _ => panic!("no such step with a socket: {words:?}"),
        }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// `sockopt SERVICE ENDPOINT OPTION is VALUE`, as `doctor sockopts --json` has it.
pub fn expect_option(daemon: &Daemon, service: &str, nth: usize, option: &str, value: &str) {
    let output = daemon.operate(&["doctor", "sockopts", service, "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let options = document["listeners"][nth]["options"].as_array();
    let options = options.unwrap_or_else(|| panic!("no listener {nth}: {document:#}"));
    let found = options.iter().find(|row| row["name"] == option);
    let found = &found.unwrap_or_else(|| panic!("{option} is not listed"))["value"];
    let found = found
        .as_str()
        .map_or_else(|| found.to_string(), str::to_owned);
    assert_eq!(found, value, "{option} of {service}");
}
