//! The settings of the gateway, which stands before every action.

use std::time::Duration;

use humantime::parse_duration;
use serde::{Deserialize, Serialize};

/// The window of the V3 page; the V2 page says 31 minutes.
const TIME_WINDOW: Duration = Duration::from_secs(15 * 60);
/// As long as the date of a call can be valid, from a window ahead of it to one after.
const NONCE_MEMORY: Duration = Duration::from_secs(2 * 15 * 60);

/// What the gateway accepts, and how it refuses. Where a default is a guess it is because nothing
/// is published.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct GatewayOptions {
    /// The security token that goes with the temporary access key `STS.simulator`, whose secret is
    /// `simulator-sts-secret`.
    #[arg(
        id = "simulator_security_token",
        long = "simulator-security-token",
        env = "REGISTRAR_SIMULATOR_SECURITY_TOKEN"
    )]
    #[arg(default_value = "simulator-token", value_name = "TOKEN")]
    pub security_token: String,

    /// How far the date of a call may be from the simulator's clock, either way.
    #[arg(
        id = "simulator_time_window",
        long = "simulator-time-window",
        env = "REGISTRAR_SIMULATOR_TIME_WINDOW"
    )]
    #[arg(default_value = "15m", value_parser = parse_duration, value_name = "DURATION")]
    pub time_window: Duration,

    /// How long a nonce is remembered, and its second use refused with SignatureNonceUsed; 0s
    /// means that none is. How long the upstream remembers is not published.
    #[arg(
        id = "simulator_nonce_memory",
        long = "simulator-nonce-memory",
        env = "REGISTRAR_SIMULATOR_NONCE_MEMORY"
    )]
    #[arg(default_value = "30m", value_parser = parse_duration, value_name = "DURATION")]
    pub nonce_memory: Duration,

    /// The HTTP status of a call above its quota. Both are attested.
    #[arg(
        id = "simulator_throttling_status",
        long = "simulator-throttling-status",
        env = "REGISTRAR_SIMULATOR_THROTTLING_STATUS"
    )]
    #[arg(default_value = "400", value_enum)]
    pub throttling_status: ThrottlingStatus,

    /// What the header `x-acs-retry-after` of a throttled call says, in whole milliseconds; without
    /// this the header is not sent.
    #[arg(
        id = "simulator_retry_after",
        long = "simulator-retry-after",
        env = "REGISTRAR_SIMULATOR_RETRY_AFTER"
    )]
    #[arg(value_parser = parse_duration, value_name = "DURATION")]
    pub retry_after: Option<Duration>,
}

/// The HTTP status of a call above its quota.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum ThrottlingStatus {
    #[default]
    #[value(name = "400")]
    BadRequest,
    #[value(name = "429")]
    TooManyRequests,
}

impl ThrottlingStatus {
    pub(super) fn code(self) -> u16 {
        match self {
            ThrottlingStatus::BadRequest => 400,
            ThrottlingStatus::TooManyRequests => 429,
        }
    }
}

impl TryFrom<u16> for ThrottlingStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<ThrottlingStatus, Self::Error> {
        match status {
            400 => Ok(ThrottlingStatus::BadRequest),
            429 => Ok(ThrottlingStatus::TooManyRequests),
            _ => Err("a throttled call has status 400 or 429"),
        }
    }
}

impl From<ThrottlingStatus> for u16 {
    fn from(status: ThrottlingStatus) -> u16 {
        status.code()
    }
}

impl Default for GatewayOptions {
    fn default() -> Self {
        GatewayOptions {
            security_token: "simulator-token".into(),
            time_window: TIME_WINDOW,
            nonce_memory: NONCE_MEMORY,
            throttling_status: ThrottlingStatus::BadRequest,
            retry_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        gateway: GatewayOptions,
    }

    #[test]
    fn throttling_has_two_statuses_and_spans_have_units() {
        let parse = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.gateway);

        let told = "simulate --simulator-throttling-status 429 --simulator-retry-after 250ms";
        let gateway = parse(told).unwrap();
        assert_eq!(gateway.throttling_status.code(), 429);
        assert_eq!(gateway.retry_after, Some(Duration::from_millis(250)));
        assert!(parse("simulate --simulator-throttling-status 500").is_err());
        assert!(parse("simulate --simulator-time-window 15").is_err());
    }
}
