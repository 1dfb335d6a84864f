//! Accepting connections, and the handshakes of those that speak TLS.

use std::{
    collections::VecDeque, convert::Infallible, error::Error as StdError, io, time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::server::TlsStream;

use super::{Tls, connection::Connection, places::Places};

/// How long a handshake may take. One over a slow radio link takes a few seconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at one time, some 50 KB each. When there are more, the oldest makes room: a flood of
/// silent clients shortens the time that they have, and those that speak need a few milliseconds.
const HANDSHAKES: usize = 1_024;

/// Before accepting again where that has failed, as it does while there are too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of a listener, at most so many at one time besides those in their handshakes.
pub(in crate::service) fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
    most: usize,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let incoming = Incoming {
        listener,
        tls,
        handshakes: Handshakes::new(HANDSHAKES),
        places: Places::new(most),
    };
    stream::unfold(incoming, |mut incoming| async move {
        Some((Ok(incoming.next().await), incoming))
    })
}

struct Incoming {
    listener: TcpListener,
    tls: Option<Tls>,
    handshakes: Handshakes,
    places: Places,
}

impl Incoming {
    async fn next(&mut self) -> Connection {
        loop {
            let stream = tokio::select! {
                secured = self.handshakes.next_good() => match self.places.take() {
                    Some(place) => return Connection::tls(secured, place),
                    None => continue,
                },
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::debug!(
                            error = &error as &dyn StdError,
                            "a connection was not accepted"
                        );
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            // Small messages are not to wait for an acknowledgement. Fails on a connection that has
            // ended, which is then seen where it is read.
            stream.set_nodelay(true).ok();
            match &self.tls {
                Some(tls) => self.handshakes.begin(tls, stream),
                // Who finds no place is hung up on, and may find one at another server.
                None => match self.places.take() {
                    Some(place) => return Connection::plain(stream, place),
                    None => tracing::debug!("a connection found no place"),
                },
            }
        }
    }
}

/// Handshakes that go on, from the oldest.
struct Handshakes {
    tasks: JoinSet<io::Result<TlsStream<TcpStream>>>,
    order: VecDeque<AbortHandle>,
    most: usize,
}

impl Handshakes {
    fn new(most: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            order: VecDeque::new(),
            most,
        }
    }

    fn begin(&mut self, tls: &Tls, stream: TcpStream) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        let accepting = tls.acceptor().accept(stream);
        let task = self
            .tasks
            .spawn(async { tokio::time::timeout(HANDSHAKE, accepting).await? });
        self.order.push_back(task);
    }

    /// The next connection whose handshake has gone well.
    async fn next_good(&mut self) -> TlsStream<TcpStream> {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(secured)) => return secured,
                // Whoever knocks without a key is no event of ours.
                Ok(Err(error)) => {
                    tracing::debug!(error = &error as &dyn StdError, "a handshake has failed");
                }
                Err(_) => tracing::debug!("a handshake made room for others"),
            }
        }
        std::future::pending().await
    }
}
