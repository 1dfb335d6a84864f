//! What every call depends on: the way to the endpoint, its region, the clock, the key and the
//! account.

use std::time::Duration;

use super::{
    asked::{Evidence, Obstacle, code, words},
    report::Line,
};
use crate::upstream::{Client, Error, Scope};

/// Beyond this the upstream refuses a signature (its page on V3 signatures).
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// Beyond this a clock is not kept by anyone, and may leave the window soon. A Date is whole
/// seconds, and as old as its answer took.
const DRIFTS: Duration = Duration::from_secs(60);

/// Where the IoT Platform is, by its page on regions and endpoints.
const REGIONS: [(&str, &str); 8] = [
    ("cn-shanghai", "China (Shanghai)"),
    (
        "cn-beijing",
        "China (Beijing), enterprise instances only: give --iot-instance-id",
    ),
    (
        "cn-shenzhen",
        "China (Shenzhen), enterprise instances only: give --iot-instance-id",
    ),
    ("ap-southeast-1", "Singapore"),
    ("ap-northeast-1", "Japan (Tokyo)"),
    ("us-west-1", "US (Silicon Valley)"),
    ("us-east-1", "US (Virginia)"),
    ("eu-central-1", "Germany (Frankfurt)"),
];

pub(super) fn reach(endpoint: &str, evidence: &Evidence) -> Line {
    let heard = &evidence.product;
    let said = heard.outcome.as_ref().err().map(words).unwrap_or_default();
    match heard.obstacle() {
        Some(Obstacle::Silence) => Line::stop(
            "reach",
            format!("{endpoint} gives no answer: {said}"),
            "check --upstream-region and --upstream-url, the resolver and the firewall; calls go \
             straight there, through no proxy",
        ),
        Some(Obstacle::Garbage) => Line::stop(
            "reach",
            format!("{endpoint} does not answer as the upstream does: {said}"),
            "check --upstream-url, and whether a proxy or another server answers in its place; if \
             neither is so, try again later",
        ),
        Some(Obstacle::Date | Obstacle::Key | Obstacle::Account) | None => {
            let took = Duration::from_millis(heard.took.as_millis() as u64);
            let took = humantime::format_duration(took);
            Line::ok("reach", format!("{endpoint} answers, in {took}"))
        }
    }
}

pub(super) fn region(endpoint: &str, evidence: &Evidence) -> Line {
    let Some(region) = region_of(endpoint) else {
        return Line::skip(
            "region",
            "this endpoint does not tell its region; see that it is the product's",
        );
    };
    match REGIONS.iter().find(|(known, _)| *known == region) {
        Some((_, place)) => Line::ok("region", format!("{region}, {place}")),
        None => {
            let found = format!("the upstream's documents know no region {region}");
            let known: Vec<_> = REGIONS.iter().map(|(known, _)| *known).collect();
            let todo = format!("set --upstream-region to one of {}", known.join(", "));
            match evidence.product.obstacle() {
                Some(Obstacle::Silence | Obstacle::Garbage) => Line::fail("region", found, todo),
                _ => Line::warn("region", found, todo),
            }
        }
    }
}

/// The region that the name of an endpoint holds; one within a VPC has it too.
pub(super) fn region_of(endpoint: &str) -> Option<&str> {
    let (_, host) = endpoint.split_once("://")?;
    let name = host.split(':').next()?.strip_suffix(".aliyuncs.com")?;
    name.strip_prefix("iot.")
        .or_else(|| name.strip_prefix("iot-vpc."))
}

pub(super) fn clock(evidence: &Evidence) -> Line {
    let refused = evidence.product.obstacle() == Some(Obstacle::Date);
    let Some(skew) = evidence.product.skew else {
        let found = "the answer has no date to compare with";
        return match refused {
            true => Line::stop(
                "clock",
                format!("{found}, and the date of the call is refused"),
                set_it(),
            ),
            false => Line::skip("clock", found),
        };
    };
    let off = Duration::from_secs(skew.unsigned_abs().as_secs());
    let found = match off {
        off if off <= Duration::from_secs(1) => "agrees with the upstream's".to_owned(),
        off => {
            let side = if skew.is_positive() {
                "behind"
            } else {
                "ahead of"
            };
            let off = humantime::format_duration(off);
            format!("this machine's is {off} {side} the upstream's")
        }
    };
    if refused {
        Line::stop("clock", format!("{found}, and calls are refused"), set_it())
    } else if off > WINDOW {
        Line::fail("clock", found, set_it())
    } else if off > DRIFTS {
        Line::warn("clock", found, set_it())
    } else {
        Line::ok("clock", found)
    }
}

