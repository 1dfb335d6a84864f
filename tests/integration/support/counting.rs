//! A way to a database on which the statements are counted that pass.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split},
    net::{TcpListener, TcpStream, UnixStream},
};

/// Counts what its clients send. Ends with the runtime.
pub(crate) struct Counting {
    /// Leads to the database by way of this.
    pub(crate) options: PgConnectOptions,
    statements: Arc<AtomicU64>,
    round_trips: Arc<AtomicU64>,
}

impl Counting {
    pub(crate) async fn before(database: &PgConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let statements = Arc::new(AtomicU64::new(0));
        let round_trips = Arc::new(AtomicU64::new(0));
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .username(database.get_username())
            .database(database.get_database().expect("a database of its own"));
        let behind = database.clone();
        let counts = [statements.clone(), round_trips.clone()];
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (behind, counts) = (behind.clone(), counts.clone());
                tokio::spawn(async move {
                    client.set_nodelay(true).ok();
                    match behind.get_socket() {
                        Some(directory) => {
                            let path = directory.join(format!(".s.PGSQL.{}", behind.get_port()));
                            pass(client, UnixStream::connect(path).await, &counts).await;
                        }
                        None => {
                            let address = (behind.get_host(), behind.get_port());
                            pass(client, TcpStream::connect(address).await, &counts).await;
                        }
                    }
                });
            }
        });
        Self {
            options,
            statements,
            round_trips,
        }
    }

    /// How many statements were executed since this was last asked.
    pub(crate) fn take(&self) -> u64 {
        self.statements.swap(0, Ordering::SeqCst)
    }

    /// How often an answer was waited for since this was last asked, with a statement or without.
    pub(crate) fn take_round_trips(&self) -> u64 {
        self.round_trips.swap(0, Ordering::SeqCst)
    }
}

async fn pass<S>(client: TcpStream, server: std::io::Result<S>, counts: &[Arc<AtomicU64>; 2])
where
    S: AsyncRead + AsyncWrite,
{
    let Ok(server) = server else { return };
    let (mut from_server, mut to_server) = split(server);
    let (mut from_client, mut to_client) = client.into_split();
    // Whichever side ends, the other is let go.
    tokio::select! {
        _ = copy(&mut from_server, &mut to_client) => {}
        _ = forward(&mut from_client, &mut to_server, counts) => {}
    }
}

/// Passes messages on, and counts those that execute something, and those after which the server is
/// waited for.
async fn forward(
    client: &mut (impl AsyncRead + Unpin),
    server: &mut (impl AsyncWrite + Unpin),
    [statements, round_trips]: &[Arc<AtomicU64>; 2],
) -> std::io::Result<()> {
    // The first message has no letter.
    let mut kind = None;
    loop {
        let length = client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await?;
        // Counted before it can be answered.
        for (count, kinds) in [(statements, b"EQ"), (round_trips, b"SQ")] {
            if kind.is_some_and(|kind| kinds.contains(&kind)) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend(length.to_be_bytes());
        message.extend(body);
        server.write_all(&message).await?;
        server.flush().await?;
        kind = Some(client.read_u8().await?);
    }
}
