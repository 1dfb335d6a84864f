//! A link between two parts of the stack, whose connections can be cut or held up.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
};

/// Where a link leads at the moment, if anywhere.
pub(crate) type Target = Arc<Mutex<Option<Address>>>;

#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Carries bytes both ways, for as long as the process lasts.
pub(crate) struct Link {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// How often all connections were cut.
    cuts: u64,
    /// Nothing is carried on, and nothing lost.
    held: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Link {
    /// A link that is entered at a TCP address of this machine.
    pub(crate) async fn tcp(target: Target) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = watch::Sender::new(State::default());
        let theirs = state.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                near.set_nodelay(true).ok();
                tokio::spawn(carry(near, target.clone(), theirs.clone()));
            }
        });
        (Self { state }, address)
    }

    /// A link that is entered at the path of a socket.
    pub(crate) fn unix(path: PathBuf, target: Target) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let state = watch::Sender::new(State::default());
        let theirs = state.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target.clone(), theirs.clone()));
            }
        });
        Self { state }
    }

    /// Ends all connections. New ones are welcome at once.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Holds up, or carries on, what is under way and what comes. What was held up arrives in the end,
    /// also from those who have gone meanwhile.
    pub(crate) fn hold(&self, held: bool) {
        self.state.send_modify(|state| state.held = held);
    }
}

async fn carry(near: impl Stream, target: Target, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let target = target.lock().expect("no panic").clone();
    // Nobody is there: the connection ends, as one to a dead server does.
    let Some(Ok(far)) = connect(target).await else {
        return;
    };
    let ((near_read, near_write), (far_read, far_write)) =
        (tokio::io::split(near), tokio::io::split(far));
    let both = async {
        tokio::join!(
            pump(near_read, far_write, state.clone()),
            pump(far_read, near_write, state.clone()),
        )
    };
    let mut cut = state.clone();
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
    state.mark_unchanged();
}

async fn connect(target: Option<Address>) -> Option<io::Result<Box<dyn Stream>>> {
    let connected: io::Result<Box<dyn Stream>> = match target? {
        Address::Tcp(address) => TcpStream::connect(address).await.map(|stream| {
            stream.set_nodelay(true).ok();
            Box::new(stream) as Box<dyn Stream>
        }),
        Address::Unix(path) => UnixStream::connect(path)
            .await
            .map(|stream| Box::new(stream) as Box<dyn Stream>),
    };
    Some(connected)
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or_default();
        if state.wait_for(|state| !state.held).await.is_err() {
            return;
        }
        if read == 0 {
            to.shutdown().await.ok();
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
