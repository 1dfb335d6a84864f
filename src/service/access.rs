//! Who is calling.

use tonic::{Request, Status};

use crate::domain::Caller;

/// Who makes a request.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let known = request.extensions().get().cloned();
    Ok(known.unwrap_or_else(Caller::anyone))
}
