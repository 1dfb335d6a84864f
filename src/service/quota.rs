//! GetQuota: the level and use of each quota.

use tonic::Status;

use super::{Service, status};
use crate::proto as pb;

impl Service {
    #[tracing::instrument(name = "rpc.get_quota", skip_all)]
    pub(super) async fn quotas(&self) -> Result<pb::GetQuotaResponse, Status> {
        let uses = self.store.uses().await.map_err(status::of)?;
        let rate = |lane| {
            let known = self.rates.iter().find(|(of, _)| *of == lane);
            known.map_or(0.0, |(_, rate)| *rate)
        };
        let quotas = uses.into_iter().map(|(lane, used)| pb::Quota {
            action: lane.as_str().to_owned(),
            rate: rate(lane),
            calls_last_minute: number(used.calls_last_minute),
            rounds_due: number(used.rounds_due),
            slowed: used.slowed,
            blocked: used.blocked.unwrap_or_default(),
        });
        Ok(pb::GetQuotaResponse {
            quotas: quotas.collect(),
        })
    }
}

fn number(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
