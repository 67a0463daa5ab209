//! Bytes and text from outside made fit for a terminal: no control character of theirs reaches it.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Bytes in one line of a hex dump.
const DUMP_BYTES: usize = 16;

/// `text` on one line, at most `characters_max` characters of it.
pub(super) fn line(text: &str, characters_max: usize) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == characters_max {
            shown.push('…');
            break;
        }
        push(&mut shown, character);
    }
    shown
}

/// `text` with its lines kept.
pub(super) fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            character => push(&mut shown, character),
        }
    }
    shown
}

/// A key or a header's value: text where it is text, else hex.
pub(super) fn bytes(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (bytes, str::from_utf8(bytes))) {
        None => "(null)".to_owned(),
        Some((_, Ok(text))) => line(text, usize::MAX),
        Some((bytes, Err(_not_text))) => bytes.iter().fold("0x".to_owned(), |mut hex, byte| {
            push_hex(&mut hex, *byte);
            hex
        }),
    }
}

/// Offset, hex and text, sixteen bytes a line.
pub(super) fn dump(bytes: &[u8]) -> String {
    let rows = bytes.chunks(DUMP_BYTES).enumerate();
    rows.map(|(index, row)| dump_row(index * DUMP_BYTES, row)).collect()
}

fn dump_row(offset: usize, row: &[u8]) -> String {
    let mut hex = String::new();
    for byte in row {
        push_hex(&mut hex, *byte);
        hex.push(' ');
    }
    let is_shown = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let text: String =
        row.iter().map(|&byte| if is_shown(byte) { char::from(byte) } else { '.' }).collect();
    format!("{offset:08x}  {hex:<48} {text}\n")
}

/// To the second: nobody reads nanoseconds.
pub(super) fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn push(shown: &mut String, character: char) {
    // Besides control characters: what turns the direction of the rest of the line.
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || turns {
        shown.extend(character.escape_unicode());
    } else {
        shown.push(character);
    }
}

fn push_hex(shown: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    write!(shown, "{byte:02x}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(line("a\u{1b}[31m\nb", 100), "a\\u{1b}[31m\\u{a}b");
        assert_eq!(lines("a\n\u{1b}b\u{202e}"), "a\n\\u{1b}b\\u{202e}");
        assert_eq!(line("größer", 4), "größ…");
        assert_eq!(line("größ", 4), "größ");
    }

    #[test]
    fn bytes_are_text_where_they_are_text() {
        assert_eq!(bytes(None), "(null)");
        assert_eq!(bytes(Some(b"a\x00")), "a\\u{0}");
        assert_eq!(bytes(Some(&[0xff, 0x0a])), "0xff0a");
        let dumped = dump(b"0123456789abcdef\xff!");
        let lines: Vec<&str> = dumped.lines().collect();
        assert!(
            lines[0].starts_with("00000000  30 31 ") && lines[0].ends_with(" 0123456789abcdef")
        );
        assert!(lines[1].starts_with("00000010  ff 21 ") && lines[1].ends_with(" .!"));
    }
}
