//! Storing a submission.

use super::{Error, Store, newcomers::Newcomer};
use crate::{
    domain::{Apply, Caller, RequestKey, Snapshot, Submission},
    telemetry::trace,
};

impl Store {
    /// Stores a submission with its chunks, rounds and first event, in one transaction. One that was
    /// stored before under the same key is not stored again. Fails with [`Error::QueueFull`] if too
    /// many devices are on their way.
    pub async fn submit(
        &self,
        caller: &Caller,
        submission: &Submission,
        key: Option<&RequestKey>,
    ) -> Result<(Apply, Snapshot), Error> {
        self.submit_for(caller, submission, key, trace::traceparent())
            .await
    }

    #[tracing::instrument(name = "submit", target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "submit"))]
    async fn submit_for(
        &self,
        caller: &Caller,
        submission: &Submission,
        key: Option<&RequestKey>,
        traceparent: Option<String>,
    ) -> Result<(Apply, Snapshot), Error> {
        if let Err(full) = self.admit(submission.len() - submission.refused()).await {
            // What was let in before is answered all the same.
            return self.answered(caller, key).await?.ok_or(full);
        }
        let (counts, heading) = (submission.counts(), submission.heading.clone());
        let detail = format!(
            "{} devices, after_check {}",
            counts.total(),
            heading.after_check
        );
        let newcomer = Newcomer {
            caller: caller.clone(),
            heading,
            counts,
            status: submission.status(),
            sealed: true,
            key: key.cloned(),
            traceparent,
            detail,
            chunks: submission.chunks().iter().map(Into::into).collect(),
        };
        match self.enter(newcomer).await? {
            (newcomer, Some(stored)) => Ok(newcomer.answer(stored)),
            (Newcomer { key: Some(key), .. }, None) => self.answer_of_the_first(caller, &key).await,
            (Newcomer { key: None, .. }, None) => unreachable!("only a request can be known"),
        }
    }
}
