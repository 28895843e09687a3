//! The list of bans: who put whom on it, until when, kept over restarts.
//!
//! Its clock is the wall's, because a ban has to end at its hour whether or not the daemon ran. Every
//! change becomes an order for all workers; that time passes is no change, they see it themselves.
//! The file is a convenience and not a promise: what cannot be read is put aside, what cannot be
//! written is said and tried again.
//!
//! Invariant: at most `BANS_MAX` entries; the file is whole, old or new.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::channel::{BANS_MAX, Ban, Order};
use crate::control::BanStatus;

/// A longer reason helps nobody.
const WHY_CHARS_MAX: usize = 200;
/// As many entries as there can be take less.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Between two writings of the file, and after one that failed.
const SAVE_EVERY_MS: u64 = 1_000;
const SAVE_AGAIN_MS: u64 = 30_000;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bans {
    path: PathBuf,
    list: BTreeMap<IpNet, Entry>,
    /// Orders that no worker has been given yet.
    news: Vec<Order>,
    changed: bool,
    save_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Milliseconds since 1970; `None` is until it is taken back.
    until_ms: Option<u64>,
    since_ms: u64,
    why: String,
    /// Of a penalty, which does not outlive the daemon.
    #[serde(skip)]
    passing: bool,
}

/// The file's form; it only ever grows.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    bans: Vec<KeptBan>,
}

#[derive(Serialize, Deserialize)]
struct KeptBan {
    network: IpNet,
    #[serde(flatten)]
    entry: Entry,
}

impl Bans {
    pub(super) fn load(state_dir: &Path, utc_ms: u64) -> Bans {
        let path = state_dir.join("bans.json");
        let mut bans = Bans {
            list: BTreeMap::new(),
            news: Vec::new(),
            changed: false,
            save_ms: 0,
            path,
        };
        match read(&bans.path) {
            Ok(kept) => {
                let kept = kept.into_iter().take(BANS_MAX);
                let entries = kept.map(|kept| (kept.network.trunc(), kept.entry));
                bans.list = entries
                    .filter(|(_, entry)| !entry.is_over(utc_ms))
                    .map(|(network, entry)| (network, entry.shown()))
                    .collect();
            }
            Err(error) => bans.put_aside(&error),
        }
        bans
    }

    fn put_aside(&self, error: &io::Error) {
        let path = self.path.display();
        let aside = self.path.with_extension("json.bad");
        match fs::rename(&self.path, &aside) {
            Ok(()) => tracing::warn!(
                "{path}: cannot be read ({error}); there are no bans now, and the file is kept as {}",
                aside.display()
            ),
            Err(_) => tracing::warn!("{path}: cannot be read ({error}); there are no bans now"),
        }
    }

    /// Replaces what was said of this network before.
    pub(super) fn ban(&mut self, network: IpNet, for_ms: Option<u64>, why: &str, utc_ms: u64) {
        let network = network.trunc();
        let entry = Entry {
            until_ms: for_ms.map(|for_ms| utc_ms.saturating_add(for_ms)),
            since_ms: utc_ms,
            why: why.to_owned(),
            passing: false,
        };
        if !self.list.contains_key(&network) {
            self.make_room(utc_ms);
        }
        self.list.insert(network, entry.shown());
        self.news.push(Order::Ban(Ban { network, for_ms }));
        self.changed = true;
    }

    /// A sensor's ban, which never shortens another.
    pub(super) fn trap(&mut self, source: IpNet, for_ms: u64, why: &str, utc_ms: u64) {
        let until_ms = utc_ms.saturating_add(for_ms);
        let known = self.list.get(&source.trunc());
        // Several reports of one visit are one ban.
        let nearly = |entry: &Entry| entry.until_ms.is_none_or(|at| at + 1_000 >= until_ms);
        if !known.is_some_and(nearly) {
            self.ban(source, Some(for_ms), why, utc_ms);
        }
    }

    /// For having brought a worker down; it changes nothing for whom somebody has banned.
    pub(super) fn penalise(&mut self, source: IpNet, for_ms: u64, why: &str, utc_ms: u64) {
        let known = self.list.get(&source.trunc());
        if known.is_some_and(|entry| !entry.passing && !entry.is_over(utc_ms)) {
            return;
        }
        // An entry that is over may still be in the file: then it is written without.
        let changed = self.changed || known.is_some_and(|entry| !entry.passing);
        self.ban(source, Some(for_ms), why, utc_ms);
        self.changed = changed;
        if let Some(entry) = self.list.get_mut(&source.trunc()) {
            entry.passing = true;
        }
    }

    /// False if it was not banned.
    pub(super) fn unban(&mut self, network: IpNet, utc_ms: u64) -> bool {
        let network = network.trunc();
        let Some(entry) = self.list.remove(&network) else {
            return false;
        };
        self.news.push(Order::Unban { network });
        self.changed = true;
        !entry.is_over(utc_ms)
    }

