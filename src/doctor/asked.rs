//! What is asked, and why none of it can change anything upstream.
//!
//! | action | asked with | why nothing comes of it |
//! |---|---|---|
//! | QueryProduct | the product | it only reads |
//! | BatchCheckDeviceNames | an empty list of names | there is nothing to check, and nothing that could be registered later: even an apply made of it would hold no device |
//! | QueryBatchRegisterDeviceStatus, QueryPageByApplyId | an apply that does not exist | they only read, and there is nothing to read |
//! | BatchRegisterDeviceWithApplyId | an apply that does not exist | only the names of a checked apply are registered, and there is none |
//!
//! A refusal of the arguments by the service is taken to tell that the action is allowed: RAM
//! stands before the service. That order is not published.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Options;
use crate::{
    domain::Lane,
    upstream::{Call, Client, Error, Product, ProductInfo},
};

/// The ApplyId of no apply. The upstream counts them up, and was at some millions after years
/// (samples in its documents), so that the last number there is will not be reached.
const NO_APPLY: i64 = i64::MAX;

/// Stands for the product where none is given. No ProductKey has a hyphen, so it is nobody's.
const NO_PRODUCT: &str = "registrar-doctor";

/// The lanes that are looked at, in the order in which they are asked: those that registering by
/// name needs.
pub(super) const LANES: [Lane; 4] = [Lane::Check, Lane::Status, Lane::Register, Lane::Page];

/// Sends of one call that is throttled, or whose date was refused. Quotas count over a second, so
/// a second later the answer tells what others on the account do.
const SENDS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Everything that the upstream answered.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) product: Heard<ProductInfo>,
    /// Empty if the answer about the product showed that nothing else would be answered.
    pub(super) lanes: Vec<(Lane, Heard<()>)>,
}

/// What was heard to one question.
#[derive(Debug)]
pub(super) struct Heard<T> {
    pub(super) outcome: Result<T, Error>,
    pub(super) http_status: Option<u16>,
    /// How far the upstream's clock is ahead of this machine's.
    pub(super) skew: Option<time::Duration>,
    pub(super) took: Duration,
    /// Whether a send of it was, even if another one was not.
    pub(super) throttled: bool,
}

/// What stands in the way of all calls alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// No answer.
    Silence,
    /// An answer that is none of the upstream.
    Garbage,
    /// The date of the call is refused.
    Date,
    /// The key, or the signature that was made with it.
    Key,
    /// The account, or its subscription.
    Account,
}

/// Asks everything there is to ask, each question for at most `within`. What is asked of the lanes
/// is refused; the table above says why it must be.
pub(super) async fn gather(client: &Client, options: &Options, within: Duration) -> Evidence {
    let subject = Product {
        product_key: options.product_key().unwrap_or(NO_PRODUCT),
        iot_instance_id: options.iot_instance_id(),
    };
    let product = ask(&client.product(subject), within).await;
    let lanes = match product.obstacle() {
        Some(_) => Vec::new(),
        None => {
            let names = client.check_names(subject, []);
            let status = client.status(subject, NO_APPLY);
            let register = client.register(subject, NO_APPLY);
            let page = client.page(subject, NO_APPLY, 1);
            let (names, status, register, page) = tokio::join!(
                ask(&names, within),
                ask(&status, within),
                ask(&register, within),
                ask(&page, within),
            );
            let heard = [
                names.drop_data(),
                status.drop_data(),
                register.drop_data(),
                page.drop_data(),
            ];
            LANES.into_iter().zip(heard).collect()
        }
    };
    Evidence { product, lanes }
}

async fn ask<T>(call: &Call<T>, within: Duration) -> Heard<T> {
    let deadline = Instant::now() + within;
    let mut throttled = false;
    let mut sends = 0;
    loop {
        let answer = call.send(deadline, None).await;
        sends += 1;
        let pause = match &answer.outcome {
            Err(error) if error.throttled() => {
                throttled = true;
                Some(error.retry_after.unwrap_or(PAUSE))
            }
            // The client has set its clock by the answer; whether that helps is worth knowing.
            Err(error) if error.clock_corrected => Some(Duration::ZERO),
            _ => None,
        };
        match pause.filter(|pause| sends < SENDS && Instant::now() + *pause < deadline) {
            Some(pause) => sleep(pause).await,
            None => {
                return Heard {
                    outcome: answer.outcome,
                    http_status: answer.http_status,
                    skew: answer.skew,
                    took: answer.took,
                    throttled,
                };
            }
        }
    }
}

impl Evidence {
    /// The answers to all questions, success without its data.
    pub(super) fn all(&self) -> impl Iterator<Item = Result<(), &Error>> {
        let product = self.product.outcome.as_ref().map(|_| ());
        let lanes = self.lanes.iter();
        [product]
            .into_iter()
            .chain(lanes.map(|(_, heard)| heard.outcome.as_ref().copied()))
    }

    /// The first refusal for this reason.
    pub(super) fn refusal(&self, obstacle: Obstacle) -> Option<&Error> {
        let mut errors = self.all().filter_map(Result::err);
        errors.find(|error| of_code(error) == Some(obstacle))
    }

    /// The first refusal with one of these codes, which are in lower case.
    pub(super) fn with_code(&self, codes: &[&str]) -> Option<&Error> {
        let mut errors = self.all().filter_map(Result::err);
        errors.find(|error| codes.contains(&code(error).as_str()))
    }

    pub(super) fn lane(&self, lane: Lane) -> Option<&Heard<()>> {
        let mut lanes = self.lanes.iter();
        lanes.find(|(of, _)| *of == lane).map(|(_, heard)| heard)
    }
}

impl<T> Heard<T> {
    /// What stood in the way of this call and will in the way of others.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        let error = self.outcome.as_ref().err()?;
        match (&error.code, self.http_status) {
            _ if error.throttled() => None,
            (Some(_), _) => of_code(error),
            (None, Some(_)) => Some(Obstacle::Garbage),
            (None, None) => Some(Obstacle::Silence),
        }
    }

    fn drop_data(self) -> Heard<()> {
        Heard {
            outcome: self.outcome.map(drop),
            http_status: self.http_status,
            skew: self.skew,
            took: self.took,
            throttled: self.throttled,
        }
    }
}

/// The code of a refusal in lower case, since the upstream's own spelling varies; empty if it had
/// none.
pub(super) fn code(error: &Error) -> String {
    let code = error.code.as_deref().unwrap_or_default();
    code.to_ascii_lowercase()
}

/// A failure in one line: what happened, and what is at the bottom of it.
pub(super) fn words(error: &Error) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

fn of_code(error: &Error) -> Option<Obstacle> {
    match code(error).as_str() {
        code if code.starts_with("invalidtimestamp") => Some(Obstacle::Date),
        "missingsecuritytoken" => Some(Obstacle::Key),
        code if [
            "invalidaccesskey",
            "signaturedoesnotmatch",
            "incompletesignature",
            "invalidsecuritytoken",
        ]
        .iter()
        .any(|start| code.starts_with(start)) =>
        {
            Some(Obstacle::Key)
        }
        "iot.system.uidnotfound" | "iot.system.billisoverdue" | "iot.common.invalidtenant" => {
            Some(Obstacle::Account)
        }
        _ => None,
    }
}
