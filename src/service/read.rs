//! GetApply: an apply as it stands, with the two lists of names that the upstream documents define.

use tonic::Status;

use super::{Service, answer, convert, status};
use crate::{
    domain::{ApplyId, ApplyStatus, Caller, Outcome},
    proto as pb,
    store::{DevicesPage, Error},
};

/// Names in each list. Promised in the proto; what is longer is truncated and ListDevices has it.
const LISTED: usize = 10_000;

impl Service {
    #[tracing::instrument(name = "rpc.get_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn apply(
        &self,
        caller: &Caller,
        request: pb::GetApplyRequest,
    ) -> Result<pb::GetApplyResponse, Status> {
        let id = convert::apply_id(request.apply_id)?;
        self.described(caller, id, request.include_lists)
            .await
            .map_err(status::of)
    }

    async fn described(
        &self,
        caller: &Caller,
        id: ApplyId,
        include_lists: bool,
    ) -> Result<pb::GetApplyResponse, Error> {
        loop {
            let (apply, now) = self.store.apply(caller, id).await?;
            let mut response = pb::GetApplyResponse {
                apply: Some(answer::apply(&apply, &now)),
                waiting_for: self
                    .waits
                    .now(&self.store, &apply, &now)
                    .await?
                    .map(answer::waiting_for),
                ..Default::default()
            };
            let Some((valid, invalid)) = listed_in(now.status).filter(|_| include_lists) else {
                return Ok(response);
            };
            let valid = self.store.devices(caller, id, 0, valid, LISTED).await?;
            let invalid = self.store.devices(caller, id, 0, invalid, LISTED).await?;
            // Lists and status belong together only if nothing changed while they were read. Only a
            // caller's request moves an apply on from here, so this ends.
            if self.store.apply(caller, id).await?.1.revision == now.revision {
                response.truncated = valid.next.is_some() || invalid.next.is_some();
                response.valid_list = names(valid);
                response.invalid_list = names(invalid);
                return Ok(response);
            }
        }
    }
}

/// The outcomes whose names are in ValidList and in InvalidList, in the statuses that have lists.
fn listed_in(status: ApplyStatus) -> Option<(&'static [Outcome], &'static [Outcome])> {
    use Outcome as O;
    match status {
        ApplyStatus::CheckFailed => Some((&[O::Valid], &[O::Invalid])),
        ApplyStatus::CreateFailed => Some((
            &[O::Created],
            &[
                O::Pending,
                O::Valid,
                O::Invalid,
                O::Failed,
                O::Unknown,
                O::Cancelled,
            ],
        )),
        ApplyStatus::Check
        | ApplyStatus::CheckSuccess
        | ApplyStatus::Create
        | ApplyStatus::CreateSuccess
        | ApplyStatus::Cancelled => None,
    }
}

fn names(page: DevicesPage) -> Vec<String> {
    page.devices.into_iter().map(|device| device.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_a_status_share_no_device() {
        for status in ApplyStatus::ALL {
            if let Some((valid, invalid)) = listed_in(*status) {
                assert!(
                    valid.iter().all(|outcome| !invalid.contains(outcome)),
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn after_a_creation_the_two_lists_name_every_device() {
        let (created, others) = listed_in(ApplyStatus::CreateFailed).unwrap();

        assert!(
            Outcome::ALL
                .iter()
                .all(|o| created.contains(o) || others.contains(o))
        );
    }
}
