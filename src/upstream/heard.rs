//! The head of an answer.

use std::time::Duration;

use reqwest::{
    Response,
    header::{DATE, RETRY_AFTER},
};

use crate::upstream::{asked::Asked, clock};

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
    pub(super) fn listen(&mut self, response: &Response, asked: &Asked) {
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let number = |name: &str| {
            header(name)?
                .trim()
                .parse::<u64>()
                .ok()
                .filter(|number| *number > 0)
        };
        self.http_status = Some(response.status().as_u16());
        let request_id = header("x-acs-request-id").map(|text| asked.clean(text));
        self.request_id = request_id.filter(|text| !text.is_empty());
        // Only a date is kept, so that it needs no cleaning.
        let date = header(DATE.as_str()).filter(|text| clock::parse(text).is_some());
        self.date = date.map(str::to_owned);
        // Taken now, since a long body would make the date look old.
        self.skew = self.date.as_deref().and_then(clock::skew);
        self.retry_after = number("x-acs-retry-after")
            .map(Duration::from_millis)
            .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))
            .map(|pause| pause.min(MAX_RETRY_AFTER));
    }
}
