//! CheckDevices, Register and CancelApply: what callers ask to be done.

use tonic::Status;
use tracing::{Span, field::display};

use super::{Service, answer, convert, requests, status};
use crate::{
    proto as pb,
    telemetry::{metrics, trace},
};

impl Service {
    #[tracing::instrument(name = "rpc.check_devices", skip_all, fields(apply.id, apply.size))]
    pub(super) async fn submit(
        &self,
        mut request: pb::CheckDevicesRequest,
    ) -> Result<pb::CheckDevicesResponse, Status> {
        let request_id = requests::request_id(&mut request.request_id)?;
        let validate_only = request.validate_only;
        let submission = convert::submission(request)?;
        if validate_only {
            return Ok(answer::judged(&submission));
        }
        let key = request_id.map(|id| requests::key(id, submission.fingerprint()));
        let storing = self.store.submit(&submission, key.as_ref());
        let stored = metrics().submission.time([], storing).await;
        let (apply, now) = stored.map_err(status::of)?;
        Span::current()
            .record("apply.id", display(apply.id))
            .record("apply.size", submission.len());
        trace::about_apply(apply.id.0);
        tracing::info!(invalid = submission.refused(), status = %now.status, "devices submitted");
        Ok(pb::CheckDevicesResponse {
            apply: Some(answer::apply(&apply, &now)),
            ..Default::default()
        })
    }

    #[tracing::instrument(name = "rpc.register", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn accept(
        &self,
        request: pb::RegisterRequest,
    ) -> Result<pb::RegisterResponse, Status> {
        let (id, wish, key) = requests::register(request)?;
        let accepted = self.store.accept(id, wish, key.as_ref()).await;
        let (apply, now) = accepted.map_err(status::of)?;
        tracing::info!(status = %now.status, "registration asked for");
        Ok(pb::RegisterResponse {
            apply: Some(answer::apply(&apply, &now)),
        })
    }

    #[tracing::instrument(name = "rpc.cancel_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn cancel(
        &self,
        request: pb::CancelApplyRequest,
    ) -> Result<pb::CancelApplyResponse, Status> {
        let (id, key) = requests::cancel(request)?;
        let cancelled = self.store.cancel(id, key.as_ref()).await;
        let (apply, now) = cancelled.map_err(status::of)?;
        tracing::info!(status = %now.status, "cancellation asked for");
        Ok(pb::CancelApplyResponse {
            apply: Some(answer::apply(&apply, &now)),
        })
    }
}
