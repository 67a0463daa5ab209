//! A proxy between the line and its broker that knows enough of Kafka's protocol to keep back the end of a transaction.
//!
//! A request that is kept back reaches the broker all the same, later: on its own connection, as a network does that delivers late
//! but in order. The client need not wait for it; its side of the connection may be cut, so that it asks again on another one.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

/// The request that ends a transaction.
const END_TXN: i16 = 26;

/// Largest request that is taken for one.
const REQUEST_BYTES_MAX: u32 = 100 * 1024 * 1024;

/// How long the answer to a request that came late is waited for.
const LATE_ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What becomes of the next request that ends a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// It is forwarded after this time; what follows on its connection waits behind it.
    Delay(Duration),
    /// The client's side is cut at once, and it is forwarded after this time.
    Cut(Duration),
}

/// What became of requests that were kept back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Forwarded late.
    pub(crate) forwarded: usize,
    /// Of those whose client was cut off: answered by the broker without an error.
    pub(crate) accepted: usize,
    /// Of those whose client was cut off: answered with an error.
    pub(crate) refused: usize,
}

/// The proxy, on a port of this machine. Dropped, it ends and cuts every connection.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    upstream: String,
    next: Mutex<Option<Hold>>,
    held: Mutex<Held>,
}

impl Proxy {
    /// Listens on `port` and passes everything on to `upstream`.
    pub(crate) async fn start(port: u16, upstream: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (next, held) = (Mutex::new(None), Mutex::new(Held::default()));
        let shared = Arc::new(Shared { upstream, next, held });
        let mut tasks = JoinSet::new();
        let accepting = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _address) = listener.accept().await.unwrap();
                // A connection that breaks is an everyday event.
                let serving = Arc::clone(&accepting);
                connections.spawn(async move { drop(serving.serve(client).await) });
            }
        });
        Self { shared, _tasks: tasks }
    }

    /// Keeps back the next request that ends a transaction.
    pub(crate) fn hold(&self, hold: Hold) {
        *self.shared.next.lock().unwrap() = Some(hold);
    }

    /// What became of those that were kept back so far.
    pub(crate) fn held(&self) -> Held {
        *self.shared.held.lock().unwrap()
    }
}

impl Shared {
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        let upstream = TcpStream::connect(&self.upstream).await?;
        client.set_nodelay(true)?;
        upstream.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_broker, mut to_broker) = upstream.into_split();
        let late = {
            let answers = io::copy(&mut from_broker, &mut to_client);
            let requests = self.forward(&mut from_client, &mut to_broker);
            tokio::select! {
                _ = answers => return Ok(()),
                late = requests => late?,
            }
        };
        let Some((request, wait)) = late else { return Ok(()) };
        // The client sees its connection end here; the broker does not.
        drop((from_client, to_client));
        tokio::time::sleep(wait).await;
        to_broker.write_all(&request).await?;
        let answer = tokio::time::timeout(LATE_ANSWER_WAIT, last_error(&mut from_broker)).await;
        tell(&request, wait, &format!("answered {answer:?}"));
        let mut held = self.held.lock().unwrap();
        held.forwarded += 1;
        match answer {
            Ok(Ok(0)) => held.accepted += 1,
            Ok(Ok(_)) => held.refused += 1,
            Ok(Err(_)) | Err(_) => {}
        }
        Ok(())
    }

    /// Passes requests on until the client leaves, or until one is to be kept back while its client is cut off.
    async fn forward(
        &self,
        client: &mut OwnedReadHalf,
        broker: &mut OwnedWriteHalf,
    ) -> io::Result<Option<(Vec<u8>, Duration)>> {
        loop {
            let Some(request) = frame(client).await? else { return Ok(None) };
            let ends_transaction = request.get(4..6) == Some(&END_TXN.to_be_bytes());
            let hold = if ends_transaction { self.next.lock().unwrap().take() } else { None };
            match hold {
                None => broker.write_all(&request).await?,
                Some(Hold::Cut(wait)) => return Ok(Some((request, wait))),
                Some(Hold::Delay(wait)) => {
                    tokio::time::sleep(wait).await;
                    broker.write_all(&request).await?;
                    tell(&request, wait, "on its own connection");
                    self.held.lock().unwrap().forwarded += 1;
                }
            }
        }
    }
}

/// Says that a late request has reached the broker, for whoever has to find out what it has done.
fn tell(request: &[u8], wait: Duration, answer: &str) {
    let ending = ending(request).unwrap_or_default();
    eprintln!("{} late by {wait:?}: {ending} {answer}", chassis::clock::now());
}

/// What a request that ends a transaction says, in versions 0 to 3.
fn ending(request: &[u8]) -> Option<String> {
    // Length, key, version, correlation id; then strings with two bytes of length.
    let mut rest = request.get(12..)?;
    let mut text = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        rest = after;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let (_client_id, transactional_id) = (text()?, text()?);
    let epoch = i16::from_be_bytes(rest.get(8..10)?.try_into().ok()?);
    let kind = if rest.get(10) == Some(&0) { "abort" } else { "commit" };
    Some(format!("{kind} of {transactional_id} in epoch {epoch}"))
}

/// One request or answer with the four bytes of its length; `None` at the end of the connection.
async fn frame(from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let bytes = u32::from_be_bytes(length);
    if REQUEST_BYTES_MAX < bytes {
        return Err(io::Error::other("not Kafka's protocol"));
    }
    let mut frame = length.to_vec();
    frame.resize(4 + usize::try_from(bytes).unwrap(), 0);
    from.read_exact(&mut frame[4..]).await?;
    Ok(Some(frame))
}

/// The error code of the answer to a late request. Answers to earlier requests of the connection come first, if there are any;
/// nothing comes after it.
async fn last_error(from: &mut OwnedReadHalf) -> io::Result<i16> {
    let mut answer = None;
    while let Ok(Ok(Some(frame))) = tokio::time::timeout(Duration::from_secs(1), frame(from)).await
    {
        answer = Some(frame);
    }
    // Length, correlation id, throttle time, error code: EndTxn version 0 and 1.
    let code = answer.as_deref().and_then(|answer| answer.get(12..14)?.try_into().ok());
    code.map(i16::from_be_bytes).ok_or_else(|| io::Error::other("no answer"))
}
