//! ExplainApply: the history of an apply, for whoever asks why.

use time::OffsetDateTime;
use tonic::Status;

use super::{Service, answer, complaints::Complaints, page_token::Scope, status};
use crate::{
    domain::{Apply, ApplyId, Caller},
    proto as pb,
    store::{Entry, Happened, Moment},
};

/// What is to be explained.
#[derive(Debug)]
struct Wanted {
    apply: ApplyId,
    after: Option<Moment>,
    size: u32,
    scope: Scope,
}

impl Service {
    #[tracing::instrument(name = "rpc.explain_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn explained(
        &self,
        caller: &Caller,
        request: pb::ExplainApplyRequest,
    ) -> Result<pb::ExplainApplyResponse, Status> {
        let wanted = wanted(caller, &request)?;
        // One more than the page holds says whether there is another page.
        let history = self
            .store
            .history(caller, wanted.apply, wanted.after, wanted.size + 1);
        let (apply, now, mut entries) = history.await.map_err(status::of)?;
        let size = wanted.size as usize;
        let is_last = entries.len() <= size;
        entries.truncate(size);
        let next = entries.last().filter(|_| !is_last);
        let waiting = self.store.waiting(&apply, &now).await.map_err(status::of)?;
        Ok(pb::ExplainApplyResponse {
            next_page_token: next
                .map(|entry| wanted.scope.token(cursor(entry.moment)))
                .unwrap_or_default(),
            apply: Some(answer::apply(&apply, &now)),
            entries: entries.into_iter().map(|it| told(&apply, it)).collect(),
            waiting_for: waiting.map(answer::waiting_for),
        })
    }
}

fn wanted(caller: &Caller, request: &pb::ExplainApplyRequest) -> Result<Wanted, Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(request.apply_id);
    let size = complaints.about_page_size(request.page_size, 1_000, 10_000);
    let scope = Scope::new(
        &caller.tenant,
        "ExplainApply",
        &[&request.apply_id.to_be_bytes()],
    );
    let after = complaints.about_page_token(&scope, &request.page_token);
    complaints.refuse()?;
    Ok(Wanted {
        apply: ApplyId(request.apply_id),
        after: after.and_then(moment),
        size,
        scope,
    })
}

fn cursor(moment: Moment) -> [i64; 3] {
    // Until the year 292,277 the microseconds fit.
    let micros = moment.at.unix_timestamp_nanos() / 1_000;
    [micros as i64, moment.kind, moment.number]
}

fn moment([micros, kind, number]: [i64; 3]) -> Option<Moment> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()?;
    Some(Moment { at, kind, number })
}

fn told(apply: &Apply, entry: Entry) -> pb::HistoryEntry {
    use pb::history_entry::What;
    let what = match entry.what {
        Happened::Event(snapshot) => What::Event(answer::apply(apply, &snapshot)),
        Happened::Call {
            action,
            round_no,
            upstream_apply,
            took_ms,
            result,
            message,
            request_id,
        } => What::Call(pb::UpstreamCall {
            action,
            round: round_no,
            upstream_apply_id: upstream_apply.unwrap_or_default(),
            took_ms,
            result,
            message: message.unwrap_or_default(),
            request_id: request_id.unwrap_or_default(),
        }),
    };
    pb::HistoryEntry {
        time: Some(answer::timestamp(entry.moment.at)),
        what: Some(what),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_moment_comes_back_from_its_token_to_the_microsecond() {
        let told = Moment {
            at: datetime!(2026-11-22 12:00:00.123456 UTC),
            kind: 1,
            number: 7,
        };
        let ask = |apply_id, page_token: &str| {
            let request = pb::ExplainApplyRequest {
                apply_id,
                page_size: 0,
                page_token: page_token.into(),
            };
            wanted(&Caller::anyone(), &request)
        };
        let token = ask(7, "").unwrap().scope.token(cursor(told));

        assert_eq!(ask(7, &token).unwrap().after, Some(told));
        assert!(ask(8, &token).is_err());
        assert_eq!(ask(7, "").unwrap().size, 1_000);
    }
}
