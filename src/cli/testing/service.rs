//! The calls of the service that tests speak to.

use std::{
    pin::Pin,
    sync::{Mutex, atomic::Ordering},
};

use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Asked, Cut, Script, upload};
use crate::proto::{
    Apply, ApplyStatus, CancelApplyRequest, CancelApplyResponse, CheckDevicesRequest,
    CheckDevicesResponse, DeviceCounts, ExplainApplyRequest, ExplainApplyResponse,
    ExportDevicesRequest, ExportDevicesResponse, FindDeviceRequest, FindDeviceResponse,
    GetApplyRequest, GetApplyResponse, GetQuotaRequest, GetQuotaResponse, ListAppliesRequest,
    ListAppliesResponse, ListDevicesRequest, ListDevicesResponse, ReconcileRequest,
    ReconcileResponse, RegisterRequest, RegisterResponse, UploadDevicesRequest,
    UploadDevicesResponse, WatchApplyRequest, WatchApplyResponse,
    registrar_service_server::RegistrarService,
};

type Answer<T> = Result<Response<T>, Status>;

impl Script {
    /// Fails the call if it is the turn of one that fails.
    fn fail(&self) -> Result<(), Status> {
        self.failures
            .lock()
            .unwrap()
            .pop_front()
            .map_or(Ok(()), Err)
    }

    fn ask(&self, asked: Asked) -> Result<(), Status> {
        self.asked.lock().unwrap().push(asked);
        self.fail()
    }

    fn existing(&self, apply: Option<&Apply>) -> Result<Option<Apply>, Status> {
        let found = apply.cloned().map(Some);
        found.ok_or_else(|| Status::not_found("there is no such apply"))
    }

    /// The messages of a stream, up to where it is to be cut.
    fn cut<T: Send + 'static>(
        &self,
        messages: Vec<Result<T, Status>>,
    ) -> Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>> {
        let messages = stream::iter(messages);
        let stopping = Err(Status::unavailable("stopping; go on elsewhere"));
        match self.cuts.lock().unwrap().pop_front() {
            None => messages.boxed(),
            Some(Cut::End { after }) => messages.take(after).boxed(),
            Some(Cut::Unavailable { after }) => {
                let stopping = stream::iter([stopping]);
                messages.take(after).chain(stopping).boxed()
            }
            Some(Cut::Hang { after }) => messages.take(after).chain(stream::pending()).boxed(),
        }
    }

    fn judged(&self, request: &CheckDevicesRequest) -> CheckDevicesResponse {
        let total = request.devices.len() as i64;
        let invalid = self.devices.len() as i64;
        CheckDevicesResponse {
            apply: Some(Apply {
                status: ApplyStatus::Check.into(),
                counts: Some(DeviceCounts {
                    total,
                    invalid,
                    pending: total - invalid,
                    ..DeviceCounts::default()
                }),
                ..Apply::default()
            }),
            refused: self.devices.clone(),
        }
    }
}

/// The page that begins where the token says, and the token of the next.
fn page<T: Clone>(all: &[T], token: &str, size: i32) -> (Vec<T>, String) {
    let start: usize = token.parse().unwrap_or(0);
    let end = all.len().min(start + usize::try_from(size).unwrap());
    let next = if end == all.len() {
        String::new()
    } else {
        end.to_string()
    };
    (all[start..end].to_vec(), next)
}

fn remember<T>(list: &Mutex<Vec<T>>, one: T) {
    list.lock().unwrap().push(one);
}

#[tonic::async_trait]
impl RegistrarService for Script {
    type UploadDevicesStream =
        Pin<Box<dyn Stream<Item = Result<UploadDevicesResponse, Status>> + Send>>;
    type WatchApplyStream = Pin<Box<dyn Stream<Item = Result<WatchApplyResponse, Status>> + Send>>;
    type ExportDevicesStream =
        Pin<Box<dyn Stream<Item = Result<ExportDevicesResponse, Status>> + Send>>;

    async fn check_devices(
        &self,
        request: Request<CheckDevicesRequest>,
    ) -> Answer<CheckDevicesResponse> {
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
        remember(&self.submitted, request.clone());
        self.fail()?;
        if request.validate_only {
            return Ok(Response::new(self.judged(&request)));
        }
        Ok(Response::new(CheckDevicesResponse {
            apply: self.existing(self.history.first())?,
            ..Default::default()
        }))
    }

    async fn upload_devices(
        &self,
        parts: Request<Streaming<UploadDevicesRequest>>,
    ) -> Answer<Self::UploadDevicesStream> {
        self.fail()?;
        let answers = upload::answers(self.uploaded.clone(), parts.into_inner());
        Ok(Response::new(answers.boxed()))
    }

