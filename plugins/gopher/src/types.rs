//! Item types: which letter a file gets in a menu, and which media type over HTTP and in Gopher+.
//!
//! By the extension of its name first, by its first bytes where that says nothing. Pure: whoever
//! calls has read the bytes. The portable letters are those that every client tried could follow;
//! the extended ones say more to a few.

use std::sync::LazyLock;

/// Bytes at the start of a file that are looked at.
pub const SNIFF_BYTES: usize = 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// The letter of the portable profile.
    pub portable: u8,
    /// The letter of the extended profile.
    pub extended: u8,
    /// The media type, without a character set.
    pub media: &'static str,
}

impl Type {
    const fn new(portable: u8, extended: u8, media: &'static str) -> Type {
        Type {
            portable,
            extended,
            media,
        }
    }

    /// Whether its lines are for people.
    pub fn is_text(&self) -> bool {
        matches!(self.portable, b'0' | b'h') || self.media.starts_with("text/")
    }
}

pub(crate) const TEXT: Type = Type::new(b'0', b'0', "text/plain");
const BINARY: Type = Type::new(b'9', b'9', "application/octet-stream");
const HTML: Type = Type::new(b'h', b'h', "text/html");

/// By the name's extension, in any case.
pub fn by_name(name: &[u8]) -> Option<Type> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let word = word(&name[dot + 1..])?;
    let at = BY_EXTENSION.binary_search_by_key(&word, |row| row.0).ok()?;
    Some(BY_EXTENSION[at].1)
}

/// No extension that is known is longer.
const EXTENSION_BYTES_MAX: usize = 8;

/// An extension in small letters, as one number: a listing asks for very many.
fn word(extension: &[u8]) -> Option<u64> {
    let push = |word: u64, byte: &u8| word << 8 | u64::from(byte.to_ascii_lowercase());
    (extension.len() <= EXTENSION_BYTES_MAX).then(|| extension.iter().fold(0, push))
}

static BY_EXTENSION: LazyLock<Vec<(u64, Type)>> = LazyLock::new(|| {
    let each = EXTENSIONS.iter().flat_map(|(all, kind)| {
        let words = all.split(' ').filter_map(|it| word(it.as_bytes()));
        words.map(|word| (word, *kind))
    });
    let mut rows: Vec<(u64, Type)> = each.collect();
    rows.sort_by_key(|row| row.0);
    rows
});

/// By the first bytes of the file.
pub fn by_content(start: &[u8]) -> Type {
    let start = &start[..start.len().min(SNIFF_BYTES)];
    let found = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
    if let Some((_, kind)) = found {
        return *kind;
    }
    if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        return Type::new(b'I', b'I', "image/webp");
    }
    if start.contains(&0) {
        return BINARY;
    }
    let blanks = start.iter().take_while(|byte| byte.is_ascii_whitespace());
    let words = start[blanks.count()..].to_ascii_lowercase();
    if words.starts_with(b"<!doctype html") || words.starts_with(b"<html") {
        return HTML;
    }
    TEXT
}

const MAGIC: &[(&[u8], Type)] = &[
    (b"GIF8", Type::new(b'g', b'g', "image/gif")),
    (b"\x89PNG\r\n\x1a\n", Type::new(b'I', b'I', "image/png")),
    (b"\xff\xd8\xff", Type::new(b'I', b'I', "image/jpeg")),
    (b"%PDF-", Type::new(b'9', b'P', "application/pdf")),
    (b"%!PS", Type::new(b'9', b'd', "application/postscript")),
    (b"\x1f\x8b", Type::new(b'9', b'9', "application/gzip")),
    (b"PK\x03\x04", Type::new(b'9', b'9', "application/zip")),
    (b"From ", Type::new(b'0', b'M', "text/plain")),
];