    /// What has expired goes, then what is oldest.
    fn make_room(&mut self, utc_ms: u64) {
        if self.list.len() >= BANS_MAX {
            self.list.retain(|_, entry| !entry.is_over(utc_ms));
        }
        while self.list.len() >= BANS_MAX {
            let oldest = self.list.iter().min_by_key(|(_, entry)| entry.since_ms);
            let oldest = *oldest.expect("a full list has an oldest").0;
            tracing::warn!(network = %oldest, "there are {BANS_MAX} bans; the oldest is taken back");
            self.list.remove(&oldest);
            self.news.push(Order::Unban { network: oldest });
        }
    }

    /// Those that are not written down.
    pub(super) fn passing(&self) -> Vec<IpNet> {
        let passing = self.list.iter().filter(|(_, entry)| entry.passing);
        passing.map(|(network, _)| *network).collect()
    }

    /// These are not to be written down.
    pub(super) fn pass(&mut self, networks: &[IpNet]) {
        for network in networks {
            if let Some(entry) = self.list.get_mut(network) {
                entry.passing = true;
            }
        }
    }

    pub(super) fn take_news(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.news)
    }

    /// For a new worker.
    pub(super) fn brief(&self, utc_ms: u64) -> Vec<Ban> {
        let living = self.list.iter().filter(|(_, entry)| !entry.is_over(utc_ms));
        living
            .map(|(network, entry)| Ban {
                network: *network,
                for_ms: entry.left_ms(utc_ms),
            })
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn status(&self, utc_ms: u64) -> Vec<BanStatus> {
        let living = self.list.iter().filter(|(_, entry)| !entry.is_over(utc_ms));
        living
            .map(|(network, entry)| BanStatus {
                network: *network,
                left_s: entry.left_ms(utc_ms).map(|left_ms| left_ms.div_ceil(1_000)),
                since_s: utc_ms.saturating_sub(entry.since_ms) / 1_000,
                why: entry.why.clone(),
            })
            .collect()
    }

    // --- the file ------------------------------------------------------------------------------

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.changed.then_some(self.save_ms)
    }

    /// Writes the file if something has changed and it is time.
    pub(super) fn save_if_due(&mut self, now_ms: u64) {
        if self.changed && now_ms >= self.save_ms {
            let again_ms = match self.save() {
                Ok(()) => SAVE_EVERY_MS,
                Err(_) => SAVE_AGAIN_MS,
            };
            self.save_ms = now_ms + again_ms;
        }
    }

    /// An error is in the log already; it is returned for whoever asked.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let written = self.write();
        match &written {
            Ok(()) => self.changed = false,
            Err(error) => tracing::warn!(
                "{}: bans cannot be kept over a restart: {error}",
                self.path.display()
            ),
        }
        written
    }

    fn write(&self) -> io::Result<()> {
        let kept = self.list.iter().filter(|(_, entry)| !entry.passing);
        let bans = kept.map(|(network, entry)| KeptBan {
            network: *network,
            entry: entry.clone(),
        });
        let kept = Kept {
            version: 1,
            bans: bans.collect(),
        };
        let temporary = self.path.with_extension("json.new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        fs::rename(&temporary, &self.path)
    }
}

impl Entry {
    fn is_over(&self, utc_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= utc_ms)
    }

    fn left_ms(&self, utc_ms: u64) -> Option<u64> {
        self.until_ms
            .map(|until_ms| until_ms.saturating_sub(utc_ms))
    }

    /// Fit for a terminal.
    fn shown(mut self) -> Entry {
        let plain = self.why.chars().filter(|c| !c.is_control());
        self.why = plain.take(WHY_CHARS_MAX).collect();
        self
    }
}

