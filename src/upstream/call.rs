//! One call: prepared ahead of its slot, sent as often as asked, judged when it ends.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::bytes::Bytes;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::upstream::{
    Client,
    action::Action,
    answers::Take,
    asked::Asked,
    clock::{self, Lesson},
    errors::{Error, Scope},
    heard::Heard,
    observed,
    reading::Reply,
    signature::{Request, sha256},
};

const USER_AGENT: &str = concat!("registrar/", env!("CARGO_PKG_VERSION"));
const FORM: &str = "application/x-www-form-urlencoded";

/// The largest answer that is read. 10,000 refused devices with the longest names, nicknames (in
/// `\u` escapes) and two messages each are about 5 MB.
pub(super) const MAX_ANSWER: u64 = 16 << 20;

/// A prepared call: body built and hashed; nothing sent yet. Each send has a new nonce, unless it is
/// given one.
#[derive(Clone)]
pub struct Call<T> {
    client: Client,
    action: Action,
    query: String,
    /// With the body, which is empty with most actions.
    asked: Arc<Asked>,
    body_sha256: String,
    take: Take<T>,
    /// What every send is signed with; anew each time if there is none.
    stamp: Option<Stamp>,
}

/// What sets a request apart from others that ask for the same. With it, the same call by the same
/// key makes the same request to the last byte, so that the gateway knows one that it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub nonce: Uuid,
    /// As it is signed, in whole seconds.
    pub date: OffsetDateTime,
}

/// What became of one send.
#[derive(Debug)]
pub struct Answer<T> {
    pub outcome: Result<T, Error>,
    /// The upstream's name for this call, good for asking its support.
    pub request_id: Option<String>,
    /// Known as soon as the answer begins.
    pub http_status: Option<u16>,
    /// From the send to the end of the answer, or to giving up.
    pub took: Duration,
    /// When the upstream answered, by its own clock where it said so and by ours otherwise.
    pub at: OffsetDateTime,
    /// How far the upstream's clock is ahead of this machine's, if the answer had a date: vague by
    /// its whole seconds and the way of the answer.
    pub skew: Option<time::Duration>,
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("action", &self.action)
            .field("query", &self.query)
            .field("body_bytes", &self.asked.body().len())
            .finish_non_exhaustive()
    }
}

impl<T> Call<T> {
    pub(super) fn new(
        client: &Client,
        action: Action,
        query: String,
        body: Bytes,
        take: Take<T>,
    ) -> Self {
        let body_sha256 = sha256(&body);
        Self {
            client: client.clone(),
            action,
            query,
            asked: Arc::new(Asked::new(action, body, &client.shared.redaction)),
            body_sha256,
            take,
            stamp: None,
        }
    }

    /// The same call, every send of which has this nonce and this date: for one that must not be
    /// carried out twice, whose answer was lost. [`Error::nonce_used`] then tells that it had
    /// arrived, and [`Error::expired`] that nobody can tell this way any more.
    pub fn stamped(self, stamp: Stamp) -> Self {
        Self {
            stamp: Some(stamp),
            ..self
        }
    }

    /// The same call, of whose answer something else is wanted.
    pub(super) fn taking<U>(self, take: Take<U>) -> Call<U> {
        Call {
            client: self.client,
            action: self.action,
            query: self.query,
            asked: self.asked,
            body_sha256: self.body_sha256,
            take,
            stamp: self.stamp,
        }
    }

    pub fn action(&self) -> Action {
        self.action
    }

    /// Sends now, giving up at `deadline`, and never later than the client's own timeout. `date`
    /// is the one that is signed; `None` means now. At most one request reaches the upstream.
    pub async fn send(&self, deadline: Instant, date: Option<OffsetDateTime>) -> Answer<T> {
        let stamp = self.stamp.unwrap_or_else(|| Stamp {
            nonce: Uuid::new_v4(),
            date: date.unwrap_or_else(|| self.client.now()),
        });
        let asked = date.is_some() || self.stamp.is_some();
        let span = observed::span(&self.client, self.action);
        let answer = self
            .send_as(stamp, asked, deadline)
            .instrument(span.clone())
            .await;
        observed::tell(&span, self.action, &answer);
        answer
    }

