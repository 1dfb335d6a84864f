//! CheckDevices, Register and CancelApply: what callers ask to be done.

use tonic::Status;
use tracing::{Span, field::display};

use super::{Service, answer, convert, requests, status};
use crate::{
    domain::{AfterCheck, Caller, Right},
    proto as pb,
    telemetry::{metrics, trace},
};

/// The right that an apply needs besides for its last device, since it goes on to be registered.
pub(super) fn right_to_seal(then: AfterCheck) -> Option<Right> {
    match then {
        AfterCheck::Stop => None,
        AfterCheck::RegisterIfAllValid | AfterCheck::RegisterValid => Some(Right::Register),
    }
}

impl Service {
    /// Refuses a caller whose devices would be registered once they are checked, and who may not
    /// have that done.
    pub(super) async fn may_seal(&self, caller: &Caller, then: AfterCheck) -> Result<(), Status> {
        match right_to_seal(then) {
            None => Ok(()),
            Some(right) => self.need(caller, right).await,
        }
    }

    #[tracing::instrument(name = "rpc.check_devices", skip_all, fields(apply.id, apply.size))]
    pub(super) async fn submit(
        &self,
        caller: &Caller,
        mut request: pb::CheckDevicesRequest,
    ) -> Result<pb::CheckDevicesResponse, Status> {
        let request_id = requests::request_id(&mut request.request_id)?;
        let validate_only = request.validate_only;
        let mut submission = convert::submission(request)?;
        let heading = &submission.heading;
        self.need_for(caller, Right::Submit, &heading.product_key)
            .await?;
        if validate_only {
            return Ok(answer::judged(&submission));
        }
        self.may_seal(caller, heading.after_check).await?;
        let key = match request_id {
            Some(id) => Some(self.key(caller, id, &submission).await?),
            None => None,
        };
        self.seal(&mut submission)?;
        let storing = self.store.submit(caller, &submission, key.as_ref());
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
        caller: &Caller,
        request: pb::RegisterRequest,
    ) -> Result<pb::RegisterResponse, Status> {
        let (id, wish, key) = requests::register(request)?;
        let accepted = self.store.accept(caller, id, wish, key.as_ref()).await;
        let (apply, now) = accepted.map_err(status::of)?;
        tracing::info!(status = %now.status, "registration asked for");
        Ok(pb::RegisterResponse {
            apply: Some(answer::apply(&apply, &now)),
        })
    }

    #[tracing::instrument(name = "rpc.cancel_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn cancel(
        &self,
        caller: &Caller,
        request: pb::CancelApplyRequest,
    ) -> Result<pb::CancelApplyResponse, Status> {
        let (id, key) = requests::cancel(request)?;
        let cancelled = self.store.cancel(caller, id, key.as_ref()).await;
        let (apply, now) = cancelled.map_err(status::of)?;
        tracing::info!(status = %now.status, "cancellation asked for");
        Ok(pb::CancelApplyResponse {
            apply: Some(answer::apply(&apply, &now)),
        })
    }
}
