//! Connections: accepts them, cuts their bytes into requests, and answers in order.

use crate::broker::Broker;
use crate::wire::{self, Malformed, Reply};
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Requests of one connection that may wait for the disk at the same time.
const PIPELINE: usize = 16;
/// How much is read ahead while a request is being answered.
const READ_AHEAD_BYTES: usize = 64 << 10;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a request announces {0} bytes")]
    Length(i32),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves until the broker stops.
pub(crate) async fn serve(broker: Arc<Broker>, listener: TcpListener) {
    let slots = Arc::new(Semaphore::new(broker.settings.connections_max));
    loop {
        let accepted = tokio::select! {
            () = broker.stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                    let serving = Arc::clone(&broker);
                    broker.tasks.spawn(async move {
                        converse(serving, stream, peer).await;
                        drop(slot);
                    });
                } else {
                    tracing::warn!(%peer, "a connection too many is closed");
                }
            }
            Err(error) => {
                // Out of file handles, usually: others may close theirs meanwhile.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn converse(broker: Arc<Broker>, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small answers may be late");
    }
    let (read, write) = stream.into_split();
    let (replies, queue) = mpsc::channel(PIPELINE);
    let requests =
        Requests { read, buffered: BytesMut::new(), bytes_max: broker.settings.request_bytes_max };
    let ended =
        tokio::try_join!(read_requests(&broker, requests, replies), write_replies(queue, write));
    match ended {
        Ok(((), ())) => tracing::debug!(%peer, "connection closed"),
        Err(Broken::Io(error)) => tracing::debug!(%peer, %error, "connection lost"),
        Err(error) => tracing::warn!(%peer, %error, "connection closed for what came over it"),
    }
}

async fn read_requests(
    broker: &Arc<Broker>,
    mut requests: Requests,
    replies: mpsc::Sender<Reply>,
) -> Result<(), Broken> {
    loop {
        let request = tokio::select! {
            () = broker.stopping.cancelled() => return Ok(()),
            request = requests.next() => request?,
        };
        let Some(request) = request else { return Ok(()) };
        let reply = tokio::select! {
            reply = wire::answer(broker, request) => reply?,
            // Whoever asked is gone, so nobody needs to wait for a rebalance or for records on its behalf.
            () = requests.closed() => return Ok(()),
        };
        if replies.send(reply).await.is_err() {
            return Ok(());
        }
    }
}

async fn write_replies(
    mut queue: mpsc::Receiver<Reply>,
    mut write: OwnedWriteHalf,
) -> Result<(), Broken> {
    while let Some(reply) = queue.recv().await {
        let bytes = match reply {
            Reply::Now(bytes) => bytes,
            Reply::Later(waiting) => waiting.await?,
            Reply::None => continue,
        };
        write.write_all(&bytes).await?;
    }
    Ok(())
}

/// The requests of one connection.
struct Requests {
    read: OwnedReadHalf,
    buffered: BytesMut,
    bytes_max: usize,
}

impl Requests {
    /// The next one without its length, or none when the client has closed.
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(length) = self.buffered.first_chunk().copied() {
                let length = i32::from_be_bytes(length);
                let bytes = usize::try_from(length).ok().filter(|bytes| *bytes <= self.bytes_max);
                let bytes = bytes.ok_or(Broken::Length(length))?;
                if 4 + bytes <= self.buffered.len() {
                    self.buffered.advance(4);
                    return Ok(Some(self.buffered.split_to(bytes).freeze()));
                }
            }
            // Room is made as bytes come, not as they are announced.
            self.buffered.reserve(READ_AHEAD_BYTES);
            if self.read.read_buf(&mut self.buffered).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits until the client closes, reading a little ahead meanwhile.
    async fn closed(&mut self) {
        while self.buffered.len() < READ_AHEAD_BYTES {
            match self.read.read_buf(&mut self.buffered).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }
}
