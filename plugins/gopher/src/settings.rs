//! What an administrator may set, as declared to the daemon, and as the rest of the plugin uses it.
//!
//! Invariant: a [`Choices`] is complete and makes sense; nothing behind it looks at a text of the
//! configuration again.

use std::time::Duration;

use polyport_plugin::{Opt, Settings};

use crate::listing::{Order, Sort};
use crate::lookup::Rules;
use crate::types::{self, Type};

pub(crate) const OPTIONS: &[Opt] = &[
    Opt::text(c"root", c"The folder that is shown, as an absolute path."),
    Opt::text(
        c"hostname",
        c"The host that menus name; empty is the address that the peer came to.",
    )
    .default(c""),
    Opt::integer(
        c"port",
        c"The port that menus name; 0 is the one that the peer came to.",
    )
    .default(c"0")
    .between(0, 65_535),
    Opt::list(
        c"maps",
        c"Names of files that are menus, the first that is there counts.",
    )
    .default(c"gophermap, index.gph"),
    Opt::boolean(
        c"maps_text_only",
        c"In maps, a line without a TAB is a text and never a directive.",
    )
    .default(c"false"),
    Opt::text(
        c"tag",
        c"The file in a folder that holds the folder's name for menus.",
    )
    .default(c"gophertag"),
    Opt::text(
        c"header",
        c"A map in front of the listing of its folder; empty is none.",
    )
    .default(c"header.gph"),
    Opt::text(
        c"footer",
        c"A map behind the listing of its folder; empty is none.",
    )
    .default(c"footer.gph"),
    Opt::text(
        c"text",
        c"How text leaves: as stored, with CRLF, or with CRLF, doubled dots and an end.",
    )
    .default(c"raw")
    .choices(c"raw|crlf|rfc1436"),
    Opt::text(
        c"types",
        c"Item types that every client can follow, or more exact ones.",
    )
    .default(c"portable")
    .choices(c"portable|extended"),
    Opt::list(
        c"type_of",
        c"Letters for extensions, as md=0, before all other rules.",
    )
    .default(c""),
    Opt::text(c"sort", c"The order of listings.")
        .default(c"natural")
        .choices(c"natural|name|time|size"),
    Opt::boolean(c"folders_first", c"Folders come before files.").default(c"true"),
    Opt::boolean(
        c"reverse",
        c"Listings the other way round; a file .reverse does that for its folder.",
    )
    .default(c"false"),
    Opt::boolean(c"parent", c"Listings begin with a way up.").default(c"true"),
    Opt::boolean(c"dates", c"Listings show when a file was changed.").default(c"false"),
    Opt::boolean(c"sizes", c"Listings show how long a file is.").default(c"false"),
    Opt::integer(c"width", c"Columns of a name in a menu; 0 is any number.")
        .default(c"67")
        .between(0, 1000),
    Opt::text(
        c"symlinks",
        c"Links are not followed, or only if they stay inside the root.",
    )
    .default(c"inside")
    .choices(c"inside|none"),
    Opt::boolean(
        c"world_readable",
        c"Only what everybody on this machine may read is shown.",
    )
    .default(c"false"),
    Opt::text(
        c"http",
        c"A browser gets pages, a refusal, or no answer that it understands.",
    )
    .default(c"render")
    .choices(c"render|refuse|off"),
    Opt::text(c"charset", c"What browsers are told of the texts.").default(c"utf-8"),
    Opt::text(
        c"gopher_plus",
        c"Gopher+ is answered, also said of each item, or unknown.",
    )
    .default(c"answer")
    .choices(c"answer|advertise|off"),
    Opt::text(
        c"search",
        c"The selector of the search over the whole root; empty is none.",
    )
    .default(c"/search"),
    Opt::text(
        c"admin",
        c"Who answers for this server, as: Name <mail address>.",
    )
    .default(c""),
    Opt::text(
        c"description",
        c"One line about this server, for caps.txt and pages.",
    )
    .default(c""),
    Opt::text(c"location", c"Where this server stands, for caps.txt.").default(c""),
    Opt::integer(
        c"tls_port",
        c"The port of this hole that speaks TLS, for caps.txt; 0 is none.",
    )
    .default(c"0")
    .between(0, 65_535),
    Opt::list(
        c"robots_disallow",
        c"Paths that robots.txt asks crawlers to leave out.",
    )
    .default(c""),
    Opt::text(
        c"users_home",
        c"The folder of home folders, as /home; empty is no ~user.",
    )
    .default(c""),
    Opt::text(
        c"users_folder",
        c"The folder in a home that is shown as ~user.",
    )
    .default(c"public_gopher"),
    Opt::text(
        c"hosts",
        c"A folder with one folder for each further host, named like it; empty is none.",
    )
    .default(c""),
    Opt::list(
        c"hosts_at",
        c"Which host answers at an address of ours, as 192.0.2.7=a.example.",
    )
    .default(c""),
    Opt::size(c"selector_max", c"Longest line of a gopher client.")
        .default(c"1KiB")
        .between(16, 8192),
    Opt::duration(
        c"request_time",
        c"How long a peer may take for its request.",
    )
    .default(c"10s")
    .between(1, 600_000),
    Opt::duration(
        c"idle",
        c"A peer that takes nothing of its answer for so long is given up.",
    )
    .default(c"30s")
    .between(1, 86_400_000),
    Opt::size(
        c"cache",
        c"Memory of one worker for menus and small files that are ready; 0 keeps none.",
    )
    .default(c"16MiB"),
    Opt::duration(
        c"cache_time",
        c"What is kept ready is made anew when it is so old, whatever else.",
    )
    .default(c"10s"),
    Opt::boolean(c"log_requests", c"A line in the log for every request.").default(c"false"),
    Opt::boolean(c"log_searches", c"These lines show what was searched for.").default(c"false"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Raw,
    Crlf,
    Rfc1436,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    Render,
    Refuse,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    Answer,
    Advertise,
    Off,
}

/// All settings but the folders, which are open once the plugin runs.
#[derive(Debug)]
pub(crate) struct Choices {
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) maps: Vec<Vec<u8>>,
    pub(crate) maps_text_only: bool,
    pub(crate) tag: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) footer: Vec<u8>,
    pub(crate) text: Text,
    pub(crate) extended: bool,
    pub(crate) letters: Vec<(Vec<u8>, u8)>,
    pub(crate) order: Order,
    pub(crate) parent: bool,
    pub(crate) dates: bool,
    pub(crate) sizes: bool,
    pub(crate) width: usize,
    pub(crate) rules: Rules,
    pub(crate) http: Http,
    pub(crate) charset: String,
    pub(crate) plus: Plus,
    pub(crate) search: Vec<u8>,
    pub(crate) admin: String,
    pub(crate) description: String,
    pub(crate) location: String,
    pub(crate) tls_port: i64,
    pub(crate) robots_disallow: Vec<String>,
    pub(crate) users_folder: String,
    pub(crate) hosts_at: Vec<(String, String)>,
    pub(crate) selector_max: usize,
    pub(crate) request_time: Duration,
    pub(crate) idle: Duration,
    pub(crate) cache: usize,
    pub(crate) cache_time: Duration,
    pub(crate) log_requests: bool,
    pub(crate) log_searches: bool,
}