    /// `asked` tells that the caller has chosen the date.
    async fn send_as(&self, stamp: Stamp, asked: bool, deadline: Instant) -> Answer<T> {
        let begun = Instant::now();
        let deadline = deadline.min(begun + self.client.shared.timeout);
        let mut heard = Heard::default();
        let body = if deadline <= begun {
            Err(Error::unsent(
                "the time for this call was over before it was sent",
                None,
            ))
        } else {
            // Also a connection that was still being made ends here as "may have been done";
            // the connect timeout, being shorter, nearly always comes first.
            tokio::time::timeout_at(deadline, self.exchange(stamp, &mut heard))
                .await
                .unwrap_or_else(|_| Err(Error::unclear("the answer did not come in time", None)))
        };
        let outcome = body
            .and_then(|body| self.read(&body, &mut heard))
            .map_err(|error| self.with_hints(error, &heard, stamp.date, asked));
        let at = heard.date.as_deref().and_then(clock::parse);
        Answer {
            outcome,
            at: at.unwrap_or_else(|| self.client.shared.clock.now()),
            request_id: heard.request_id,
            http_status: heard.http_status,
            skew: heard.skew,
            took: begun.elapsed(),
        }
    }

    /// Sends the request and reads the whole of the answer.
    async fn exchange(&self, stamp: Stamp, heard: &mut Heard) -> Result<Vec<u8>, Error> {
        let shared = &self.client.shared;
        let mut url = shared.origin.clone();
        url.set_query(Some(&self.query));
        let request = shared
            .http
            .post(url)
            .headers(self.headers(stamp))
            .body(self.asked.body().clone());
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                Error::unsent("the upstream cannot be reached", Some(error))
            } else {
                Error::unclear("the connection broke before an answer came", Some(error))
            }
        })?;
        heard.listen(&response, &self.asked);
        if response
            .content_length()
            .is_some_and(|length| length > MAX_ANSWER)
        {
            return Err(too_long());
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 > MAX_ANSWER => {
                    return Err(too_long());
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(error) => return Err(Error::unclear("the answer was cut off", Some(error))),
            }
        }
    }

    fn headers(&self, stamp: Stamp) -> HeaderMap {
        let shared = &self.client.shared;
        let has_body = !self.asked.body().is_empty();
        let request = Request {
            action: self.action.name(),
            host: &shared.host,
            query: &self.query,
            content_type: has_body.then_some(FORM),
            body_sha256: &self.body_sha256,
            user_agent: USER_AGENT,
            date: &clock::format(stamp.date),
            nonce: &stamp.nonce.to_string(),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in request.sign(&shared.credentials) {
            let mut value = HeaderValue::try_from(value)
                .expect("the credentials were checked, and all else is plain ASCII");
            value.set_sensitive(matches!(name, "authorization" | "x-acs-security-token"));
            headers.insert(name, value);
        }
        if !has_body {
            // Left to itself, the HTTP client says nothing about a body that is not there.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        headers
    }

    /// Takes the answer apart. A RequestId in the body counts before one in the head.
    fn read(&self, body: &[u8], heard: &mut Heard) -> Result<T, Error> {
        let reply = Reply {
            http_status: heard.http_status.unwrap_or_default(),
            body,
            asked: &self.asked,
        };
        let (request_id, read) = reply.read(self.take);
        heard.request_id = request_id.or(heard.request_id.take());
        read
    }

    fn with_hints(
        &self,
        mut error: Error,
        heard: &Heard,
        signed: OffsetDateTime,
        asked: bool,
    ) -> Error {
        error.retry_after = heard.retry_after;
        if error.scope == Scope::Clock {
            match self
                .client
                .shared
                .clock
                .learn(heard.date.as_deref(), signed, asked)
            {
                Lesson::Nothing => {}
                Lesson::Corrected => error.clock_corrected = true,
                Lesson::OldDate => error.scope = Scope::Call,
            }
        }
        error
    }
}

fn too_long() -> Error {
    Error::unclear("the answer is longer than any answer of the upstream", None)
}
