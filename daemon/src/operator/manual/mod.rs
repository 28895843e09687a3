//! The manual's pages, printed from the tables that the program goes by: verbs, exit codes, signals,
//! keys, extensions.
//!
//! The verb is hidden: `make install` is who asks for the pages, people read them with man(1). What is
//! told at length stands in the documents; here is what one looks up.
//!
//! Invariant: a verb, key, code or signal that there is stands in a page without anybody's doing.

mod keys;
mod plugins;
mod roff;
mod verbs;

use clap::ValueEnum;

use crate::exit;
use crate::terminal::say;

/// By the name under which man(1) finds it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Page {
    #[value(name = "polyport.8")]
    Verbs,
    #[value(name = "polyport.toml.5")]
    Keys,
    #[value(name = "polyport-plugins.7")]
    Plugins,
}

pub(super) fn run(page: Page) -> u8 {
    let text = match page {
        Page::Verbs => verbs::page(),
        Page::Keys => keys::page(),
        Page::Plugins => plugins::page(),
    };
    say(exit::DONE, &text)
}
