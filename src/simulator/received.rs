//! Bodies of calls, as they come in.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

use super::answers::Refusal;
use super::signature::hex;

/// The largest legal check has a body of 3.9 MB.
const MAX_BODY: usize = 8 << 20;
/// How much of a longer body is read all the same: an SDK looks for an answer only once it has
/// sent everything.
const MAX_WASTE: usize = 64 << 20;
/// How long a body may take to arrive. SDKs give up on an answer after 10 s.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A body. What is no UTF-8 in it is replaced, as in what is percent-encoded.
pub(super) struct Received {
    pub(super) text: String,
    pub(super) sha256: String,
}

/// Reads a body, within its time and its size.
pub(super) async fn read(body: Body) -> Result<Received, Refusal> {
    match tokio::time::timeout(BODY_WITHIN, receive(body)).await {
        Ok(received) => received,
        Err(_) => Err(Refusal::new(
            408,
            "RequestTimeout",
            "The body did not arrive in time.",
        )),
    }
}

async fn receive(mut body: Body) -> Result<Received, Refusal> {
    let mut bytes = Vec::new();
    let mut length = 0;
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let cut = |_| Refusal::new(400, "InvalidParameter", "The body broke off.");
        let Ok(data) = frame.map_err(cut)?.into_data() else {
            continue;
        };
        length += data.len();
        if length > MAX_WASTE {
            break;
        }
        if length <= MAX_BODY {
            digest.update(&data);
            bytes.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY {
        let message = "The body exceeds 8 MB.";
        return Err(Refusal::new(413, "RequestEntityTooLarge", message));
    }
    let text = String::from_utf8(bytes);
    Ok(Received {
        text: text.unwrap_or_else(|not| String::from_utf8_lossy(not.as_bytes()).into_owned()),
        sha256: hex(&digest.finalize()),
    })
}