    async fn watch_apply(
        &self,
        request: Request<WatchApplyRequest>,
    ) -> Answer<Self::WatchApplyStream> {
        let WatchApplyRequest { after_revision, .. } = request.into_inner();
        self.existing(self.history.first())?;
        remember(&self.watched_after, after_revision);
        let seen = |apply: &&Apply| apply.revision == after_revision;
        let seen = self.history.iter().find(seen).cloned();
        let heartbeats = self
            .waits
            .iter()
            .cloned()
            .map(|waiting_for| WatchApplyResponse {
                apply: seen.clone(),
                heartbeat: true,
                waiting_for: Some(waiting_for),
            });
        let later = self.history.iter().cloned();
        let changes = later
            .filter(|apply| apply.revision > after_revision)
            .map(|apply| WatchApplyResponse {
                apply: Some(apply),
                ..Default::default()
            });
        let messages: Vec<_> = heartbeats.chain(changes).map(Ok).collect();
        Ok(Response::new(self.cut(messages)))
    }

    async fn export_devices(
        &self,
        request: Request<ExportDevicesRequest>,
    ) -> Answer<Self::ExportDevicesStream> {
        let from = usize::try_from(request.into_inner().from_ordinal).unwrap();
        let some = self.exported[from..].chunks(3).enumerate();
        let messages = some.map(|(n, devices)| ExportDevicesResponse {
            devices: devices.to_vec(),
            next_ordinal: (from + n * 3 + devices.len()) as i64,
            complete: false,
        });
        let last = ExportDevicesResponse {
            next_ordinal: self.exported.len() as i64,
            complete: true,
            ..Default::default()
        };
        let messages: Vec<_> = messages.chain([last]).map(Ok).collect();
        Ok(Response::new(self.cut(messages)))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Answer<ListDevicesResponse> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        let request = request.into_inner();
        self.ask(Asked::Devices(request.clone()))?;
        let (devices, next_page_token) =
            page(&self.devices, &request.page_token, request.page_size);
        Ok(Response::new(ListDevicesResponse {
            devices,
            next_page_token,
        }))
    }

    async fn register(&self, request: Request<RegisterRequest>) -> Answer<RegisterResponse> {
        self.ask(Asked::Register(request.into_inner()))?;
        let apply = self.existing(self.history.first())?;
        Ok(Response::new(RegisterResponse { apply }))
    }

    async fn get_apply(&self, request: Request<GetApplyRequest>) -> Answer<GetApplyResponse> {
        self.fail()?;
        let lists = request.into_inner().include_lists;
        let names = |name: &str| lists.then(|| name.to_owned()).into_iter().collect();
        Ok(Response::new(GetApplyResponse {
            apply: self.existing(self.history.last())?,
            valid_list: names("pump-1"),
            invalid_list: names("l 1"),
            truncated: lists,
            waiting_for: self.waits.last().cloned(),
        }))
    }

    async fn list_applies(
        &self,
        request: Request<ListAppliesRequest>,
    ) -> Answer<ListAppliesResponse> {
        let request = request.into_inner();
        self.ask(Asked::List(request.clone()))?;
        let (applies, next_page_token) =
            page(&self.applies, &request.page_token, request.page_size);
        Ok(Response::new(ListAppliesResponse {
            applies,
            next_page_token,
        }))
    }

    async fn reconcile(&self, _: Request<ReconcileRequest>) -> Answer<ReconcileResponse> {
        self.fail()?;
        Ok(Response::new(ReconcileResponse::default()))
    }

    async fn cancel_apply(
        &self,
        request: Request<CancelApplyRequest>,
    ) -> Answer<CancelApplyResponse> {
        self.ask(Asked::Cancel(request.into_inner()))?;
        let apply = self.existing(self.history.first())?;
        Ok(Response::new(CancelApplyResponse { apply }))
    }

    async fn find_device(&self, request: Request<FindDeviceRequest>) -> Answer<FindDeviceResponse> {
        let request = request.into_inner();
        self.ask(Asked::Find(request.clone()))?;
        let (found, next_page_token) = page(&self.found, &request.page_token, request.page_size);
        Ok(Response::new(FindDeviceResponse {
            found,
            next_page_token,
        }))
    }

    async fn explain_apply(
        &self,
        request: Request<ExplainApplyRequest>,
    ) -> Answer<ExplainApplyResponse> {
        self.fail()?;
        let request = request.into_inner();
        let (entries, next_page_token) =
            page(&self.entries, &request.page_token, request.page_size);
        Ok(Response::new(ExplainApplyResponse {
            entries,
            next_page_token,
            apply: self.existing(self.history.last())?,
            waiting_for: self.waits.last().cloned(),
        }))
    }

    async fn get_quota(&self, _: Request<GetQuotaRequest>) -> Answer<GetQuotaResponse> {
        self.fail()?;
        let quotas = self.quotas.clone();
        Ok(Response::new(GetQuotaResponse { quotas }))
    }
}
