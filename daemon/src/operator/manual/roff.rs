//! Text for man(1), in the macros of man(7).
//!
//! What stands in backticks becomes bold, everything else is taken as it is: no text, wherever it
//! comes from, is read as a request.

use std::fmt::Write;

pub(super) struct Roff {
    text: String,
}

impl Roff {
    /// A page and its first line: the name, and what it is.
    pub(super) fn page(name: &str, section: u8, about: &str) -> Roff {
        let version = env!("CARGO_PKG_VERSION");
        let title = name.to_uppercase();
        let mut roff = Roff {
            text: format!(".TH \"{title}\" {section} \"\" \"Polyport {version}\" \"Polyport\"\n"),
        };
        roff.heading("NAME");
        let _ = writeln!(roff.text, "{} \\- {}", escaped(name), escaped(about));
        roff
    }

    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, ".SH \"{}\"", escaped(text));
    }

    pub(super) fn subheading(&mut self, text: &str) {
        let _ = writeln!(self.text, ".SS \"{}\"", escaped(text));
    }

    /// Blank lines in it begin new paragraphs.
    pub(super) fn paragraphs(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|text| !text.trim().is_empty()) {
            // A heading has begun one already.
            if !self.is_below_heading() {
                self.text.push_str(".PP\n");
            }
            self.lines(paragraph);
        }
    }

    fn is_below_heading(&self) -> bool {
        let last = self.text.lines().next_back().unwrap_or_default();
        last.starts_with(".SH ") || last.starts_with(".SS ")
    }

    /// A term, and below it what it means.
    pub(super) fn term(&mut self, term: &str, text: &str) {
        let _ = writeln!(self.text, ".TP\n\\fB{}\\fR", escaped(term));
        let mut paragraphs = text.split("\n\n").filter(|text| !text.trim().is_empty());
        // A term needs something below it.
        self.lines(paragraphs.next().unwrap_or("\u{a0}"));
        for paragraph in paragraphs {
            self.text.push_str(".IP\n");
            self.lines(paragraph);
        }
    }

    /// As it stands, every line on its own.
    pub(super) fn example(&mut self, lines: &str) {
        self.text.push_str(".PP\n.RS 4\n.nf\n");
        for line in lines.lines() {
            let _ = writeln!(self.text, "{}", guarded(&escaped(line)));
        }
        self.text.push_str(".fi\n.RE\n");
    }

    /// Other pages, each as (name, section).
    pub(super) fn see_also(&mut self, pages: &[(&str, u8)], documents: &str) {
        self.heading("SEE ALSO");
        let named = pages.iter();
        let named: Vec<String> = named
            .map(|(name, section)| format!("\\fB{}\\fR({section})", escaped(name)))
            .collect();
        let _ = writeln!(self.text, "{}", named.join(",\n"));
        self.paragraphs(documents);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn lines(&mut self, text: &str) {
        let words = text.split_whitespace();
        let mut line = String::new();
        for word in words {
            if line.len() + word.len() > 90 {
                self.line(&std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            // A line that ends a sentence ends there: the space after it is the formatter's.
            if word.ends_with(['.', ':']) {
                self.line(&std::mem::take(&mut line));
            }
        }
        self.line(&line);
    }

    fn line(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.text, "{}", guarded(&bold(text)));
        }
    }
}

/// A line that begins like a request begins with nothing else before that.
fn guarded(line: &str) -> String {
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    }
}

fn bold(text: &str) -> String {
    let mut parts = escaped(text);
    while let Some(at) = parts.find('`') {
        let Some(length) = parts[at + 1..].find('`') else {
            // It ends on a later line; there the mark is dropped too.
            return parts.replacen('`', "\\(oq", 1);
        };
        let inner = parts[at + 1..at + 1 + length].to_owned();
        parts.replace_range(at..at + length + 2, &format!("\\fB{inner}\\fR"));
    }
    parts
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '"' => escaped.push_str("\\(dq"),
            '\'' => escaped.push_str("\\(aq"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '…' => escaped.push_str("..."),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_read_as_a_request() {
        let mut roff = Roff::page("x", 8, "a-b");
        roff.paragraphs(".sh rm -rf\n\n'so \\fB `x --y` and more");
        roff.term(".tag", "");
        roff.example(".nf\n  'a\\b");
        let expected = [
            r"x \- a\-b",
            r".PP",
            r"\&.sh rm \-rf",
            r".PP",
            r"\(aqso \efB \fBx \-\-y\fR and more",
            r".TP",
            r"\fB.tag\fR",
        ];
        let text = roff.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2..9], expected);
        assert!(text.ends_with("\\&.nf\n  \\(aqa\\eb\n.fi\n.RE\n"), "{text}");
    }
}
