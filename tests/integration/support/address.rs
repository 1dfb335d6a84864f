//! The address of a database, which can lead to one server after the other.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// The name of a server's socket, as clients look for it.
const SOCKET: &str = ".s.PGSQL.5432";

/// Where an address leads.
#[derive(Clone, Debug)]
enum Way {
    To(PathBuf),
    /// Whatever is sent vanishes, and no error says so.
    Nowhere,
}

/// What becomes of the connections that are open when the address leads elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Open {
    /// They end, as a balancer ends them that is told to.
    Cut,
    /// They stay where they are.
    Left,
    /// What is sent on them vanishes.
    Lost,
}

/// A unix socket that stays where it is.
pub(crate) struct Address {
    dir: TempDir,
    way: watch::Sender<(Way, Open)>,
}

impl Address {
    /// An address that leads to the server whose socket is in this directory.
    pub(crate) fn to(socket_dir: &Path) -> Self {
        let dir = TempDir::with_prefix("registrar-address-").expect("a directory");
        let open = fs::Permissions::from_mode(0o711);
        fs::set_permissions(dir.path(), open).expect("it is ours");
        let listener = UnixListener::bind(dir.path().join(SOCKET)).expect("a socket");
        let (way, ways) = watch::channel((Way::To(socket_dir.join(SOCKET)), Open::Left));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, ways.clone()));
            }
        });
        Self { dir, way }
    }

    /// The address as `registrar` takes it.
    pub(crate) fn url(&self) -> String {
        let dir = self.dir.path().display();
        format!("postgres://postgres@localhost:5432/postgres?host={dir}")
    }

    /// From now on it leads to the server whose socket is in this directory.
    pub(crate) fn lead_to(&self, socket_dir: &Path, open: Open) {
        let to = Way::To(socket_dir.join(SOCKET));
        self.way.send_replace((to, open));
    }

    /// From now on what is sent to it vanishes, on connections that are open too.
    pub(crate) fn lead_nowhere(&self) {
        self.way.send_replace((Way::Nowhere, Open::Lost));
    }
}

/// Carries one connection for as long as its way stays.
async fn relay(mut near: UnixStream, mut ways: watch::Receiver<(Way, Open)>) {
    let (way, _) = ways.borrow_and_update().clone();
    let far = match way {
        Way::To(socket) => UnixStream::connect(socket).await.ok(),
        Way::Nowhere => return std::future::pending().await,
    };
    // Whoever comes while no server is there is turned away.
    let Some(mut far) = far else { return };
    let carried = async {
        tokio::io::copy_bidirectional(&mut near, &mut far)
            .await
            .ok();
    };
    let lost = async {
        loop {
            match ways.changed().await.map(|()| ways.borrow_and_update().1) {
                Ok(Open::Left) => {}
                Ok(Open::Lost) => return true,
                Ok(Open::Cut) | Err(_) => return false,
            }
        }
    };
    let is_lost = tokio::select! {
        () = carried => false,
        is_lost = lost => is_lost,
    };
    if is_lost {
        std::future::pending::<()>().await;
    }
}