impl Choices {
    /// The reason of a refusal names the option and what to write.
    pub(crate) fn of(settings: &Settings) -> Result<Choices, String> {
        for option in ["root", "hosts", "users_home"] {
            let path = settings.text(option);
            if !path.starts_with('/') && (option == "root" || !path.is_empty()) {
                return Err(format!(
                    "{option}: expected an absolute path, found \"{path}\""
                ));
            }
        }
        for option in ["hostname", "admin", "description", "location", "charset"] {
            if settings.text(option).chars().any(char::is_control) {
                return Err(format!(
                    "{option}: it is one line, without control characters"
                ));
            }
        }
        if settings.text("hostname").contains(char::is_whitespace) {
            return Err("hostname: a host's name has no blanks".to_owned());
        }
        for option in ["tag", "header", "footer", "users_folder"] {
            if settings.text(option).contains('/') {
                return Err(format!("{option}: expected a name without a slash"));
            }
        }
        let bytes = |option: &str| settings.text(option).as_bytes().to_vec();
        let size = |option: &str| usize::try_from(settings.size(option)).unwrap_or(usize::MAX);
        Ok(Choices {
            hostname: settings.text("hostname").to_owned(),
            port: u16::try_from(settings.integer("port")).unwrap_or(0),
            maps: settings
                .list("maps")
                .iter()
                .map(|it| it.as_bytes().to_vec())
                .collect(),
            maps_text_only: settings.boolean("maps_text_only"),
            tag: bytes("tag"),
            header: bytes("header"),
            footer: bytes("footer"),
            text: match settings.text("text") {
                "crlf" => Text::Crlf,
                "rfc1436" => Text::Rfc1436,
                _ => Text::Raw,
            },
            extended: settings.text("types") == "extended",
            letters: letters(settings.list("type_of"))?,
            order: Order {
                sort: match settings.text("sort") {
                    "name" => Sort::Name,
                    "time" => Sort::Time,
                    "size" => Sort::Size,
                    _ => Sort::Natural,
                },
                folders_first: settings.boolean("folders_first"),
                reverse: settings.boolean("reverse"),
            },
            parent: settings.boolean("parent"),
            dates: settings.boolean("dates"),
            sizes: settings.boolean("sizes"),
            width: usize::try_from(settings.integer("width")).unwrap_or(0),
            rules: Rules {
                follow_links: settings.text("symlinks") == "inside",
                world_readable: settings.boolean("world_readable"),
            },
            http: match settings.text("http") {
                "refuse" => Http::Refuse,
                "off" => Http::Off,
                _ => Http::Render,
            },
            charset: settings.text("charset").to_owned(),
            plus: match settings.text("gopher_plus") {
                "advertise" => Plus::Advertise,
                "off" => Plus::Off,
                _ => Plus::Answer,
            },
            search: bytes("search"),
            admin: settings.text("admin").to_owned(),
            description: settings.text("description").to_owned(),
            location: settings.text("location").to_owned(),
            tls_port: settings.integer("tls_port"),
            robots_disallow: settings
                .list("robots_disallow")
                .iter()
                .map(|it| (*it).to_owned())
                .collect(),
            users_folder: settings.text("users_folder").to_owned(),
            hosts_at: hosts_at(settings.list("hosts_at"))?,
            selector_max: size("selector_max"),
            request_time: settings.duration("request_time"),
            idle: settings.duration("idle"),
            cache: size("cache"),
            cache_time: settings.duration("cache_time"),
            log_requests: settings.boolean("log_requests"),
            log_searches: settings.boolean("log_searches"),
        })
    }

