//! Measures a request against the form it must have, before it is decoded.
//!
//! The decoder reserves memory for as many elements as an array claims to have, so that sixteen hostile or mangled bytes
//! could ask for gigabytes and end the process. Here a claim is believed only as far as there are bytes for it.

/// One field of a request.
#[derive(Debug)]
pub(crate) enum Field {
    /// So many bytes.
    Fixed(usize),
    /// A string, or none.
    Text,
    /// Bytes with a length, or none.
    Blob,
    /// An array of elements of so many bytes.
    Numbers(usize),
    /// An array of strings.
    Texts,
    /// An array of structures.
    Each(&'static [Field]),
    /// A field that exists from this version on.
    From(i16, &'static Field),
    /// A field that exists up to this version.
    Until(i16, &'static Field),
}

/// How a version writes lengths (KIP-482).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) version: i16,
    /// Compact lengths, and tagged fields at the end of every structure.
    pub(crate) flexible: bool,
}

/// What follows a structure of these fields, if the bytes have that form.
pub(crate) fn skip<'b>(fields: &[Field], mut bytes: &'b [u8], style: Style) -> Option<&'b [u8]> {
    for field in fields {
        bytes = skip_field(field, bytes, style)?;
    }
    if style.flexible { skip_tags(bytes) } else { Some(bytes) }
}

fn skip_field<'b>(field: &Field, bytes: &'b [u8], style: Style) -> Option<&'b [u8]> {
    match field {
        Field::Fixed(count) => bytes.get(*count..),
        Field::Text => {
            let (length, rest) = text_length(bytes, style)?;
            rest.get(length..)
        }
        Field::Blob => {
            let (length, rest) = array_length(bytes, style)?;
            rest.get(length..)
        }
        Field::Numbers(size) => {
            let (count, rest) = array_length(bytes, style)?;
            rest.get(count.checked_mul(*size)?..)
        }
        Field::Texts => {
            let (count, mut rest) = array_length(bytes, style)?;
            for _ in 0..count {
                let (length, after) = text_length(rest, style)?;
                rest = after.get(length..)?;
            }
            Some(rest)
        }
        Field::Each(fields) => {
            let (count, mut rest) = array_length(bytes, style)?;
            for _ in 0..count {
                rest = skip(fields, rest, style)?;
            }
            Some(rest)
        }
        Field::From(first, field) if *first <= style.version => skip_field(field, bytes, style),
        Field::Until(last, field) if style.version <= *last => skip_field(field, bytes, style),
        Field::From(..) | Field::Until(..) => Some(bytes),
    }
}

/// None at all counts as empty: whether it may be missing is for the decoder to say.
fn text_length(bytes: &[u8], style: Style) -> Option<(usize, &[u8])> {
    if style.flexible {
        return compact_length(bytes);
    }
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(i16::from_be_bytes(*length)).unwrap_or(0), rest))
}

fn array_length(bytes: &[u8], style: Style) -> Option<(usize, &[u8])> {
    if style.flexible {
        return compact_length(bytes);
    }
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0), rest))
}

fn compact_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = unsigned(bytes)?;
    Some((length.saturating_sub(1), rest))
}

fn skip_tags(bytes: &[u8]) -> Option<&[u8]> {
    let (count, mut rest) = unsigned(bytes)?;
    for _ in 0..count {
        let (_tag, after) = unsigned(rest)?;
        let (length, after) = unsigned(after)?;
        rest = after.get(length..)?;
    }
    Some(rest)
}

/// A number of seven bits a byte, at most 32 bits.
fn unsigned(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field::Text,
        Field::Each(&[Field::Fixed(4), Field::Numbers(8)]),
        Field::From(2, &Field::Blob),
    ];

    #[test]
    fn a_claim_is_believed_only_as_far_as_there_are_bytes() {
        let check = |version, flexible, bytes: &[u8], left: Option<usize>| {
            let rest = skip(FIELDS, bytes, Style { version, flexible });
            assert_eq!(rest.map(<[u8]>::len), left, "{bytes:?}");
        };
        check(1, false, &[0, 1, b'a', 0, 0, 0, 0], Some(0));
        check(1, false, &[255, 255, 255, 255, 255, 255, 9], Some(1));
        check(2, false, &[0, 0, 0, 0, 0, 0], None);
        check(2, false, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7], Some(0));
        check(1, false, &[0, 0, 0x7f, 255, 255, 255, 1, 2, 3, 4], None);
        check(1, true, &[2, b'a', 1, 0], Some(0));
        check(1, true, &[0, 255, 255, 255, 255, 15], None);
        check(1, true, &[0, 0, 1, 5, 2, 8, 8], Some(0));
        check(1, true, &[0, 0, 1, 5, 3, 8, 8], None);
    }
}
