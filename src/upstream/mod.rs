//! Upstream: all HTTP to Alibaba's IoT API, or to the simulator that speaks it.
//!
//! A [`Call`] is prepared first (body built and hashed) and sent when its slot comes; every send
//! has a nonce of its own, unless the caller fixes nonce and date to send the very same bytes again. What comes back is judged here, next to where it is made: each
//! [`Error`] says whether the same call may be made again, whether it may have been done, and how
//! far its cause reaches. Nothing is ever sent twice from in here, no redirect is followed, and
//! success is only what the upstream itself called success.
//!
//! Secrets stay in: no text that leaves this room holds the key, the token, a signature, what was
//! signed, a URL with a query, or a secret of a device that the call brought. What devices' secrets an
//! answer holds is handed on as [`crate::domain::DeviceSecret`] by the calls that say so, and skipped
//! by all others.
//!
//! Start at [`Client`]; every code of the upstream is judged in one match in `codes`.

mod action;
mod answers;
mod asked;
mod call;
mod client;
mod clock;
mod codes;
mod details;
mod errors;
mod form;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod heard;
mod imports;
mod loose;
mod observed;
mod options;
mod product;
mod reading;
mod refused;
mod secret;
mod signature;
#[cfg(test)]
mod tests;
mod wire;

#[cfg(fuzzing)]
pub use self::fuzz::any_answer;
pub use self::{
    action::{Action, Product},
    answers::{Checked, Page, Phase, Registered, Status},
    asked::without_secrets,
    call::{Answer, Call, Stamp},
    client::Client,
    details::{Credential, Credentials, Detail, Found, HUNDRED},
    errors::{Error, Scope, UNQUOTED, Verdict},
    imports::{CheckedImport, Imported, ImportedDevice},
    options::Options,
    product::ProductInfo,
    refused::{Kind, Refused},
    secret::Secret,
};
