//! `cql://HOST:PORT[,HOST:PORT...]/KEYSPACE`: which nodes are asked first, and where the tables are.

/// The port of a node for which none is given.
const PORT: u16 = 9042;
/// Longest name of a keyspace.
const KEYSPACE_BYTES_MAX: usize = 48;

/// Nodes and keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host:port` of each node; one at least.
    pub(crate) nodes: Vec<String>,
    /// A name that needs no quotes.
    pub(crate) keyspace: String,
}

impl Address {
    /// Reads what follows `cql:` in a URL, or says what is wrong with it.
    pub(crate) fn parse(rest: &str) -> Result<Self, &'static str> {
        let rest = rest.strip_prefix("//").ok_or("`//` is missing")?;
        if rest.contains('@') {
            return Err("user and password are the settings `store.username` and `store.password`");
        }
        let (nodes, keyspace) = rest.split_once('/').ok_or("the keyspace is missing")?;
        let nodes = nodes.split(',').map(node).collect::<Option<Vec<_>>>();
        let nodes = nodes.ok_or("a node is not `HOST:PORT`")?;
        let is_letter =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_name = keyspace.len() <= KEYSPACE_BYTES_MAX
            && keyspace.bytes().all(is_letter)
            && keyspace.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !is_name {
            return Err("a keyspace has 1 to 48 of a-z, 0-9 and _, and begins with a letter");
        }
        Ok(Self { nodes, keyspace: keyspace.to_owned() })
    }
}

/// `host:port`, also of `[::1]:9042`, with the usual port where there is none.
fn node(text: &str) -> Option<String> {
    let host_end = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match text.get(host_end..)?.rfind(':') {
        Some(colon) => {
            let (host, port) = text.split_at(host_end + colon);
            (host, port.strip_prefix(':')?.parse().ok()?)
        }
        None => (text, PORT),
    };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    is_host.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_keyspace_are_found() {
        let check = |rest: &str, nodes: &[&str]| {
            let address = Address::parse(rest).unwrap();
            assert_eq!(address.nodes, nodes, "{rest}");
            assert_eq!(address.keyspace, "verdict_1", "{rest}");
        };
        check("//a:1/verdict_1", &["a:1"]);
        check("//a:1,b.example:2/verdict_1", &["a:1", "b.example:2"]);
        check("//127.0.0.1/verdict_1", &["127.0.0.1:9042"]);
        check("//[::1]:1,[::2]/verdict_1", &["[::1]:1", "[::2]:9042"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |rest: &str, expected: &str| {
            let error = Address::parse(rest).unwrap_err();
            assert!(error.contains(expected), "{rest}: {error}");
        };
        check("a:1/v", "`//`");
        check("//a:1", "the keyspace is missing");
        check("//a:1/", "a keyspace has");
        check("//a:1/V", "a keyspace has");
        check("//a:1/v; DROP", "a keyspace has");
        check(&format!("//a:1/{}", "v".repeat(49)), "a keyspace has");
        check("//a:port/v", "HOST:PORT");
        check("//a:1,/v", "HOST:PORT");
        check("//:1/v", "HOST:PORT");
        check("//user:secret@a:1/v", "store.password");
    }
}
