//! Lines: where they end, and what `who` says of one. Pure functions over bytes.

/// How long the first line is, its end included.
pub(crate) fn first(input: &[u8]) -> Option<usize> {
    Some(1 + input.iter().position(|byte| *byte == b'\n')?)
}

/// How long all complete lines together are. `None`: one of them, or the incomplete one behind them,
/// is longer than `line_max`; then it says where it begins.
pub(crate) fn complete(input: &[u8], line_max: usize) -> Result<usize, usize> {
    let mut end = 0;
    loop {
        let rest = &input[end..];
        let line = first(rest);
        if without_end(&rest[..line.unwrap_or(rest.len())]).len() > line_max {
            return Err(end);
        }
        match line {
            Some(length) => end += length,
            None => return Ok(end),
        }
    }
}

pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What `who` says of a line, which it repeats byte for byte.
pub(crate) fn answer(line: &[u8]) -> Vec<u8> {
    let line = without_end(line);
    let count = String::from_utf8_lossy(line).chars().count();
    let noun = if count == 1 {
        "character"
    } else {
        "characters"
    };
    let mut answer = format!("You entered {count} {noun}: ").into_bytes();
    answer.extend_from_slice(line);
    answer.extend_from_slice(b"\r\n");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_lf_and_may_not_be_longer_than_allowed() {
        for (input, expected) in [
            ("", Ok(0)),
            ("abc", Ok(0)),
            ("abc\n", Ok(4)),
            ("abc\r\n\nd", Ok(6)),
            ("abcd", Err(0)),
            ("a\nabcd\n", Err(2)),
            ("a\nabc\r", Ok(2)),
            ("\n\n\n", Ok(3)),
        ] {
            assert_eq!(complete(input.as_bytes(), 3), expected, "{input:?}");
        }
    }

    #[test]
    fn characters_are_counted_and_bytes_repeated() {
        for (line, expected) in [
            (
                &b"hello\r\n"[..],
                &b"You entered 5 characters: hello\r\n"[..],
            ),
            (b"\n", b"You entered 0 characters: \r\n"),
            (
                "\u{fc}".as_bytes(),
                b"You entered 1 character: \xc3\xbc\r\n",
            ),
            (b"\xff\xfe", b"You entered 2 characters: \xff\xfe\r\n"),
        ] {
            assert_eq!(answer(line), expected);
        }
    }
}
