//! Bytes as text that may stand anywhere: lower-case hex digits.

/// Text that is not hex.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not hex")]
pub(crate) struct InvalidHex(String);

/// Lower-case hex digits of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
}

/// The bytes behind hex digits.
pub(crate) fn decode(hex: &str) -> Result<Vec<u8>, InvalidHex> {
    let invalid = || InvalidHex(hex.to_owned());
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    hex.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or_else(invalid)
}
