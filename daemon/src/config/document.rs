//! TOML text to a document with positions, going on after syntax errors.
//!
//! The parser stops caring at the first error, an administrator does not: the line in error is
//! blanked and the rest parsed again, so that everything else in the file is still checked. A second
//! error in the same section is taken for an echo of the first; then the whole section is blanked
//! and only other sections are judged further. Blanking keeps every byte's position.
//!
//! Invariant: however the text looks, a document comes back, and if anything was blanked at least
//! one fault says so.

use std::ops::Range;

use toml_edit::{Document, Item, Table, TableLike};

use super::complaint::{Fault, shown};

/// Syntax errors shown for one file.
const FAULTS_MAX: usize = 20;
/// Parts of one dotted key. Nesting is recursion, in the parser as well, so it has a limit.
const KEY_PARTS_MAX: usize = 16;

pub(super) struct Parsed {
    pub document: Document<String>,
    pub faults: Vec<(u32, Fault)>,
}

pub(super) fn parse(text: &str) -> Parsed {
    let mut text = text.to_owned();
    let lines = Lines::of(&text);
    let mut faults = Vec::new();
    if let Some(at) = overlong_key(&text) {
        let problem = format!("a dotted key of more than {KEY_PARTS_MAX} parts");
        return Parsed {
            document: empty(),
            faults: vec![(lines.line(at), Fault::new(problem))],
        };
    }
    let mut previous: Option<Range<usize>> = None;
    // Each round blanks a line or a section that was not blank, so rounds are bounded anyway; this
    // bound keeps a large file of junk from taking long.
    for _ in 0..2 * FAULTS_MAX {
        let error = match Document::parse(text.clone()) {
            Ok(document) => return Parsed { document, faults },
            Err(error) => error,
        };
        let at = error.span().map_or(text.len(), |span| span.start);
        let at = at.min(text.len().saturating_sub(1));
        let section = section_around(&text, at);
        let echo = previous.as_ref().is_some_and(|p| p.contains(&at));
        let line = line_around(&text, at);
        if !echo {
            let fault = describe(error.message(), &text, line.clone());
            faults.push((lines.line(at), fault));
        }
        // Without its header a section's keys would be judged as another's.
        let header = text[line.clone()].trim_start().starts_with('[');
        let blanked = if echo || header {
            section.clone()
        } else {
            line
        };
        if text[blanked.clone()].trim().is_empty() || faults.len() == FAULTS_MAX {
            break;
        }
        blank(&mut text, blanked);
        previous = Some(section);
    }
    Parsed {
        document: empty(),
        faults,
    }
}

fn empty() -> Document<String> {
    Document::parse(String::new()).expect("nothing is valid TOML")
}

/// Line numbers of byte positions.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    pub(super) fn line(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|newline| *newline < at) + 1)
            .expect("a file is far smaller than 4 GiB")
    }
}

fn line_around(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let start = bytes[..at]
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |i| i + 1);
    let end = bytes[start..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(text.len(), |i| start + i);
    start..end
}

/// From the header at or above `at` to the next one.
fn section_around(text: &str, at: usize) -> Range<usize> {
    let mut range = 0..text.len();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            if start > at {
                range.end = start;
                break;
            }
            range.start = start;
        }
        start += line.len();
    }
    range
}

fn blank(text: &mut String, range: Range<usize>) {
    let blanks = text[range.clone()]
        .bytes()
        .map(|b| if b == b'\n' { '\n' } else { ' ' })
        .collect::<String>();
    text.replace_range(range, &blanks);
}

fn describe(message: &str, text: &str, line: Range<usize>) -> Fault {
    if message != "duplicate key" {
        return Fault::new(format!("not valid TOML: {message}"));
    }
    let line_text = &text[line.clone()];
    let key = line_text.split('=').next().unwrap_or(line_text).trim();
    let fault = Fault::new(format!("{} is written twice", shown(key)));
    match first_written(&text[..line.start], line_text) {
        Some(first) => fault.hint(format!("the first is in line {first}, keep one of them")),
        None => fault.hint("keep one of them"),
    }
}

/// The line in which the key or header of `second` was first written, looked up in all that stands
/// `before` it.
fn first_written(before: &str, second: &str) -> Option<u32> {
    let before = Document::parse(before).ok()?;
    let second = Document::parse(second).ok()?;
    let mut path = Vec::new();
    if !second.raw().trim_start().starts_with('[') {
        let mut open = (0, Vec::new());
        last_header(before.as_table(), &mut Vec::new(), &mut open);
        path = open.1;
    }
    let mut table: &dyn TableLike = second.as_table();
    while let Some((name, item)) = table.iter().next() {
        path.push(name.to_owned());
        match item.as_table_like() {
            Some(deeper) => table = deeper,
            None => break,
        }
    }
    let (last, parents) = path.split_last()?;
    let mut table: &dyn TableLike = before.as_table();
    for name in parents {
        table = table.get(name)?.as_table_like()?;
    }
    let (key, item) = (table.key(last)?, table.get(last)?);
    let span = header_span(item).or_else(|| key.span())?;
    Some(Lines::of(before.raw()).line(span.start))
}

