//! A service for the tests of this room: it plays back a history over a real socket, and cuts it
//! where it is told to.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::proto::{
    Apply, ApplyStatus, CheckDevicesRequest, CheckDevicesResponse, Device, DeviceCounts,
    GetApplyRequest, GetApplyResponse, ListAppliesRequest, ListAppliesResponse, ListDevicesRequest,
    ListDevicesResponse, RegisterRequest, RegisterResponse, WatchApplyRequest, WatchApplyResponse,
    registrar_service_server::{RegistrarService, RegistrarServiceServer},
};

/// How one watch ends, after so many changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// With UNAVAILABLE, as a server that is stopping.
    Unavailable { after: usize },
    /// With OK, as a stream whose trailers were lost.
    End { after: usize },
    /// Not at all, until the connection breaks.
    Hang { after: usize },
}

/// Apply 17 at a revision, with so many devices pending, invalid and created.
pub(super) fn apply_at(revision: i64, status: ApplyStatus, counts: [i64; 3]) -> Apply {
    let [pending, invalid, created] = counts;
    let total = pending + invalid + created;
    Apply {
        apply_id: 17,
        status: status.into(),
        counts: Some(DeviceCounts {
            total,
            pending,
            invalid,
            created,
            ..DeviceCounts::default()
        }),
        revision,
        settled: !matches!(status, ApplyStatus::Check | ApplyStatus::Create),
        ..Apply::default()
    }
}

/// The server. It ends with the value.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Script {
    history: Vec<Apply>,
    devices: Vec<Device>,
    cuts: Mutex<VecDeque<Cut>>,
    submitted: Mutex<Vec<CheckDevicesRequest>>,
    watched_after: Mutex<Vec<i64>>,
    listed: AtomicUsize,
}

impl Server {
    /// Plays `history` to each watch, cut as `cuts` say, one for each watch, and then whole.
    pub(super) async fn start(
        history: Vec<Apply>,
        devices: Vec<Device>,
        cuts: impl IntoIterator<Item = Cut>,
    ) -> Self {
        let script = Arc::new(Script {
            history,
            devices,
            cuts: Mutex::new(cuts.into_iter().collect()),
            submitted: Mutex::default(),
            watched_after: Mutex::default(),
            listed: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = RegistrarServiceServer::from_arc(script.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self {
            url,
            script,
            _tasks: tasks,
        }
    }

    pub(super) fn submitted(&self) -> Vec<CheckDevicesRequest> {
        self.script.submitted.lock().unwrap().clone()
    }

    /// The revisions after which was watched, in order.
    pub(super) fn watched_after(&self) -> Vec<i64> {
        self.script.watched_after.lock().unwrap().clone()
    }

    /// How many pages were asked for.
    pub(super) fn listed(&self) -> usize {
        self.script.listed.load(Ordering::Relaxed)
    }
}

/// A line to a server that can be cut, and is there again for the next connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) url: String,
    cut: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Line {
    pub(super) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let far = server.url.strip_prefix("http://").unwrap().to_owned();
        let cut = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let cut = cut.clone();
            async move {
                loop {
                    let (mut near, _) = listener.accept().await.unwrap();
                    let mut far = TcpStream::connect(&far).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = cut.notified() => {}
                    }
                }
            }
        });
        Self {
            url,
            cut,
            _tasks: tasks,
        }
    }

    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }
}

#[tonic::async_trait]
impl RegistrarService for Script {
    type WatchApplyStream = Pin<Box<dyn Stream<Item = Result<WatchApplyResponse, Status>> + Send>>;

    async fn check_devices(
        &self,
        request: Request<CheckDevicesRequest>,
    ) -> Result<Response<CheckDevicesResponse>, Status> {
        let request = request.into_inner();
        if request.product_key.is_empty() {
            let mut details = ErrorDetails::new();
            details.add_bad_request_violation("product_key", "must not be empty");
            let message = "the request is not complete";
            return Err(Status::with_error_details(
                Code::InvalidArgument,
                message,
                details,
            ));
        }
        self.submitted.lock().unwrap().push(request);
        Ok(Response::new(CheckDevicesResponse {
            apply: self.history.first().cloned(),
            ..Default::default()
        }))
    }

    async fn watch_apply(
        &self,
        request: Request<WatchApplyRequest>,
    ) -> Result<Response<Self::WatchApplyStream>, Status> {
        let WatchApplyRequest { after_revision, .. } = request.into_inner();
        if self.history.is_empty() {
            return Err(Status::not_found("there is no such apply"));
        }
        self.watched_after.lock().unwrap().push(after_revision);
        let later = self
            .history
            .iter()
            .filter(|apply| apply.revision > after_revision)
            .cloned();
        let changes: Vec<_> = later
            .map(|apply| {
                Ok(WatchApplyResponse {
                    apply: Some(apply),
                    ..Default::default()
                })
            })
            .collect();
        let cut = self.cuts.lock().unwrap().pop_front();
        let stopping = Err(Status::unavailable("stopping; watch again"));
        Ok(Response::new(match cut {
            None => stream::iter(changes).boxed(),
            Some(Cut::End { after }) => stream::iter(changes).take(after).boxed(),
            Some(Cut::Unavailable { after }) => stream::iter(changes)
                .take(after)
                .chain(stream::iter([stopping]))
                .boxed(),
            Some(Cut::Hang { after }) => stream::iter(changes)
                .take(after)
                .chain(stream::pending())
                .boxed(),
        }))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        let request = request.into_inner();
        let start: usize = request.page_token.parse().unwrap_or(0);
        let end = self.devices.len().min(start + request.page_size as usize);
        let is_last = end == self.devices.len();
        Ok(Response::new(ListDevicesResponse {
            devices: self.devices[start..end].to_vec(),
            next_page_token: if is_last {
                String::new()
            } else {
                end.to_string()
            },
        }))
    }

    async fn register(
        &self,
        _: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn get_apply(
        &self,
        _: Request<GetApplyRequest>,
    ) -> Result<Response<GetApplyResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn list_applies(
        &self,
        _: Request<ListAppliesRequest>,
    ) -> Result<Response<ListAppliesResponse>, Status> {
        Err(Status::unimplemented("not part of these tests"))
    }

    async fn cancel_apply(
        &self,
        _: Request<crate::proto::CancelApplyRequest>,
    ) -> Result<Response<crate::proto::CancelApplyResponse>, Status> {
        Err(Status::unimplemented("not part of this"))
    }

    async fn find_device(
        &self,
        _: Request<crate::proto::FindDeviceRequest>,
    ) -> Result<Response<crate::proto::FindDeviceResponse>, Status> {
        Err(Status::unimplemented("not part of this"))
    }

    async fn explain_apply(
        &self,
        _: Request<crate::proto::ExplainApplyRequest>,
    ) -> Result<Response<crate::proto::ExplainApplyResponse>, Status> {
        Err(Status::unimplemented("not part of this"))
    }

    async fn get_quota(
        &self,
        _: Request<crate::proto::GetQuotaRequest>,
    ) -> Result<Response<crate::proto::GetQuotaResponse>, Status> {
        Err(Status::unimplemented("not part of this"))
    }
}
