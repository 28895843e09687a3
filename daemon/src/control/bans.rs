//! What `bans` answers: the document that scripts read, and the table that a person reads.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::status::duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanList {
    pub bans: Vec<BanStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanStatus {
    pub network: IpNet,
    /// Seconds to its end; `None` is until it is taken back.
    pub left_s: Option<u64>,
    /// Seconds since it began.
    pub since_s: u64,
    pub why: String,
}

impl fmt::Display for BanList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bans.is_empty() {
            return writeln!(f, "nobody is banned");
        }
        for ban in &self.bans {
            let left = match ban.left_s {
                None => "for good".to_owned(),
                Some(left_s) => format!("{} left", duration(left_s)),
            };
            let line = format!("{:<24} {left:<14} {}", ban.network.to_string(), ban.why);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_for_how_long_and_why() {
        let ban = |network: &str, left_s, why: &str| BanStatus {
            network: network.parse().expect("a network"),
            left_s,
            since_s: 1,
            why: why.to_owned(),
        };
        let bans = vec![
            ban("192.0.2.7/32", Some(61), "scans"),
            ban("2001:db8::/64", None, ""),
        ];
        assert_eq!(
            BanList { bans }.to_string(),
            "192.0.2.7/32             1m01s left     scans\n2001:db8::/64            for good\n"
        );
        let none = BanList { bans: Vec::new() };
        assert_eq!(none.to_string(), "nobody is banned\n");
    }
}