const EXTENSIONS: &[(&str, Type)] = &[
    ("txt text asc log diff patch nfo me readme", TEXT),
    ("md rst tex csv tsv json toml yaml yml ini conf cfg", TEXT),
    (
        "c h cc cpp hpp rs py rb pl pm sh go java js css lua tcl el lisp scm hs ml sql awk sed asm s",
        TEXT,
    ),
    ("gph", Type::new(b'1', b'1', "application/gopher-menu")),
    ("gmi gemini 1 2 3 4 5 6 7 8 mk cmake", TEXT),
    ("xml", Type::new(b'0', b'0', "text/xml")),
    ("ics", Type::new(b'0', b'c', "text/calendar")),
    ("eml mbox", Type::new(b'0', b'M', "text/plain")),
    ("html htm xhtml shtml", HTML),
    ("gif", Type::new(b'g', b'g', "image/gif")),
    ("png", Type::new(b'I', b'I', "image/png")),
    ("jpg jpeg jpe", Type::new(b'I', b'I', "image/jpeg")),
    ("webp", Type::new(b'I', b'I', "image/webp")),
    ("svg", Type::new(b'I', b'I', "image/svg+xml")),
    ("bmp", Type::new(b'I', b'I', "image/bmp")),
    ("tif tiff", Type::new(b'I', b'I', "image/tiff")),
    ("ico", Type::new(b'I', b'I', "image/x-icon")),
    (
        "xbm xpm pcx pbm pgm ppm",
        Type::new(b'I', b'I', "application/octet-stream"),
    ),
    ("mp3", Type::new(b's', b's', "audio/mpeg")),
    ("ogg oga opus", Type::new(b's', b's', "audio/ogg")),
    ("wav", Type::new(b's', b's', "audio/wav")),
    ("flac", Type::new(b's', b's', "audio/flac")),
    (
        "aif aiff au mid midi mod xm s3m m4a",
        Type::new(b's', b's', "application/octet-stream"),
    ),
    ("mp4 m4v", Type::new(b'9', b';', "video/mp4")),
    ("webm", Type::new(b'9', b';', "video/webm")),
    (
        "avi mkv mov mpg mpeg ogv",
        Type::new(b'9', b';', "application/octet-stream"),
    ),
    ("pdf", Type::new(b'9', b'P', "application/pdf")),
    ("epub", Type::new(b'9', b'd', "application/epub+zip")),
    ("ps eps", Type::new(b'9', b'd', "application/postscript")),
    (
        "doc docx odt rtf xls xlsx ods ppt pptx odp djvu",
        Type::new(b'9', b'd', "application/octet-stream"),
    ),
    ("hqx", Type::new(b'4', b'4', "application/octet-stream")),
    ("uu uue", Type::new(b'6', b'6', "text/plain")),
    ("zip", Type::new(b'9', b'9', "application/zip")),
    ("gz tgz", Type::new(b'9', b'9', "application/gzip")),
    (
        "arc arj lha lzh zoo",
        Type::new(b'5', b'5', "application/octet-stream"),
    ),
    (
        "bz2 xz zst 7z tar cpio rar iso img deb rpm jar exe com bin so o a dll class wasm",
        BINARY,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_type_or_nothing() {
        for (name, expected) in [
            ("a.txt", Some(('0', '0'))),
            ("A.TXT", Some(('0', '0'))),
            ("a.tar.gz", Some(('9', '9'))),
            ("a.pdf", Some(('9', 'P'))),
            ("a.epub", Some(('9', 'd'))),
            ("a.gph", Some(('1', '1'))),
            ("a.GIF", Some(('g', 'g'))),
            ("a.html", Some(('h', 'h'))),
            ("a.mp4", Some(('9', ';'))),
            ("a", None),
            ("a.", None),
            ("a.unheard", None),
        ] {
            let letters = by_name(name.as_bytes())
                .map(|it| (char::from(it.portable), char::from(it.extended)));
            assert_eq!(letters, expected, "{name}");
        }
    }

    #[test]
    fn the_first_bytes_say_the_type() {
        for (start, letter) in [
            (&b""[..], '0'),
            (b"hello\n", '0'),
            (b"\xff\xfe latin or so", '0'),
            (b"a\0b", '9'),
            (b"GIF89a", 'g'),
            (b"\x89PNG\r\n\x1a\n", 'I'),
            (b"\xff\xd8\xff\xe0", 'I'),
            (b"RIFF\0\0\0\0WEBPVP8 ", 'I'),
            (b"%PDF-1.4", '9'),
            (b"\n <!DOCTYPE HTML>", 'h'),
            (b"PK\x03\x04", '9'),
        ] {
            let found = char::from(by_content(start).portable);
            assert_eq!(found, letter, "{}", start.escape_ascii());
        }
    }

    #[test]
    fn the_portable_profile_keeps_to_its_letters() {
        for (all, kind) in EXTENSIONS {
            assert!(b"0145679gIhs".contains(&kind.portable), "{kind:?}");
            for extension in all.split(' ') {
                let found = by_name(format!("name.{extension}").as_bytes());
                assert_eq!(found, Some(*kind), "{extension}");
            }
        }
        assert!(by_content(&vec![b'a'; 4000]).is_text());
    }
}
