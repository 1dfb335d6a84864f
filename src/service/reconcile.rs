//! Reconcile: what became of UNKNOWN devices is asked at once.

use tonic::Status;

use super::{Service, complaints::Complaints, status};
use crate::{
    domain::{ApplyId, Caller},
    proto as pb,
};

impl Service {
    #[tracing::instrument(name = "rpc.reconcile", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn ask_after(
        &self,
        caller: &Caller,
        request: pb::ReconcileRequest,
    ) -> Result<pb::ReconcileResponse, Status> {
        let pb::ReconcileRequest {
            apply_id,
            after_apply_id,
        } = request;
        let mut complaints = Complaints::default();
        if apply_id < 0 {
            complaints.add(
                "apply_id",
                "must be 0, or the number that CheckDevices answered",
            );
        }
        if after_apply_id < 0 || after_apply_id > 0 && apply_id != 0 {
            complaints.add(
                "after_apply_id",
                "must be 0 with an apply_id, or else a next_after_apply_id",
            );
        }
        complaints.refuse()?;
        let only = (apply_id > 0).then_some(ApplyId(apply_id));
        let woken = self.store.reconcile(caller, only, ApplyId(after_apply_id));
        let woken = woken.await.map_err(status::of)?;
        tracing::info!(
            rounds = woken.rounds,
            applies = woken.applies.len(),
            "UNKNOWN devices are asked after"
        );
        Ok(pb::ReconcileResponse {
            rounds: woken.rounds as i64,
            apply_ids: woken.applies.iter().map(|id| id.0).collect(),
            next_after_apply_id: woken.next.map_or(0, |id| id.0),
        })
    }
}
