//! The connections of the admin port: few, and none for long.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Connections at a time. Supervisors, balancers and Prometheus have a few each. When there are more,
/// the oldest makes room, so that silent ones keep nobody from asking.
const CONNECTIONS: usize = 256;

/// How long a connection has at least before it makes room. Answers take less: the database has 2 s for
/// its own.
const UNDISTURBED: Duration = Duration::from_secs(5);

/// How long a connection may wait for its peer, all waits together. Longer than from one scrape to
/// the next; who keeps a connection for longer opens another.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener whose connections end.
pub(super) struct Incoming {
    listener: TcpListener,
    /// From the oldest.
    open: VecDeque<(Instant, Weak<CancellationToken>)>,
}

impl Incoming {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            open: VecDeque::new(),
        }
    }
}

impl Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Waits where that fails, as it does while there are too many open files.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        self.open.retain(|(_, open)| open.strong_count() > 0);
        if self.open.len() >= CONNECTIONS
            && let Some((since, oldest)) = self.open.pop_front()
        {
            tokio::time::sleep_until(since + UNDISTURBED).await;
            if let Some(oldest) = oldest.upgrade() {
                oldest.cancel();
            }
        }
        let makes_room = Arc::new(CancellationToken::new());
        let open = Arc::downgrade(&makes_room);
        self.open.push_back((Instant::now(), open));
        let connection = Connection {
            stream,
            patience: Box::pin(tokio::time::sleep(PATIENCE)),
            makes_room: Box::pin((*makes_room).clone().cancelled_owned()),
            _open: makes_room,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends where it waits and must wait no longer.
pub(super) struct Connection {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    makes_room: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: Arc<CancellationToken>,
}

impl Connection {
    fn or_ends<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let is_over = done.is_pending()
            && (self.patience.as_mut().poll(context).is_ready()
                || self.makes_room.as_mut().poll(context).is_ready());
        match is_over {
            true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            false => done,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.stream).poll_read(context, into);
        this.or_ends(done, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.or_ends(done, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
