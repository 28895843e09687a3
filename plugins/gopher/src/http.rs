//! Just enough HTTP/1 to show a hole to a browser: the head of a request, and the head of an answer.
//!
//! Pure. There are no bodies of requests, no ranges and no second request on a connection.

/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 8192;

/// A request for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What a gopher client would have sent.
    pub selector: Vec<u8>,
    /// The words of a search.
    pub search: Option<Vec<u8>>,
    /// The host that it was sent to.
    pub host: Option<Vec<u8>>,
    /// Whether the answer has a body.
    pub body: bool,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A line of gopher, or one that has no end yet.
    NotHttp,
    /// HTTP whose head has no end yet.
    More,
    /// To be answered.
    Asked(Asked),
    /// To be refused with this status.
    Refused(u16),
}

/// What the input is, as far as it has come.
pub fn parsed(input: &[u8]) -> Parsed {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return Parsed::NotHttp;
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let Some((method, target)) = request_line(line) else {
        return Parsed::NotHttp;
    };
    let Some(head) = head(&input[end + 1..]) else {
        return match input.len() > HEAD_BYTES_MAX {
            true => Parsed::Refused(431),
            false => Parsed::More,
        };
    };
    let body = match method {
        b"GET" => true,
        b"HEAD" => false,
        _ => return Parsed::Refused(405),
    };
    // A proxy is sent the whole address.
    let target = match target.strip_prefix(b"http://") {
        Some(rest) => match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => &rest[slash..],
            None => b"/",
        },
        None => target,
    };
    if !target.starts_with(b"/") {
        return Parsed::Refused(400);
    }
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    let selector = crate::selector::percent_decoded(path);
    if selector
        .iter()
        .any(|byte| crate::selector::is_control(*byte) && !b"\t\r\n".contains(byte))
    {
        return Parsed::Refused(400);
    }
    Parsed::Asked(Asked {
        selector,
        search: query.map(search_words),
        host: field(head, b"host").map(<[u8]>::to_vec),
        body,
    })
}

/// Whether more of this line may be HTTP, whose lines may be longer.
pub fn may_be(line: &[u8]) -> bool {
    line.starts_with(b"GET /") || line.starts_with(b"HEAD /")
}

fn request_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    let is_version = matches!(
        version,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1']
    );
    (is_method && is_version && !target.is_empty() && words.next().is_none())
        .then_some((method, target))
}

/// The fields, if all of them have come.
fn head(behind: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    for line in behind.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            return Some(&behind[..at]);
        }
        at += line.len();
    }
    None
}

fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let found = line[..colon].eq_ignore_ascii_case(name);
        found.then(|| line[colon + 1..].trim_ascii())
    })
}

/// `q=a+b%21` or `a+b%21` → `a b!`.
fn search_words(query: &[u8]) -> Vec<u8> {
    let fields = query.split(|byte| *byte == b'&');
    let named = fields.clone().find_map(|field| field.strip_prefix(b"q="));
    let blanks: Vec<u8> = named
        .unwrap_or(query)
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let mut words = crate::selector::percent_decoded(&blanks);
    words.retain(|byte| !crate::selector::is_control(*byte));
    words
}

/// What goes before a body.
pub fn answer(status: u16, media: &str, length: u64) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let allow = if status == 405 {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    // Pages of ours need nothing but their own style; a page of the hole may bring more.
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n{allow}\
         Connection: close\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    )
    .into_bytes()
}

/// Behind the head of a page that this plugin has made.
pub const OWN_PAGE: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
     img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_gopher_and_from_each_other() {
        let asked = |selector: &str, search: Option<&str>, host: Option<&str>, body| {
            Parsed::Asked(Asked {
                selector: selector.as_bytes().to_vec(),
                search: search.map(|it| it.as_bytes().to_vec()),
                host: host.map(|it| it.as_bytes().to_vec()),
                body,
            })
        };
        for (input, expected) in [
            ("", Parsed::NotHttp),
            ("/a\r\n", Parsed::NotHttp),
            ("GET /\r\n", Parsed::NotHttp),
            ("GET / HTTP/2.0\r\n\r\n", Parsed::NotHttp),
            ("get / HTTP/1.1\r\n\r\n", Parsed::NotHttp),
            ("GET / HTTP/1.1", Parsed::NotHttp),
            ("GET / HTTP/1.1\r\n", Parsed::More),
            ("GET / HTTP/1.1\r\nHost: x\r\n", Parsed::More),
            (
                "GET / HTTP/1.1\r\nHost: x:70\r\n\r\n",
                asked("/", None, Some("x:70"), true),
            ),
            ("GET / HTTP/1.0\n\n", asked("/", None, None, true)),
            (
                "HEAD /a%20b HTTP/1.1\r\nhOST:x\r\n\r\n",
                asked("/a b", None, Some("x"), false),
            ),
            (
                "GET /s?q=a+b%21&x=y HTTP/1.1\r\n\r\n",
                asked("/s", Some("a b!"), None, true),
            ),
            (
                "GET /s?a HTTP/1.1\r\n\r\n",
                asked("/s", Some("a"), None, true),
            ),
            (
                "GET http://h/x HTTP/1.1\r\n\r\n",
                asked("/x", None, None, true),
            ),
            (
                "GET http://h HTTP/1.1\r\n\r\n",
                asked("/", None, None, true),
            ),
            ("POST / HTTP/1.1\r\n\r\n", Parsed::Refused(405)),
            ("GET x HTTP/1.1\r\n\r\n", Parsed::Refused(400)),
            ("GET /%00 HTTP/1.1\r\n\r\n", Parsed::Refused(400)),
        ] {
            assert_eq!(parsed(input.as_bytes()), expected, "{input:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(parsed(long.as_bytes()), Parsed::Refused(431));
    }
}
