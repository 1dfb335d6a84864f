//! An answer taken apart: what was asked for, or why not.

use crate::upstream::{
    answers::{Success, Take},
    asked::Asked,
    codes::is_documented,
    errors::Error,
    wire::Envelope,
};

/// A whole answer as it came.
pub(super) struct Reply<'a> {
    pub(super) http_status: u16,
    pub(super) body: &'a [u8],
    pub(super) asked: &'a Asked,
}

impl Reply<'_> {
    /// Success is what the upstream calls success, at HTTP 2xx, and whose data are all there.
    /// Also tells the RequestId, if the answer has one.
    pub(super) fn read<T>(&self, take: Take<T>) -> (Option<String>, Result<T, Error>) {
        let asked = self.asked;
        let http_status = self.http_status;
        let Some(mut envelope) = Envelope::parse(self.body) else {
            let error = match http_status {
                429 => Error::refused(http_status, None, None, Vec::new()),
                _ => garbage(http_status),
            };
            return (None, Err(error));
        };
        let clean = |text: String| asked.clean(&text);
        let request_id = envelope.request_id.0.take().map(clean);
        if envelope.success == Some(true) && (200..300).contains(&http_status) {
            let taken = take(Success {
                envelope,
                body: self.body,
                asked,
            });
            return (request_id, taken.ok_or_else(|| garbage(http_status)));
        }
        let code = envelope.code.0.take();
        let text = envelope.take_text();
        let refused = envelope.take_refused(asked);
        let says_no = code.is_some() || !refused.is_empty() || http_status == 429;
        if envelope.success == Some(true) || !says_no {
            return (request_id, Err(garbage(http_status)));
        }
        // A documented code echoes nothing, and must stay itself even where a device's secret is one
        // of its words.
        let code = code.map(|code| match is_documented(&code) {
            true => code,
            false => clean(code),
        });
        let error = Error::refused(http_status, code, text.map(clean), refused);
        (request_id, Err(error))
    }
}

fn garbage(http_status: u16) -> Error {
    let message = format!("the answer (HTTP {http_status}) is not one of the upstream");
    Error::unclear(&message, None)
}
