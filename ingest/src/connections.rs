//! How many connections there may be: each takes some 30 KB, whatever it asks for.

use std::{
    io::{self, IoSlice},
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::instruments::Instruments;

/// Room for connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    room: Arc<Semaphore>,
    most: usize,
    instruments: Arc<Instruments>,
}

impl Connections {
    /// Room for `most`.
    pub(crate) fn new(most: NonZeroUsize, instruments: Arc<Instruments>) -> Self {
        let most = most.get().min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(most)), most, instruments }
    }

    /// Whether more than half of the room is taken: then none is kept that has its answer, so that idle ones leave before new
    /// ones have to wait.
    pub(crate) fn are_many(&self) -> bool {
        // The listener has a place in hand for whoever comes next.
        let open = self.most.saturating_sub(self.room.available_permits()).saturating_sub(1);
        self.most / 2 < open
    }

    /// Accepts from `listener` only while there is room. Who comes later waits in the system's queue.
    pub(crate) fn bound<L: Listener>(&self, listener: L) -> Bounded<L> {
        Bounded { listener, connections: self.clone() }
    }
}

/// A listener that has no more connections open than it may.
#[derive(Debug)]
pub(crate) struct Bounded<L> {
    listener: L,
    connections: Connections,
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Open<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let Ok(place) = Arc::clone(&self.connections.room).acquire_owned().await else {
            // Nobody closes the room, and a listener has no way to end.
            return std::future::pending().await;
        };
        let (connection, address) = self.listener.accept().await;
        self.connections.instruments.connection_opened();
        let instruments = Arc::clone(&self.connections.instruments);
        (Open { connection, instruments, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// An open connection and its place.
#[derive(Debug)]
pub(crate) struct Open<C> {
    connection: C,
    instruments: Arc<Instruments>,
    _place: OwnedSemaphorePermit,
}

impl<C> Drop for Open<C> {
    fn drop(&mut self) {
        self.instruments.connection_closed();
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Open<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, into)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Open<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
