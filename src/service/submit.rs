//! CheckDevices and Register: what callers ask to be done.

use tonic::Status;
use tracing::{Span, field::display};

use super::{Service, answer, convert, status};
use crate::proto as pb;

impl Service {
    #[tracing::instrument(name = "rpc.check_devices", skip_all, fields(apply.id, apply.size))]
    pub(super) async fn submit(
        &self,
        request: pb::CheckDevicesRequest,
    ) -> Result<pb::CheckDevicesResponse, Status> {
        let validate_only = request.validate_only;
        let submission = convert::submission(request)?;
        if validate_only {
            return Ok(answer::judged(&submission));
        }
        let (apply, now) = self.store.submit(&submission).await.map_err(status::of)?;
        Span::current()
            .record("apply.id", display(apply.id))
            .record("apply.size", submission.len());
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
        let id = convert::apply_id(request.apply_id)?;
        let (apply, now) = self
            .store
            .accept(id, request.skip_invalid)
            .await
            .map_err(status::of)?;
        tracing::info!(status = %now.status, "registration asked for");
        Ok(pb::RegisterResponse {
            apply: Some(answer::apply(&apply, &now)),
        })
    }
}
