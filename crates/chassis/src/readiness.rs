//! Asks a process that runs whether it takes work: what the health check of a container calls, where there is no shell and no curl.
//!
//! HTTP by hand, since one question needs no runtime and no client: this has to answer on a machine that is busy.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for each of connection, question and answer.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Most of an answer that is read, in bytes: it names each part of a process with what it waits for.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Why a process is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody answers there.
    #[error("asking http://{address}/readyz: {source}")]
    Silent {
        /// Where the question went.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The process says that it is not, or what answers is none of ours.
    #[error("not ready at http://{address}/readyz: {answer}")]
    Refused {
        /// Where the question went.
        address: SocketAddr,
        /// The body of the answer, or its first line where there is none.
        answer: String,
    },
}

/// Asks the process that listens on `listen` for its readiness. Blocks for at most some seconds.
pub fn ask(listen: SocketAddr) -> Result<(), NotReady> {
    let address = reachable(listen);
    let answer = exchange(address).map_err(|source| NotReady::Silent { address, source })?;
    if is_yes(&answer) {
        return Ok(());
    }
    Err(NotReady::Refused { address, answer: gist(&answer).to_owned() })
}

/// Where a listener is reached from its own machine: who listens on every address is reached on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn exchange(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let question = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_yes(answer: &str) -> bool {
    let mut words = answer.split_ascii_whitespace();
    words.next().is_some_and(|word| word.starts_with("HTTP/1.")) && words.next() == Some("200")
}

/// What a person wants to read of an answer.
fn gist(answer: &str) -> &str {
    let body = answer.split_once("\r\n\r\n").map(|(_head, body)| body.trim());
    let first_line = answer.lines().next().unwrap_or_default();
    body.filter(|body| !body.is_empty()).unwrap_or(first_line)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Answers one connection with `answer`, and says where.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 1_024];
            let length = stream.read(&mut question).unwrap();
            assert!(question[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn a_ready_process_is_ready() {
        assert!(ask(answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")).is_ok());
    }

    #[test]
    fn who_is_not_ready_says_why() {
        let check = |answer, expected: &str| {
            let error = ask(answering(answer)).unwrap_err();
            assert!(matches!(error, NotReady::Refused { .. }), "{error}");
            assert!(error.to_string().ends_with(expected), "{error}");
        };
        check("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ok\":false}", "/readyz: {\"ok\":false}");
        check(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "/readyz: HTTP/1.1 404 Not Found",
        );
        check("SSH-2.0-200 200\r\n", "/readyz: SSH-2.0-200 200");
        check("", "/readyz: ");
    }

    #[test]
    fn where_nobody_listens_is_told() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let error = ask(free).unwrap_err();
        assert!(matches!(error, NotReady::Silent { .. }), "{error}");
        assert!(error.to_string().contains(&free.to_string()), "{error}");
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_the_loopback() {
        let check = |listen: &str, expected: &str| {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        };
        check("0.0.0.0:8080", "127.0.0.1:8080");
        check("[::]:8080", "[::1]:8080");
        check("10.0.0.7:9100", "10.0.0.7:9100");
    }
}
