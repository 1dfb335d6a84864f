//! The requests that write, as values of the domain.

use tonic::Status;

use super::complaints::Complaints;
use crate::{
    domain::{ApplyId, Fingerprint, RequestKey, apply::Wish},
    proto as pb,
};

/// Takes a request id out of its request; none if it is empty.
pub(super) fn request_id(id: &mut String) -> Result<Option<String>, Status> {
    let id = std::mem::take(id);
    let mut complaints = Complaints::default();
    complaints.about_request_id(&id);
    complaints.refuse()?;
    Ok(Some(id).filter(|id| !id.is_empty()))
}

/// What Register asks for.
pub(super) fn register(
    request: pb::RegisterRequest,
) -> Result<(ApplyId, Wish, Option<RequestKey>), Status> {
    let pb::RegisterRequest {
        apply_id,
        skip_invalid,
        retry_failed,
        request_id,
    } = request;
    let wish = Wish {
        skip_invalid,
        retry_failed,
    };
    let content = [
        &apply_id.to_le_bytes()[..],
        &[skip_invalid.into()],
        &[retry_failed.into()],
    ];
    let (id, key) = written(apply_id, request_id, Fingerprint::of("Register", content))?;
    Ok((id, wish, key))
}

/// What CancelApply asks for.
pub(super) fn cancel(
    request: pb::CancelApplyRequest,
) -> Result<(ApplyId, Option<RequestKey>), Status> {
    let pb::CancelApplyRequest {
        apply_id,
        request_id,
    } = request;
    let fingerprint = Fingerprint::of("CancelApply", [&apply_id.to_le_bytes()[..]]);
    written(apply_id, request_id, fingerprint)
}

fn written(
    apply_id: i64,
    request_id: String,
    fingerprint: Fingerprint,
) -> Result<(ApplyId, Option<RequestKey>), Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(apply_id);
    complaints.about_request_id(&request_id);
    complaints.refuse()?;
    let key = (!request_id.is_empty()).then_some(RequestKey {
        id: request_id,
        fingerprint,
    });
    Ok((ApplyId(apply_id), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(skip_invalid: bool, request_id: &str) -> pb::RegisterRequest {
        pb::RegisterRequest {
            apply_id: 7,
            skip_invalid,
            retry_failed: false,
            request_id: request_id.to_owned(),
        }
    }

    #[test]
    fn a_request_id_stands_for_all_that_is_asked() {
        let (id, wish, key) = register(asked(true, "r-1")).unwrap();
        assert_eq!((id, wish.skip_invalid), (ApplyId(7), true));

        assert_eq!(register(asked(true, "r-1")).unwrap().2, key);
        assert_ne!(register(asked(false, "r-1")).unwrap().2, key);
        assert_eq!(register(asked(true, "")).unwrap().2, None);
    }

    #[test]
    fn a_request_id_that_cannot_be_one_is_refused() {
        for bad in ["x".repeat(129).as_str(), "a\nb", "名"] {
            let refused = register(asked(true, bad)).unwrap_err();
            assert!(
                refused.message().starts_with("request_id"),
                "{}",
                refused.message()
            );
        }
    }
}
