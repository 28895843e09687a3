//! Files that exist without being there: `caps.txt`, which tells clients about this server, and
//! `robots.txt`, which tells crawlers what to leave out. A file of that name in the root is first.

use crate::menu::Here;
use crate::settings::Choices;

/// `caps.txt` or `robots.txt`, asked for with or without the slash.
pub(crate) fn named(choices: &Choices, here: &Here, path: &[u8]) -> Option<Vec<u8>> {
    match path {
        b"caps.txt" => Some(caps(choices, here)),
        b"robots.txt" => Some(robots(choices)),
        _ => None,
    }
}

fn caps(choices: &Choices, here: &Here) -> Vec<u8> {
    let mut lines = vec![
        "CAPS".to_owned(),
        String::new(),
        "CapsVersion=1".to_owned(),
        "ExpireCapsAfter=3600".to_owned(),
        String::new(),
        // Clients know one spelling or the other.
        "PathDelimeter=/".to_owned(),
        "PathDelimiter=/".to_owned(),
        "PathIdentity=.".to_owned(),
        "PathParent=..".to_owned(),
        "PathParentDouble=FALSE".to_owned(),
        "PathKeepPreDelimeter=FALSE".to_owned(),
        String::new(),
        "ServerSoftware=Polyport".to_owned(),
        format!("ServerSoftwareVersion={}", env!("CARGO_PKG_VERSION")),
        format!("ServerArchitecture=Linux/{}", std::env::consts::ARCH),
        format!("ServerDefaultEncoding={}", choices.charset),
        "ServerSupportsStdinScripts=FALSE".to_owned(),
        format!("ServerHostname={}", here.host),
    ];
    if choices.tls_port > 0 {
        lines.push(format!("ServerTLSPort={}", choices.tls_port));
    }
    for (key, value) in [
        ("ServerDescription", &choices.description),
        ("ServerGeolocationString", &choices.location),
        ("ServerAdmin", &choices.admin),
    ] {
        if !value.is_empty() {
            lines.push(format!("{key}={value}"));
        }
    }
    (lines.join("\n") + "\n").into_bytes()
}

fn robots(choices: &Choices) -> Vec<u8> {
    let mut lines = vec!["User-agent: *".to_owned()];
    match &choices.robots_disallow[..] {
        [] => lines.push("Disallow:".to_owned()),
        paths => lines.extend(paths.iter().map(|path| format!("Disallow: {path}"))),
    }
    (lines.join("\n") + "\n").into_bytes()
}
