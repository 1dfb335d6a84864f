//! Accepting connections, and the handshakes of those that speak TLS.

use std::{
    collections::VecDeque, convert::Infallible, error::Error as StdError, io, time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use super::{Tls, connection::Connection};

/// How long a handshake may take. One over a slow radio link takes a few seconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at one time, some 50 KB each. When there are more, the oldest makes room: a flood of
/// silent clients shortens the time that they have, and those that speak need a few milliseconds.
const HANDSHAKES: usize = 1_024;

/// Before accepting again where that has failed, as it does while there are too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of a listener.
pub(in crate::service) fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let incoming = Incoming {
        listener,
        tls,
        handshakes: Handshakes::new(HANDSHAKES),
    };
    stream::unfold(incoming, |mut incoming| async move {
        Some((Ok(incoming.next().await), incoming))
    })
}

struct Incoming {
    listener: TcpListener,
    tls: Option<Tls>,
    handshakes: Handshakes,
}

impl Incoming {
    async fn next(&mut self) -> Connection {
        loop {
            let accepted = tokio::select! {
                connection = self.handshakes.next_good() => return connection,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn StdError,
                        "a connection was not accepted"
                    );
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Small messages are not to wait for an acknowledgement. Fails on a connection that has
            // ended, which is then seen where it is read.
            stream.set_nodelay(true).ok();
            match &self.tls {
                None => return Connection::plain(stream),
                Some(tls) => self.handshakes.begin(tls, stream),
            }
        }
    }
}

/// Handshakes that go on, from the oldest.
struct Handshakes {
    tasks: JoinSet<io::Result<Connection>>,
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
        let task = self.tasks.spawn(async {
            let stream = tokio::time::timeout(HANDSHAKE, accepting).await;
            Ok(Connection::tls(stream??))
        });
        self.order.push_back(task);
    }

    /// The next connection whose handshake has gone well.
    async fn next_good(&mut self) -> Connection {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(connection)) => return connection,
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
