//! Options: declared once as a table, checked by the daemon, read by name or position.
//!
//! There is no parsing here. The daemon has converted what an administrator wrote before a plugin
//! sees it; `glue` has compared it with the table. Invariant: a `Settings` has one value of the
//! declared kind for each declared option, so reading a declared option cannot fail.

use std::ffi::CStr;
use std::time::Duration;

use crate::abi;

/// What an option's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Free text, or one of the choices.
    Text = abi::KIND_TEXT,
    /// A whole number.
    Integer = abi::KIND_INTEGER,
    /// `true` or `false`.
    Boolean = abi::KIND_BOOLEAN,
    /// Written `"10s"`.
    Duration = abi::KIND_DURATION,
    /// Written `"64KiB"`.
    Size = abi::KIND_SIZE,
    /// Several texts.
    List = abi::KIND_LIST,
}

/// One option of a plugin. Required unless it has a [`default`](Opt::default).
///
/// ```
/// # use polyport_plugin::Opt;
/// const OPTIONS: &[Opt] = &[
///     Opt::text(c"mode", c"How to answer.").default(c"stream").choices(c"stream|line"),
///     Opt::size(c"line_max", c"Longest line.").default(c"4KiB").between(1, 65_536),
/// ];
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub(crate) name: &'static CStr,
    pub(crate) help: &'static CStr,
    pub(crate) default: Option<&'static CStr>,
    pub(crate) choices: Option<&'static CStr>,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) kind: Kind,
}

impl Opt {
    /// A text; help is one sentence for the administrator.
    pub const fn text(name: &'static CStr, help: &'static CStr) -> Opt {
        Opt::new(Kind::Text, name, help)
    }

    /// A whole number.
    pub const fn integer(name: &'static CStr, help: &'static CStr) -> Opt {
        Opt::new(Kind::Integer, name, help)
    }

    /// Yes or no.
    pub const fn boolean(name: &'static CStr, help: &'static CStr) -> Opt {
        Opt::new(Kind::Boolean, name, help)
    }

    /// A length of time.
    pub const fn duration(name: &'static CStr, help: &'static CStr) -> Opt {
        Opt::new(Kind::Duration, name, help)
    }

    /// A number of bytes.
    pub const fn size(name: &'static CStr, help: &'static CStr) -> Opt {
        Opt::new(Kind::Size, name, help)
    }

    /// Several texts.
    pub const fn list(name: &'static CStr, help: &'static CStr) -> Opt {
        Opt::new(Kind::List, name, help)
    }

    /// What holds if the administrator writes nothing, in the form that he would write. A list's
    /// items are separated by commas.
    pub const fn default(mut self, text: &'static CStr) -> Opt {
        self.default = Some(text);
        self
    }

    /// The only words that a text may be, separated by `|`.
    pub const fn choices(mut self, words: &'static CStr) -> Opt {
        assert!(matches!(self.kind, Kind::Text), "only texts have choices");
        self.choices = Some(words);
        self
    }

    /// The smallest and the largest value: plain, in milliseconds or in bytes.
    pub const fn between(mut self, min: i64, max: i64) -> Opt {
        assert!(min <= max, "an option's bounds are the wrong way round");
        assert!(
            matches!(self.kind, Kind::Integer | Kind::Duration | Kind::Size),
            "only numbers have bounds"
        );
        self.min = min;
        self.max = max;
        self
    }

    const fn new(kind: Kind, name: &'static CStr, help: &'static CStr) -> Opt {
        Opt {
            name,
            help,
            default: None,
            choices: None,
            min: 0,
            max: 0,
            kind,
        }
    }
}

/// A value, in the form that its kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Integer(i64),
    Boolean(bool),
    Duration(Duration),
    Size(u64),
    List(Vec<&'a str>),
}