fn set_it() -> &'static str {
    "set the clock of this machine and have it kept by NTP; the upstream refuses calls that are \
     more than 15 minutes off"
}

pub(super) fn key(client: &Client, evidence: &Evidence) -> Line {
    let id = client.masked_key_id();
    if let Some(error) = evidence.refusal(Obstacle::Key) {
        return Line::stop("key", format!("{id}: {}", words(error)), mend_key(error));
    }
    if !evidence.all().any(accepted) {
        let said = evidence.all().find_map(Result::err).map(words);
        let said = said.unwrap_or_default();
        return Line::skip("key", format!("{id}: no answer tells: {said}"));
    }
    if client.has_temporary_key() {
        return Line::warn(
            "key",
            format!("{id}: signed calls are accepted, and the key is a temporary one"),
            "use the key of a RAM user for anything that is to last: a token of STS ends within \
             hours and is not renewed",
        );
    }
    Line::ok("key", format!("{id}: signed calls are accepted"))
}

fn mend_key(error: &Error) -> &'static str {
    match code(error).as_str() {
        "invalidaccesskeyid.notfound" => {
            "check REGISTRAR_UPSTREAM_ACCESS_KEY_ID; the key of another site (alibabacloud.com, \
             aliyun.com), a deleted one, or a temporary one without \
             REGISTRAR_UPSTREAM_SECURITY_TOKEN is not found either"
        }
        "invalidaccesskeyid.inactive" => "enable the key in the RAM console, or use another",
        "missingsecuritytoken" => {
            "the key is a temporary one: set REGISTRAR_UPSTREAM_SECURITY_TOKEN"
        }
        "invalidsecuritytoken.expired" => {
            "take a new key, secret and token from STS, or better the key of a RAM user, which lasts"
        }
        code if code.starts_with("invalidsecuritytoken") => {
            "set key, secret and token from one and the same answer of STS; without STS, unset \
             REGISTRAR_UPSTREAM_SECURITY_TOKEN"
        }
        code if code.starts_with("invalidaccesskeyid") => {
            "look at the key in the RAM console, or use another"
        }
        _ => {
            "set REGISTRAR_UPSTREAM_ACCESS_KEY_SECRET to the secret that belongs to this key; if it \
             does, see that nothing on the way changes requests"
        }
    }
}

pub(super) fn account(evidence: &Evidence) -> Line {
    if let Some(error) = evidence.refusal(Obstacle::Account) {
        let todo = match code(error).as_str() {
            "iot.system.billisoverdue" => {
                "settle the account's bill; what waits in `serve` goes on by itself then"
            }
            "iot.system.uidnotfound" => {
                "activate the IoT Platform for this account, in its console and in this region"
            }
            _ => "use a key of the account that owns the product and the instance",
        };
        return Line::stop("account", words(error), todo);
    }
    // A refused permission may come from in front of the service, which then has not been heard.
    let served = |answer: Result<(), &Error>| match answer {
        Ok(()) => true,
        Err(error) => code(error).starts_with("iot.") && error.scope != Scope::Lane,
    };
    if evidence.all().any(served) {
        Line::ok("account", "the IoT Platform serves it")
    } else {
        Line::skip("account", "no answer of the IoT Platform itself tells")
    }
}

/// Whether an answer shows that the signature was found right: it comes from the service, or is
/// about permissions.
fn accepted(answer: Result<(), &Error>) -> bool {
    let Err(error) = answer else { return true };
    let code = code(error);
    code.starts_with("iot.") || code.starts_with("forbidden")
}
