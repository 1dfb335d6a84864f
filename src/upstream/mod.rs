//! Upstream: all HTTP to Alibaba's IoT API, or to the simulator that speaks it.
//!
//! A [`Call`] is prepared first (body built and hashed) and sent when its slot comes; every send
//! has a nonce of its own. What comes back is judged here, next to where it is made: each
//! [`Error`] says whether the same call may be made again, whether it may have been done, and how
//! far its cause reaches. Nothing is ever sent twice from in here, no redirect is followed, and
//! success is only what the upstream itself called success.
//!
//! Secrets stay in: no text that leaves this room holds the key, the token or a URL with a query.
//!
//! Start at [`Client`]; every code of the upstream is judged in one match in `codes`.

mod call;
mod client;
mod clock;
mod codes;
mod errors;
mod loose;
mod product;
mod refused;
mod secret;
mod signature;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

pub use self::{
    call::{Action, Answer, Call, Product},
    client::Client,
    errors::{Error, Scope, Verdict},
    product::ProductInfo,
    refused::{Kind, Refused},
    secret::Secret,
    wire::{Checked, Page, Phase, Registered, Status},
};

/// Where the upstream is, and as whom it is called.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Base URL of the upstream, without a path. Derived from the region when it is not given:
    /// `https://iot.<region>.aliyuncs.com`.
    #[arg(long, env = "REGISTRAR_UPSTREAM_URL")]
    pub upstream_url: Option<String>,

    /// Region of the IoT Platform, such as cn-shanghai or ap-southeast-1.
    #[arg(long, env = "REGISTRAR_UPSTREAM_REGION", default_value = "cn-shanghai")]
    pub upstream_region: String,

    /// AccessKey ID that signs every call.
    #[arg(long, env = "REGISTRAR_UPSTREAM_ACCESS_KEY_ID")]
    pub upstream_access_key_id: Option<String>,

    /// AccessKey secret. Better set by environment than by flag, which other users of the
    /// machine can see.
    #[arg(
        long,
        env = "REGISTRAR_UPSTREAM_ACCESS_KEY_SECRET",
        hide_env_values = true
    )]
    pub upstream_access_key_secret: Option<Secret>,

    /// Security token, if the AccessKey is a temporary one of STS.
    #[arg(
        long,
        env = "REGISTRAR_UPSTREAM_SECURITY_TOKEN",
        hide_env_values = true
    )]
    pub upstream_security_token: Option<Secret>,

    /// How long one call may take, from connecting to the last byte of the answer.
    #[arg(long, env = "REGISTRAR_UPSTREAM_TIMEOUT", default_value = "20s",
          value_parser = humantime::parse_duration)]
    pub upstream_timeout: Duration,

    /// How long connecting may take, TLS included.
    #[arg(long, env = "REGISTRAR_UPSTREAM_CONNECT_TIMEOUT", default_value = "5s",
          value_parser = humantime::parse_duration)]
    pub upstream_connect_timeout: Duration,
}

impl Options {
    /// Refuses settings with which no call could be made. Texts that are empty count as not set.
    pub fn check(&self) -> Result<(), String> {
        client::origin(self)?;
        client::credentials(self)?;
        if self.upstream_connect_timeout.is_zero() {
            return Err("the upstream connect timeout must be more than zero".into());
        }
        if self.upstream_timeout < self.upstream_connect_timeout {
            return Err(format!(
                "--upstream-timeout is {:?} and must be at least --upstream-connect-timeout, \
                 which is {:?}",
                self.upstream_timeout, self.upstream_connect_timeout
            ));
        }
        Ok(())
    }
}
