//! polyport.toml(5): every key, from the table that files are checked against.

use super::roff::Roff;
use crate::config::schema::{KEYS, Preset};
use crate::operator::configuration::takes;

const LAYERS: &str = "\
The configuration is TOML. It is read in layers, each over the one before: the built-in defaults, the \
file itself, the files `conf.d/*.toml` beside it in the order of their names, variables \
`POLYPORT_DAEMON__KEY` for keys of `[daemon]`, and `--set` on the command line.

Every complaint names file, line, key, what was expected and, for an unknown key, the nearest one that \
there is; all of them come at once. `polyport check` makes them without touching a daemon, `polyport \
config show` prints what a daemon goes by, `polyport config diff` what a reload would change.";

const UNITS: &str = "\
A duration is text with a unit: `10ms`, `30s`, `5m`, `2h`, `7d`. A size is text with a unit: `512B`, \
`64KiB`, `1MiB`. Counts are numbers. The same holds for a plugin's own settings.";

const SERVICE: &str = "\
[services.gopher]
plugin = \"gopher\"
listen = [\"tcp://[::]:70\", \"unix:/run/polyport/gopher.sock\"]
workers = 2
limits.connections = 1000
access.deny = [\"192.0.2.0/24\"]
settings.root = \"/srv/gopher\"";

pub(super) fn page() -> String {
    let mut roff = Roff::page("polyport.toml", 5, "configuration of polyport(8)");
    roff.heading("DESCRIPTION");
    roff.paragraphs(LAYERS);
    roff.heading("UNITS");
    roff.paragraphs(UNITS);
    for (heading, of_daemon) in [("KEYS OF THE DAEMON", true), ("KEYS OF A SERVICE", false)] {
        roff.heading(heading);
        if !of_daemon {
            roff.paragraphs("In each of them `*` stands for the name of a service.");
        }
        for key in KEYS {
            if key.path.starts_with("daemon.") != of_daemon {
                continue;
            }
            let default = match key.default {
                Preset::Is(written) => format!("default {written}"),
                Preset::Required => "required".to_owned(),
                Preset::Unset => "unset by default".to_owned(),
            };
            let facts = format!("{} Takes {}; {default}.", key.help, takes(key.kind));
            roff.term(key.path, &facts);
        }
    }
    roff.heading("EXAMPLE");
    roff.example(SERVICE);
    roff.see_also(
        &[("polyport", 8), ("polyport-plugins", 7)],
        "What happens when a limit is passed is in limits.md.",
    );
    roff.into_text()
}
