//! What is known of a call before it is read.

use http::{Request, Uri};
use tonic::body::Body;

use crate::service::{MAX_MESSAGE, MAX_SMALL_MESSAGE, submissions, upload};

/// Characters of a path that are shown to whoever sent it.
const SHOWN: usize = 200;

/// A call, as far as its refusal must name it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) uri: Uri,
    /// Bytes that its message may have.
    pub(super) largest: usize,
}

impl Call {
    pub(super) fn of(request: &Request<Body>) -> Self {
        let largest = match request.uri().path() {
            submissions::PATH => MAX_MESSAGE,
            upload::PATH => upload::MAX_MESSAGE,
            _ => MAX_SMALL_MESSAGE,
        };
        Self {
            uri: request.uri().clone(),
            largest,
        }
    }

    /// Its path, cut where it is long.
    pub(super) fn path(&self) -> String {
        self.uri.path().chars().take(SHOWN).collect()
    }
}
