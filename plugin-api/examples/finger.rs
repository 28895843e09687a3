//! Finger (RFC 1288) in the event style: one line asks, one answer comes, and the session ends.
//! Build: `cargo build --example finger`.

use polyport_plugin::prelude::*;

const QUERY_BYTES_MAX: usize = 512;

struct Finger {
    people: Vec<(String, String)>,
}

impl Configure for Finger {
    fn new(settings: &Settings, _: &mut Context) -> Result<Self, String> {
        let people = settings.list("people").iter();
        let people = people.map(|entry| match entry.split_once(": ") {
            Some((name, text)) => Ok((name.to_owned(), text.to_owned())),
            None => Err(format!(
                "people: expected \"name: text\", found \"{entry}\""
            )),
        });
        Ok(Finger {
            people: people.collect::<Result<_, String>>()?,
        })
    }
}

impl Protocol for Finger {
    type Session = ();

    const PEER_FIRST: bool = true;
    const OPTIONS: &'static [Opt] =
        &[Opt::list(c"people", c"Who is known, each as \"name: text\".").default(c"")];

    fn feed(
        &mut self,
        cx: &mut Context,
        from: SessionId,
        _: &mut (),
        input: &[u8],
    ) -> Result<usize> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            if input.len() > QUERY_BYTES_MAX {
                cx.close(from, "the query is too long")?;
            }
            return Ok(0); // The rest of the line comes later, behind what is here.
        };
        cx.write(from, self.answer(&input[..end]).as_bytes())?;
        cx.close(from, "answered")?;
        Ok(input.len())
    }
}

impl Finger {
    fn answer(&self, query: &[u8]) -> String {
        let query = String::from_utf8_lossy(query);
        let query = query.trim();
        let query = query.strip_prefix("/W").unwrap_or(query).trim();
        if query.contains('@') {
            return "Finger forwarding service denied.\r\n".to_owned();
        }
        let known = self.people.iter();
        match known.clone().find(|(name, _)| name == query) {
            Some((name, text)) => format!("{name}: {text}\r\n"),
            None if query.is_empty() => known.map(|(name, _)| format!("{name}\r\n")).collect(),
            None => "Nobody of that name is here.\r\n".to_owned(),
        }
    }
}

export_plugin!(Finger, name = "finger");