/// What an instance is made from.
///
/// The typed readers panic for an option that the plugin has not declared, or declared as another
/// kind: that is a mistake in the plugin, and its first test finds it.
#[derive(Debug)]
pub struct Settings<'a> {
    pub(crate) options: &'static [Opt],
    /// As many as options; beside each whether the administrator wrote it.
    pub(crate) values: Vec<(Value<'a>, bool)>,
    pub(crate) service: &'a str,
    pub(crate) raw_json: &'a str,
    pub(crate) endpoints: Vec<&'a str>,
    pub(crate) udp_ports: &'a [u16],
    pub(crate) worker_index: u32,
    pub(crate) worker_count: u32,
    pub(crate) generation: u32,
}

macro_rules! reader {
    ($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty) => {
        $(#[$doc])*
        #[track_caller]
        pub fn $name(&self, option: impl OptionKey) -> $type {
            match self.value(&option) {
                Value::$variant(value) => (*value).into(),
                _ => self.wrong_kind(&option, stringify!($name)),
            }
        }
    };
}

impl Settings<'_> {
    reader!(
        /// The value of a text option.
        text: Text -> &str
    );
    reader!(
        /// The value of an integer option.
        integer: Integer -> i64
    );
    reader!(
        /// The value of a boolean option.
        boolean: Boolean -> bool
    );
    reader!(
        /// The value of a duration option.
        duration: Duration -> Duration
    );
    reader!(
        /// The value of a size option, in bytes.
        size: Size -> u64
    );

    /// The items of a list option.
    #[track_caller]
    pub fn list(&self, option: impl OptionKey) -> &[&str] {
        match self.value(&option) {
            Value::List(items) => items,
            _ => self.wrong_kind(&option, "list"),
        }
    }

    /// Whether the administrator wrote the option, rather than leaving its default.
    #[track_caller]
    pub fn is_written(&self, option: impl OptionKey) -> bool {
        self.values[self.position(&option)].1
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        self.service
    }

    /// The settings as JSON, for what a table of options cannot express.
    pub fn raw_json(&self) -> &str {
        self.raw_json
    }

    /// The service's endpoints as URLs in numbers, like `udp://127.0.0.1:7`. While a configuration is
    /// checked, a port that the system is to choose is still 0.
    pub fn endpoints(&self) -> &[&str] {
        &self.endpoints
    }

    /// The UDP ports that the daemon serves when the instance is made, in all its services. Of those that
    /// a later change adds it is not told.
    pub fn udp_ports(&self) -> &[u16] {
        self.udp_ports
    }

    /// Which of the service's workers this is, from 0.
    pub fn worker_index(&self) -> u32 {
        self.worker_index
    }

    /// How many workers the service has.
    pub fn worker_count(&self) -> u32 {
        self.worker_count
    }

    /// The generation that this worker belongs to.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    #[track_caller]
    fn value(&self, option: &impl OptionKey) -> &Value<'_> {
        &self.values[self.position(option)].0
    }

    #[track_caller]
    fn position(&self, option: &impl OptionKey) -> usize {
        match option.position(self.options) {
            Some(position) => position,
            None => panic!("the plugin declares no option {}", option.shown()),
        }
    }

    #[track_caller]
    fn wrong_kind(&self, option: &impl OptionKey, asked: &str) -> ! {
        let declared = self.options[self.position(option)].kind;
        panic!(
            "option {} is declared as {declared:?}, not as {asked}",
            option.shown()
        )
    }
}

/// What names an option: its name, or its position in the table.
pub trait OptionKey {
    /// Where it is in the table.
    fn position(&self, options: &[Opt]) -> Option<usize>;
    /// For messages.
    fn shown(&self) -> String;
}

impl OptionKey for &str {
    fn position(&self, options: &[Opt]) -> Option<usize> {
        options
            .iter()
            .position(|option| option.name.to_bytes() == self.as_bytes())
    }

    fn shown(&self) -> String {
        format!("\"{self}\"")
    }
}

impl OptionKey for usize {
    fn position(&self, options: &[Opt]) -> Option<usize> {
        (*self < options.len()).then_some(*self)
    }

    fn shown(&self) -> String {
        format!("number {self}")
    }
}