    /// The letter of a file in this profile.
    pub(crate) fn letter(&self, kind: &Type) -> u8 {
        if self.extended {
            kind.extended
        } else {
            kind.portable
        }
    }

    /// The letter that the administrator has given to names like this.
    pub(crate) fn letter_of_name(letters: &[(Vec<u8>, u8)], name: &[u8]) -> Option<u8> {
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        let extension = &name[dot + 1..];
        let row = letters
            .iter()
            .rev()
            .find(|(it, _)| it.eq_ignore_ascii_case(extension));
        row.map(|(_, letter)| *letter)
    }

    /// Whether files of this name are part of how their folder looks, and are not shown themselves.
    pub(crate) fn is_furniture(&self, name: &[u8]) -> bool {
        let named = [&self.tag, &self.header, &self.footer];
        self.maps
            .iter()
            .chain(named)
            .any(|it| !it.is_empty() && it == name)
            || is_part(name)
    }

    /// Whether a file of this name is shown as the menu that it writes, unless it was given another type.
    pub(crate) fn is_menu(&self, path: &[u8]) -> bool {
        let letter = || Choices::letter_of_name(&self.letters, path);
        path.ends_with(b".gph") && letter().is_none_or(|letter| letter == b'1')
    }

    /// What kind of file this is, by its name only.
    pub(crate) fn type_by_name(name: &[u8]) -> Option<Type> {
        types::by_name(name)
    }
}

/// A map that takes its own place in a listing.
pub(crate) fn is_part(name: &[u8]) -> bool {
    name.len() > b".gophermap".len() && name.ends_with(b".gophermap")
}

fn letters(items: &[&str]) -> Result<Vec<(Vec<u8>, u8)>, String> {
    let parsed = items.iter().map(|item| {
        let (extension, letter) = item.split_once('=').unwrap_or((item, ""));
        match letter.as_bytes() {
            [letter] if !extension.is_empty() && letter.is_ascii_graphic() => Ok((
                extension.trim_start_matches('.').as_bytes().to_vec(),
                *letter,
            )),
            _ => Err(format!(
                "type_of: expected extension=letter, as md=0, found \"{item}\""
            )),
        }
    });
    parsed.collect()
}

fn hosts_at(items: &[&str]) -> Result<Vec<(String, String)>, String> {
    let parsed = items.iter().map(|item| match item.split_once('=') {
        Some((address, host)) if is_address(address) && !host.is_empty() => {
            Ok((address.to_owned(), host.to_ascii_lowercase()))
        }
        _ => Err(format!(
            "hosts_at: expected address=host or address:port=host, found \"{item}\""
        )),
    });
    parsed.collect()
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}
