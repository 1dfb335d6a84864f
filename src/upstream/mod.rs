//! Upstream: all HTTP to Alibaba's IoT API, or to the simulator that speaks it.
//!
//! A [`Call`] is prepared first (body built and hashed) and sent when its slot comes; every send
//! has a nonce of its own. What comes back is judged here, next to where it is made: each
//! [`Error`] says whether the same call may be made again, whether it may have been done, and how
//! far its cause reaches. Nothing is ever sent twice from in here, no redirect is followed, and
//! success is only what the upstream itself called success.
//!
//! Secrets stay in: no text that leaves this room holds the key, the token, a signature, what was
//! signed, or a URL with a query.
//!
//! Start at [`Client`]; every code of the upstream is judged in one match in `codes`.

mod action;
mod answers;
mod call;
mod client;
mod clock;
mod codes;
mod errors;
mod form;
mod heard;
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

pub use self::{
    action::{Action, Product},
    answers::{Checked, Page, Phase, Registered, Status},
    call::{Answer, Call},
    client::Client,
    errors::{Error, Scope, Verdict},
    options::Options,
    product::ProductInfo,
    refused::{Kind, Refused},
    secret::Secret,
};
