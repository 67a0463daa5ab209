//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-07).

/// Longest key, in bytes. A UUID has 36.
const KEY_BYTES_MAX: usize = 255;

/// A key that a client sends again when it does not know whether the first request arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

/// Why a header is not an [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKey {
    /// Several headers: which one counts is anybody's guess.
    #[error("the request has more than one Idempotency-Key header")]
    Repeated,
    /// Nothing in it.
    #[error("the Idempotency-Key is empty")]
    Empty,
    /// More bytes than [`KEY_BYTES_MAX`].
    #[error("the Idempotency-Key has {bytes} bytes, at most {KEY_BYTES_MAX} are accepted")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// Neither a string of structured fields nor a bare token.
    #[error(
        "the Idempotency-Key is malformed: send a quoted string of printable ASCII, such as \
         \"8e03978e-40d5-43dd-bc93-6894a57f9324\""
    )]
    Malformed,
}

impl IdempotencyKey {
    /// Reads the values of all `Idempotency-Key` headers of a request; `None` where there is none.
    ///
    /// The draft asks for a string of structured fields (RFC 8941, 3.3.3): printable ASCII in double quotes, where `\"` and
    /// `\\` are the only escapes. Most clients in the field send the bare value instead; it is taken where it can have only
    /// one meaning, that is, without quotes, backslashes and spaces.
    pub(crate) fn parse<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, InvalidKey> {
        let mut values = values.into_iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(InvalidKey::Repeated);
        }
        let value = std::str::from_utf8(value).map_err(|_not_ascii| InvalidKey::Malformed)?.trim();
        let key = match value.strip_prefix('"') {
            Some(rest) => unquote(rest)?,
            None if value
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)) =>
            {
                value.to_owned()
            }
            None => return Err(InvalidKey::Malformed),
        };
        match key.len() {
            0 => Err(InvalidKey::Empty),
            bytes if KEY_BYTES_MAX < bytes => Err(InvalidKey::TooLong { bytes }),
            _ => Ok(Some(Self(key))),
        }
    }

    /// A key that no client can send, made of one that a client sent.
    pub(crate) fn derived(key: String) -> Self {
        Self(key)
    }

    /// The key, without quotes.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rest of a quoted string, up to its closing quote, which must be the end.
fn unquote(rest: &str) -> Result<String, InvalidKey> {
    let mut key = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(key),
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(InvalidKey::Malformed),
            },
            Some(character @ ' '..='~') if character != '"' => key.push(character),
            _ => return Err(InvalidKey::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Result<&str, InvalidKey>) {
        let key = IdempotencyKey::parse([value.as_bytes()]);
        assert_eq!(key, expected.map(|key| Some(IdempotencyKey(key.to_owned()))), "{value}");
    }

    #[test]
    fn a_quoted_string_or_a_bare_token_is_a_key() {
        check(r#""8e03978e-40d5""#, Ok("8e03978e-40d5"));
        check("8e03978e-40d5", Ok("8e03978e-40d5"));
        check(r#""a \"b\" \\ c""#, Ok(r#"a "b" \ c"#));
    }

    #[test]
    fn anything_else_is_refused() {
        check("", Err(InvalidKey::Empty));
        check("\"\"", Err(InvalidKey::Empty));
        check("\"open", Err(InvalidKey::Malformed));
        check("\"a\"b\"", Err(InvalidKey::Malformed));
        check("\"a\"; q=1", Err(InvalidKey::Malformed));
        check(r#""a\n""#, Err(InvalidKey::Malformed));
        check("two words", Err(InvalidKey::Malformed));
        check("clé", Err(InvalidKey::Malformed));
        check(&"k".repeat(256), Err(InvalidKey::TooLong { bytes: 256 }));
        assert_eq!(IdempotencyKey::parse([b"a".as_slice(), b"b"]), Err(InvalidKey::Repeated));
        assert_eq!(IdempotencyKey::parse([]), Ok(None));
    }
}
