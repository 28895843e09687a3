//! From the bytes of a connection to a request, or to the refusal of one.
//!
//! Pure but for the settings. Invariant: a request is complete, or the peer has finished, or it is
//! longer than allowed; until one of these there is no answer.

use std::sync::Arc;

use crate::gopherplus::{self, Ask};
use crate::http::{self, HEAD_BYTES_MAX};
use crate::menu::Here;
use crate::reply::{Manner, Request};
use crate::selector::{self, Fields};
use crate::settings::{Choices, Http, Plus};
use crate::{menu, page};

/// What a connection has said so far.
#[derive(Debug)]
pub(crate) enum Said {
    More,
    Nothing,
    /// Its host is the `Host` of HTTP, if there was one.
    Asked(Request, Option<Vec<u8>>),
    /// The whole answer, and the reason for the log.
    Refused(Vec<u8>, &'static str),
}

/// `has_ended`: there will be no more.
pub(crate) fn said(choices: &Choices, here: Arc<Here>, input: &[u8], has_ended: bool) -> Said {
    if choices.http != Http::Off {
        match http::parsed(input) {
            http::Parsed::NotHttp => {}
            http::Parsed::More if has_ended => return Said::Nothing,
            http::Parsed::More => return Said::More,
            http::Parsed::Asked(_) | http::Parsed::Refused(_) if choices.http == Http::Refuse => {
                return refused(
                    403,
                    "This is a gopher server",
                    "Please use a gopher client.",
                );
            }
            http::Parsed::Asked(asked) => {
                let request = Request {
                    selector: asked.selector,
                    search: asked.search,
                    manner: Manner::Http { body: asked.body },
                    here,
                    host: None,
                };
                return Said::Asked(request, asked.host);
            }
            http::Parsed::Refused(405) => {
                return refused(405, "Not that way", "Pages here can only be read.");
            }
            http::Parsed::Refused(status) => {
                return refused(
                    status,
                    "Not understood",
                    "That is not a request for a page.",
                );
            }
        }
    }
    let may_be_http = choices.http != Http::Off && http::may_be(input);
    let length_max = if may_be_http {
        HEAD_BYTES_MAX
    } else {
        choices.selector_max
    };
    let end = input.iter().position(|byte| *byte == b'\n');
    let line = match end {
        Some(end) => selector::without_end(&input[..=end]),
        None => selector::without_end(input),
    };
    if line.len() > length_max || (end.is_some() && line.len() > choices.selector_max) {
        let text = "The request is too long.";
        return refused_line(choices, line, text, "a line that is too long");
    }
    if end.is_none() && !has_ended {
        return Said::More;
    }
    if input.is_empty() {
        return Said::Nothing;
    }
    let Some(fields) = selector::fields(line) else {
        let text = "The request is not understood.";
        return refused_line(choices, line, text, "control characters");
    };
    let (search, plus) = search_and_plus(choices, &fields);
    let request = Request {
        selector: fields.selector.to_vec(),
        search: search.map(<[u8]>::to_vec),
        manner: plus.map_or(Manner::Gopher, Manner::Plus),
        here,
        host: None,
    };
    Said::Asked(request, None)
}

fn search_and_plus<'a>(choices: &Choices, fields: &Fields<'a>) -> (Option<&'a [u8]>, Option<Ask>) {
    let (search, word) = match fields.second {
        // On a search the second field is what is searched for, whatever it looks like.
        Some(words) if is_search(choices, fields.selector) => (Some(words), fields.third),
        // What stands behind a word of Gopher+ says whether data follow, which nothing here takes.
        Some(word) if gopherplus::ask(word).is_some() => (None, Some(word)),
        words => (words, fields.third),
    };
    let word = word.filter(|_| choices.plus != Plus::Off);
    (search, word.and_then(gopherplus::ask))
}

/// In the manner of the line, as far as it has come.
fn refused_line(choices: &Choices, line: &[u8], text: &str, why: &'static str) -> Said {
    let (_, plus) = search_and_plus(choices, &selector::split(line));
    let answer = match plus {
        Some(_) => gopherplus::error(1, &choices.admin, text),
        None => menu::error(text),
    };
    Said::Refused(answer, why)
}

/// However it is written: with the type in front, or a host behind.
fn is_search(choices: &Choices, selector: &[u8]) -> bool {
    let search = selector::path(&choices.search).filter(|path| !path.is_empty());
    let is_named = |selector| {
        let mut read = selector::candidates(selector).into_iter();
        read.any(|candidate| search.as_ref() == Some(&candidate.path))
    };
    let host = selector.iter().rposition(|byte| *byte == b';');
    search.is_some() && (is_named(selector) || host.is_some_and(|at| is_named(&selector[..at])))
}

fn refused(status: u16, title: &str, text: &str) -> Said {
    let page = page::message(title, text);
    let mut answer = page::head(status, page.len());
    answer.extend_from_slice(&page);
    Said::Refused(answer, "HTTP that is not answered")
}
