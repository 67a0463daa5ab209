//! Where alerts arrive: a mail server and a webhook like Slack's, small enough to be read.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::form::{now, until};

/// `AUTH PLAIN` with the user of the configuration and [`PASSWORD`].
const CREDENTIALS: &str = "AUTH PLAIN AHZlcmRpY3QtYWxlcnRzQGV4YW1wbGUub3JnAG91dC1vZi1hLWZpbGU=";

/// What stands in the file of the mail server's password.
pub(crate) const PASSWORD: &str = "out-of-a-file";

/// By which way a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Mail,
    Slack,
}

/// What came, whole, and when.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) way: Way,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// Both servers and all that came.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) mail: SocketAddr,
    pub(crate) slack: SocketAddr,
    messages: Arc<Mutex<Vec<Message>>>,
    _servers: JoinSet<()>,
}

impl Post {
    pub(crate) async fn open() -> Self {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let mut servers = JoinSet::new();
        let [mail, slack] = [
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        ]
        .map(Result::unwrap);
        let addresses = [&mail, &slack].map(|listener| listener.local_addr().unwrap());
        servers.spawn(serve(mail, Way::Mail, Arc::clone(&messages)));
        servers.spawn(serve(slack, Way::Slack, Arc::clone(&messages)));
        let [mail, slack] = addresses;
        Self { mail, slack, messages, _servers: servers }
    }

    /// Waits for a message by `way` that has all of `words`.
    pub(crate) async fn has(&self, way: Way, words: &[&str]) -> Message {
        until(&format!("{way:?} with {words:?}"), async || {
            let messages = self.messages.lock().unwrap();
            let is_it =
                |it: &&Message| it.way == way && words.iter().all(|word| it.text.contains(word));
            messages.iter().find(is_it).cloned()
        })
        .await
    }
}

async fn serve(listener: TcpListener, way: Way, messages: Arc<Mutex<Vec<Message>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (connection, _from) = listener.accept().await.unwrap();
        let messages = Arc::clone(&messages);
        connections.spawn(async move {
            let connection = BufReader::new(connection);
            let taken = match way {
                Way::Mail => take_mail(connection).await,
                Way::Slack => take_request(connection).await,
            };
            // A connection that says nothing is none of ours to judge: what is missing is missed by who waits for it.
            if let Ok(text) = taken {
                messages.lock().unwrap().push(Message { way, text, at: now() });
            }
        });
    }
}

/// One mail, headers included. Nobody without the password may send.
async fn take_mail(mut connection: BufReader<TcpStream>) -> std::io::Result<String> {
    let mut mail = String::new();
    let mut is_known = false;
    connection.write_all(b"220 here\r\n").await?;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        is_known |= line == CREDENTIALS;
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-here\r\n250 AUTH PLAIN\r\n",
            "AUTH" if is_known => "235 welcome\r\n",
            "MAIL" | "RCPT" if is_known => "250 so be it\r\n",
            "DATA" if is_known => "354 go on\r\n",
            "QUIT" => "221 goodbye\r\n",
            _ => "530 who are you\r\n",
        };
        connection.write_all(answer.as_bytes()).await?;
        match answer.get(..3) {
            Some("354") => {
                while !mail.ends_with("\r\n.\r\n") {
                    if connection.read_line(&mut mail).await? == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                connection.write_all(b"250 taken\r\n").await?;
            }
            // Quoted-printable breaks long lines.
            Some("221") => return Ok(mail.replace("=\r\n", "").replace("=3D", "=")),
            _ => {}
        }
    }
}

/// The body of one request, answered as Slack does.
async fn take_request(mut connection: BufReader<TcpStream>) -> std::io::Result<String> {
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(length) = line.strip_prefix("content-length:") {
            bytes = length.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; bytes];
    connection.read_exact(&mut body).await?;
    connection
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        .await?;
    String::from_utf8(body).map_err(std::io::Error::other)
}