/// No file is no bans.
fn read(path: &Path) -> io::Result<Vec<KeptBan>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let kept: Kept = serde_json::from_slice(&bytes)?;
    Ok(kept.bans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pp-bans-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder for the test");
        path
    }

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn networks(bans: &Bans, utc_ms: u64) -> Vec<String> {
        let status = bans.status(utc_ms);
        status.iter().map(|ban| ban.network.to_string()).collect()
    }

    #[test]
    fn bans_survive_a_restart_with_what_is_left_of_them() {
        let folder = folder("restart");
        let mut bans = Bans::load(&folder, 1_000);
        bans.ban(net("192.0.2.7/24"), Some(10_000), "why\x1b[2J", 1_000);
        bans.ban(net("192.0.2.9/32"), Some(1_000), "short", 1_000);
        bans.ban(net("2001:db8::/64"), None, "for good", 1_000);
        bans.save_if_due(0);
        let bans = Bans::load(&folder, 3_000);
        let brief = bans.brief(3_000);
        let expected =
            [("192.0.2.0/24", Some(8_000)), ("2001:db8::/64", None)].map(|(network, for_ms)| Ban {
                network: net(network),
                for_ms,
            });
        assert_eq!(brief, expected);
        assert_eq!(bans.status(3_000)[0].why, "why[2J");
        assert_eq!(networks(&bans, 11_000), ["2001:db8::/64"]);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_penalty_is_listed_but_not_kept_and_changes_no_ban() {
        let folder = folder("penalty");
        let mut bans = Bans::load(&folder, 1_000);
        bans.ban(net("192.0.2.8/32"), Some(5_000), "by hand", 1_000);
        bans.save_if_due(0);
        bans.take_news();
        bans.penalise(net("192.0.2.7/32"), 90_000, "penalty", 1_000);
        bans.penalise(net("192.0.2.8/32"), 90_000, "penalty", 1_000);
        assert_eq!(bans.take_news().len(), 1, "workers are told of the new one");
        assert_eq!(
            bans.next_deadline_ms(),
            None,
            "and there is nothing to write"
        );
        let status = bans.status(1_000);
        let whys: Vec<&str> = status.iter().map(|ban| ban.why.as_str()).collect();
        assert_eq!(whys, ["penalty", "by hand"]);
        bans.ban(net("192.0.2.9/32"), None, "another", 1_000);
        bans.save().expect("written");
        let again = Bans::load(&folder, 1_000);
        assert_eq!(networks(&again, 1_000), ["192.0.2.8/32", "192.0.2.9/32"]);
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_put_aside() {
        for text in [
            "",
            "{}",
            "[]",
            "{\"version\":1,\"bans\":[{\"network\":\"x\"}]}",
        ] {
            let folder = folder("bad");
            fs::write(folder.join("bans.json"), text).expect("written");
            let mut bans = Bans::load(&folder, 0);
            assert!(networks(&bans, 0).is_empty());
            let aside = fs::read_to_string(folder.join("bans.json.bad")).expect("put aside");
            assert_eq!(aside, text);
            bans.ban(net("::1/128"), None, "", 0);
            bans.save().expect("the way is free");
            assert_eq!(networks(&Bans::load(&folder, 0), 0), ["::1/128"]);
            fs::remove_dir_all(folder).expect("removed");
        }
    }

    #[test]
    fn the_oldest_makes_room_and_workers_are_told_before() {
        let mut bans = Bans::load(Path::new("/nonexistent"), 0);
        for nth in 0..BANS_MAX as u32 {
            let address = std::net::Ipv4Addr::from(nth);
            bans.ban(
                IpNet::new(address.into(), 32).expect("32 bits"),
                None,
                "",
                u64::from(nth),
            );
        }
        bans.take_news();
        bans.ban(net("10.0.0.0/8"), None, "", 1 << 20);
        let news = bans.take_news();
        let [Order::Unban { network }, Order::Ban(ban)] = &news[..] else {
            panic!("{news:?}");
        };
        assert_eq!(
            (*network, ban.network),
            (net("0.0.0.0/32"), net("10.0.0.0/8"))
        );
        assert_eq!(bans.brief(0).len(), BANS_MAX);
    }

    #[test]
    fn a_sensor_never_shortens_a_ban_and_one_visit_is_one() {
        let mut bans = Bans::load(Path::new("/nonexistent"), 0);
        bans.ban(net("192.0.2.7/32"), None, "", 0);
        bans.trap(net("192.0.2.7/32"), 5_000, "", 0);
        bans.trap(net("192.0.2.8/32"), 5_000, "", 0);
        bans.trap(net("192.0.2.8/32"), 5_000, "", 400);
        assert_eq!(bans.take_news().len(), 2);
        bans.trap(net("192.0.2.8/32"), 5_000, "", 4_000);
        assert_eq!(bans.take_news().len(), 1);
        assert!(bans.unban(net("192.0.2.8/32"), 0) && !bans.unban(net("192.0.2.8/32"), 0));
    }

    #[test]
    fn the_file_is_written_once_in_a_while_and_only_for_a_change() {
        let folder = folder("pace");
        let mut bans = Bans::load(&folder, 0);
        assert_eq!(bans.next_deadline_ms(), None);
        bans.ban(net("192.0.2.7/32"), None, "", 0);
        bans.save_if_due(50);
        assert!(bans.path.exists());
        bans.ban(net("192.0.2.8/32"), None, "", 0);
        assert_eq!(bans.next_deadline_ms(), Some(50 + SAVE_EVERY_MS));
        bans.save_if_due(51);
        assert_eq!(networks(&Bans::load(&folder, 0), 0).len(), 1);
        bans.save_if_due(50 + SAVE_EVERY_MS);
        assert_eq!(networks(&Bans::load(&folder, 0), 0).len(), 2);
        assert_eq!(bans.next_deadline_ms(), None);
        fs::remove_dir_all(folder).expect("removed");
    }
}
