//! What PostgreSQL does to `registrar`: it is restarted, hangs, is full, takes no writes, rolls back,
//! fails over. Servers of each test's own, two replicas of the service, and clients under way.

mod conflicts;
mod failover;
mod full;
mod outage;
mod read_only;
mod soak;
mod uploading;

use std::time::Duration;

use registrar::proto::{CheckDevicesRequest, GetApplyRequest};
use tonic::Status;

use crate::{
    support::{
        address::Address,
        cluster::Cluster,
        load::is_to_be_repeated,
        stack::{Client, Server, Upstream, new_devices, patiently},
    },
    surface::request,
};

/// How long a statement may take in these tests.
const STATEMENT: Duration = Duration::from_secs(3);

/// The longest that a call may take: a connection is waited for, and then a statement, with the
/// machine being busy.
const CALL: Duration = Duration::from_secs(15);

const FLAGS: [&str; 14] = [
    "--database-timeout",
    "3s",
    "--lease",
    "5s",
    "--upstream-timeout",
    "2s",
    "--upstream-connect-timeout",
    "1s",
    "--heartbeat",
    "1s",
    // The upstream is not what holds anybody up here.
    "--check-rate",
    "200",
    "--status-rate",
    "500",
];

/// The actions whose quota those rates exceed.
const UNLIMITED: &str = "BatchCheckDeviceNames=0,QueryBatchRegisterDeviceStatus=0";

/// How many sessions of the service wait for a lock.
const WAITING: &str = "SELECT count(*)::text FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND application_name <> 'test'";

/// Two replicas, and an address that leads to their database.
struct Stack {
    upstream: Upstream,
    servers: [Server; 2],
    address: Address,
}

impl Stack {
    async fn of(cluster: &Cluster, flags: &[&str]) -> Self {
        let address = Address::to(cluster.socket_dir());
        let upstream =
            Upstream::start(&["--simulator-speed", "0", "--simulator-qps", UNLIMITED]).await;
        let flags = [&FLAGS, flags].concat();
        let start =
            || tokio::task::block_in_place(|| Server::start(&address.url(), &upstream.url, &flags));
        Self {
            servers: [start(), start()],
            address,
            upstream,
        }
    }

    fn both(&self) -> [&Server; 2] {
        [&self.servers[0], &self.servers[1]]
    }

    async fn client(&self) -> Client {
        self.servers[0].client().await
    }

    /// Waits until both servers say this of whether they are ready.
    async fn until_ready_is(&self, status: u16, text: &str) {
        patiently(async {
            for server in &self.servers {
                loop {
                    let (code, told) = server.asks("/readyz").await;
                    if code == status && told.contains(text) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
        .await;
    }

    /// Fails unless both servers are alive, and end well when they are asked to.
    fn ends_well(self) {
        for mut server in self.servers {
            assert!(server.child.try_wait().unwrap().is_none(), "it has exited");
            assert!(tokio::task::block_in_place(|| server.terminate()));
        }
    }
}

/// A submission that may be repeated.
fn submission(id: &str) -> CheckDevicesRequest {
    CheckDevicesRequest {
        request_id: id.to_owned(),
        devices: new_devices(id, 3),
        ..request(id, 0)
    }
}

/// What one read comes to.
async fn reads(client: &mut Client, apply_id: i64) -> Result<(), Status> {
    let request = GetApplyRequest {
        apply_id,
        include_lists: false,
    };
    client.get_apply(request).await.map(|_| ())
}

/// Fails unless the call is to be made again.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.expect_err("the database cannot be used");
    assert!(is_to_be_repeated(&status), "{status:?}");
}