/// The section that is open at the end of a document: the header that stands last in it.
fn last_header(table: &Table, path: &mut Vec<String>, open: &mut (usize, Vec<String>)) {
    for (name, item) in table.iter() {
        path.push(name.to_owned());
        if let Some(span) = header_span(item)
            && span.start >= open.0
        {
            *open = (span.start, path.clone());
        }
        if let Item::Table(deeper) = item {
            last_header(deeper, path, open);
        }
        path.pop();
    }
}

/// Where a table's own header stands, if it has one.
pub(super) fn header_span(item: &Item) -> Option<Range<usize>> {
    match item {
        Item::Table(table) if !table.is_dotted() => table.span(),
        Item::ArrayOfTables(array) => array.get(0).and_then(Table::span),
        _ => None,
    }
}

/// The position of a dotted key with too many parts. Follows strings and comments just enough to
/// tell keys from text.
pub(super) fn overlong_key(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut parts = 1;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at = line_around(text, at).end,
            b'"' | b'\'' => at = string_end(bytes, at),
            b'.' => {
                parts += 1;
                if parts > KEY_PARTS_MAX {
                    return Some(at);
                }
                at += 1;
            }
            b' ' | b'\t' | b'-' | b'_' => at += 1,
            b if b.is_ascii_alphanumeric() => at += 1,
            _ => {
                parts = 1;
                at += 1;
            }
        }
    }
    None
}

/// The position after the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let fence = [quote; 3];
    let long = bytes[at..].starts_with(&fence);
    let mut at = at + if long { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 2,
            b'\n' if !long => return at,
            b if b == quote && !long => return at + 1,
            _ if long && bytes[at..].starts_with(&fence) => return at + 3,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        parse(text)
            .faults
            .into_iter()
            .map(|(line, fault)| format!("{line}: {}", fault.problem))
            .collect()
    }

    #[test]
    fn what_follows_a_broken_line_is_still_parsed() {
        let parsed = parse("[a]\nx = \"open\ny = 2\n[b]\nz = 3\n");
        assert_eq!(parsed.faults.len(), 1);
        assert_eq!(parsed.faults[0].0, 2);
        assert_eq!(parsed.document["a"]["y"].as_integer(), Some(2));
        assert_eq!(parsed.document["b"]["z"].as_integer(), Some(3));
    }

    #[test]
    fn each_broken_section_is_reported_once() {
        let text = "[a]\nx = [1,\ny = 2\nz = 3\n[b]\nw = = 1\n[c]\nok = 1\n";
        let found = faults(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("6: "), "{found:?}");
        assert_eq!(parse(text).document["c"]["ok"].as_integer(), Some(1));
    }

    #[test]
    fn a_duplicate_names_the_first_line() {
        let cases = [
            ("[a]\nx = 1\n\nx = 2\n", 4, "line 2"),
            ("[a.b]\nx = 1\n[c]\n[a.b]\ny = 2\n", 4, "line 1"),
            ("a.x = 1\nb = 2\na.x = 3\n", 3, "line 1"),
            ("[s]\na = { x = 1, x = 2 }\n", 2, "keep one"),
        ];
        for (text, line, hint) in cases {
            let parsed = parse(text);
            assert_eq!(parsed.faults.len(), 1, "{text}");
            assert_eq!(parsed.faults[0].0, line, "{text}");
            let said = parsed.faults[0].1.hint.clone().unwrap_or_default();
            assert!(said.contains(hint), "{text}: {said}");
        }
    }

    #[test]
    fn nesting_that_would_exhaust_the_stack_is_refused() {
        let deep = [
            format!("{}a = 1", "a.".repeat(500_000)),
            format!("{}a = 1", "a . ".repeat(20)),
            format!("[{}a]", "\"a\".".repeat(20)),
            format!("x = {{{}a = 1}}", "'a'.".repeat(20)),
            format!("a = {}", "[".repeat(500_000)),
            format!("a = {}", "{a=".repeat(300_000)),
        ];
        for text in deep {
            assert_eq!(parse(&text).faults.len(), 1, "{}", &text[..20]);
        }
        let fine = [
            format!("x = \"{}\"", "a.".repeat(1000)),
            format!("x = '''\n{}\n'''", "a.".repeat(1000)),
            format!("# {}", "a.".repeat(1000)),
            format!("x = [{}]", "1.0, ".repeat(1000)),
        ];
        for text in fine {
            assert!(faults(&text).is_empty(), "{}", &text[..20]);
        }
    }
}
