//! ListApplies and ListDevices: pages in a stable order.

use tonic::Status;

use super::{Service, answer, asked, status};
use crate::{domain::Caller, proto as pb};

impl Service {
    #[tracing::instrument(name = "rpc.list_applies", skip_all)]
    pub(super) async fn applies(
        &self,
        caller: &Caller,
        request: pb::ListAppliesRequest,
    ) -> Result<pb::ListAppliesResponse, Status> {
        let wanted = asked::applies(caller, request)?;
        // One more than the page holds says whether there is another page.
        let found = self
            .store
            .applies(caller, wanted.before, &wanted.filter, wanted.size + 1);
        let mut found = found.await.map_err(status::of)?;
        let size = wanted.size as usize;
        let is_last = found.len() <= size;
        found.truncate(size);
        let next = found.last().filter(|_| !is_last).map(|(apply, _)| apply.id);
        Ok(pb::ListAppliesResponse {
            applies: found
                .iter()
                .map(|(apply, now)| answer::apply(apply, now))
                .collect(),
            next_page_token: next
                .map(|id| wanted.scope.token([id.0]))
                .unwrap_or_default(),
        })
    }

    #[tracing::instrument(name = "rpc.list_devices", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn devices(
        &self,
        caller: &Caller,
        request: pb::ListDevicesRequest,
    ) -> Result<pb::ListDevicesResponse, Status> {
        let wanted = asked::devices(caller, request)?;
        self.store
            .apply(caller, wanted.apply)
            .await
            .map_err(status::of)?;
        let page = self.store.devices(
            caller,
            wanted.apply,
            wanted.from,
            &wanted.outcomes,
            wanted.size,
        );
        let page = page.await.map_err(status::of)?;
        Ok(pb::ListDevicesResponse {
            next_page_token: page
                .next
                .map(|from| wanted.scope.token([from.into()]))
                .unwrap_or_default(),
            devices: page.devices.into_iter().map(answer::device).collect(),
        })
    }
}
