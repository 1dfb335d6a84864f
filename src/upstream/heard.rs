//! The head of an answer.

use std::time::Duration;

use reqwest::{
    Response,
    header::{DATE, RETRY_AFTER},
};

use crate::upstream::{clock, secret::Redaction};

/// The longest pause that the upstream may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What is known of an answer once its head is in, even if the rest never comes.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) http_status: Option<u16>,
    pub(super) request_id: Option<String>,
    pub(super) date: Option<String>,
    pub(super) skew: Option<time::Duration>,
    pub(super) retry_after: Option<Duration>,
}

impl Heard {
    pub(super) fn listen(&mut self, response: &Response, redaction: &Redaction) {
        let header = |name: &str| {
            let text = response.headers().get(name)?.to_str().ok()?;
            Some(redaction.clean(text)).filter(|text| !text.is_empty())
        };
        let number = |name: &str| {
            header(name)?
                .parse::<u64>()
                .ok()
                .filter(|number| *number > 0)
        };
        self.http_status = Some(response.status().as_u16());
        self.request_id = header("x-acs-request-id");
        self.date = header(DATE.as_str());
        // Taken now, since a long body would make the date look old.
        self.skew = self.date.as_deref().and_then(clock::skew);
        self.retry_after = number("x-acs-retry-after")
            .map(Duration::from_millis)
            .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))
            .map(|pause| pause.min(MAX_RETRY_AFTER));
    }
}
