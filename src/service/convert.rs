//! Messages as values of the domain, or a refusal that names every field that is wrong.

use tonic::Status;

use super::{complaints::Complaints, page_token::Scope};
use crate::{
    domain::{AfterCheck, ApplyId, Ordinal, Outcome, Submission, apply::Until},
    proto as pb,
};

/// Devices of one apply. More take several applies.
const DEVICES: usize = 100_000;

/// Characters of a product key and of an instance.
const KEY: usize = 64;

/// A page of applies that is asked for.
#[derive(Debug)]
pub(super) struct Applies {
    pub(super) size: u32,
    /// Only applies with a lower number.
    pub(super) before: Option<ApplyId>,
    pub(super) product_key: Option<String>,
    pub(super) scope: Scope,
}

/// A page of devices that is asked for.
#[derive(Debug)]
pub(super) struct Devices {
    pub(super) apply: ApplyId,
    pub(super) size: usize,
    pub(super) from: Ordinal,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) scope: Scope,
}

/// Judges the devices of a request that is fine by itself.
pub(super) fn submission(request: pb::CheckDevicesRequest) -> Result<Submission, Status> {
    let mut complaints = Complaints::default();
    if !is_key(&request.product_key) {
        complaints.add("product_key", "must have 1 to 64 letters, digits, - and _");
    }
    if !request.iot_instance_id.is_empty() && !is_key(&request.iot_instance_id) {
        complaints.add(
            "iot_instance_id",
            "must be empty or have up to 64 letters, digits, - and _",
        );
    }
    match request.devices.len() {
        0 => complaints.add("devices", "must hold at least one device"),
        1..=DEVICES => {}
        size => complaints.add_args(
            format_args!("devices"),
            format_args!(
                "holds {size} devices and at most 100,000 are taken at once; split them into \
                 several applies"
            ),
        ),
    }
    let after_check = match pb::AfterCheck::try_from(request.after_check) {
        Ok(pb::AfterCheck::Unspecified | pb::AfterCheck::Stop) => AfterCheck::Stop,
        Ok(pb::AfterCheck::RegisterIfAllValid) => AfterCheck::RegisterIfAllValid,
        Ok(pb::AfterCheck::RegisterValid) => AfterCheck::RegisterValid,
        Err(_) => {
            complaints.add("after_check", "is not a value that this server knows");
            AfterCheck::Stop
        }
    };
    complaints.refuse()?;
    let devices = request
        .devices
        .into_iter()
        .map(|device| (device.device_name, device.nickname));
    Ok(Submission::judge(
        request.product_key,
        request.iot_instance_id,
        after_check,
        devices,
    ))
}

/// The apply that a request names.
pub(super) fn apply_id(id: i64) -> Result<ApplyId, Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(id);
    complaints.refuse()?;
    Ok(ApplyId(id))
}

/// The apply to watch, and the revision after which.
pub(super) fn watch(request: &pb::WatchApplyRequest) -> Result<(ApplyId, i64, Until), Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(request.apply_id);
    if request.after_revision < 0 {
        complaints.add(
            "after_revision",
            "must be 0 for all changes, or a revision seen before",
        );
    }
    let until = match pb::WatchUntil::try_from(request.until) {
        Ok(pb::WatchUntil::Unspecified | pb::WatchUntil::Settled) => Until::Settled,
        Ok(pb::WatchUntil::Created) => Until::Created,
        Ok(pb::WatchUntil::Forever) => Until::Forever,
        Err(_) => {
            complaints.add("until", "must be one of the values of WatchUntil");
            Until::Settled
        }
    };
    complaints.refuse()?;
    Ok((ApplyId(request.apply_id), request.after_revision, until))
}

/// The page of applies that is asked for.
pub(super) fn applies(request: pb::ListAppliesRequest) -> Result<Applies, Status> {
    let mut complaints = Complaints::default();
    let size = complaints.about_page_size(request.page_size, 100, 1_000);
    if !request.product_key.is_empty() && !is_key(&request.product_key) {
        complaints.add(
            "product_key",
            "must be empty or have up to 64 letters, digits, - and _",
        );
    }
    let scope = Scope::new("ListApplies", &[request.product_key.as_bytes()]);
    let before = complaints
        .about_page_token(&scope, &request.page_token)
        .map(ApplyId);
    complaints.refuse()?;
    let product_key = Some(request.product_key).filter(|key| !key.is_empty());
    Ok(Applies {
        size,
        before,
        product_key,
        scope,
    })
}

/// The page of devices that is asked for.
pub(super) fn devices(request: pb::ListDevicesRequest) -> Result<Devices, Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(request.apply_id);
    let size = complaints.about_page_size(request.page_size, 1_000, 10_000) as usize;
    let mut wanted = [false; Outcome::ALL.len()];
    for (at, value) in request.outcomes.iter().enumerate() {
        match Outcome::ALL
            .iter()
            .position(|known| Some(*known) == outcome(*value))
        {
            Some(place) => wanted[place] = true,
            None => complaints.add_args(
                format_args!("outcomes[{at}]"),
                format_args!("is not an outcome that a device can have"),
            ),
        }
    }
    // Whatever order and repetition they came in, the same outcomes make the same filter.
    let outcomes: Vec<Outcome> = Outcome::ALL
        .into_iter()
        .zip(wanted)
        .filter(|(_, wanted)| *wanted)
        .map(|(o, _)| o)
        .collect();
    let letters: Vec<u8> = outcomes
        .iter()
        .map(|outcome| outcome.letter() as u8)
        .collect();
    let scope = Scope::new("ListDevices", &[&request.apply_id.to_be_bytes(), &letters]);
    let from = complaints.about_page_token(&scope, &request.page_token);
    complaints.refuse()?;
    let from = Ordinal::try_from(from.unwrap_or(0)).unwrap_or(Ordinal::MAX);
    Ok(Devices {
        apply: ApplyId(request.apply_id),
        size,
        from,
        outcomes,
        scope,
    })
}

fn outcome(value: i32) -> Option<Outcome> {
    match pb::DeviceOutcome::try_from(value).ok()? {
        pb::DeviceOutcome::Unspecified => None,
        pb::DeviceOutcome::Pending => Some(Outcome::Pending),
        pb::DeviceOutcome::Valid => Some(Outcome::Valid),
        pb::DeviceOutcome::Invalid => Some(Outcome::Invalid),
        pb::DeviceOutcome::Created => Some(Outcome::Created),
        pb::DeviceOutcome::Failed => Some(Outcome::Failed),
        pb::DeviceOutcome::Unknown => Some(Outcome::Unknown),
        pb::DeviceOutcome::Cancelled => Some(Outcome::Cancelled),
    }
}

fn is_key(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    (1..=KEY).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn request(devices: usize) -> pb::CheckDevicesRequest {
        let device = |n| pb::NewDevice {
            device_name: format!("light-{n}"),
            nickname: String::new(),
        };
        pb::CheckDevicesRequest {
            product_key: "a1".into(),
            iot_instance_id: String::new(),
            devices: (0..devices).map(device).collect(),
            after_check: 0,
            ..Default::default()
        }
    }

    fn fields(status: &Status) -> Vec<String> {
        assert_eq!(status.code(), Code::InvalidArgument);
        let complaints = status.get_details_bad_request().unwrap().field_violations;
        complaints
            .into_iter()
            .map(|complaint| complaint.field)
            .collect()
    }

    #[test]
    fn a_good_request_becomes_a_submission() {
        let submission = submission(request(3)).unwrap();

        assert_eq!((submission.len(), submission.refused()), (3, 0));
        assert_eq!(submission.after_check, AfterCheck::Stop);
    }

    #[test]
    fn a_bad_device_is_no_complaint() {
        let mut request = request(2);
        request.devices[1].device_name = "no\0".into();

        assert_eq!(submission(request).unwrap().refused(), 1);
    }

    #[test]
    fn every_field_that_is_wrong_is_named_at_once() {
        let refused = submission(pb::CheckDevicesRequest {
            product_key: "a/1".into(),
            iot_instance_id: "x".repeat(65),
            devices: Vec::new(),
            after_check: 9,
            ..Default::default()
        });

        assert_eq!(
            fields(&refused.unwrap_err()),
            ["product_key", "iot_instance_id", "devices", "after_check"]
        );
    }

    #[test]
    fn too_many_devices_are_to_be_split() {
        assert!(submission(request(DEVICES)).is_ok());
        let refused = submission(request(DEVICES + 1)).unwrap_err();

        assert_eq!(fields(&refused), ["devices"]);
        assert!(
            refused
                .message()
                .contains("split them into several applies"),
            "{refused}"
        );
    }

    #[test]
    fn twenty_complaints_are_told_and_the_rest_counted() {
        let refused = devices(pb::ListDevicesRequest {
            apply_id: 1,
            outcomes: [vec![2], vec![0; 10], vec![99; 15]].concat(),
            ..Default::default()
        })
        .unwrap_err();

        assert_eq!(fields(&refused).len(), 20);
        assert_eq!(fields(&refused)[0], "outcomes[1]");
        assert_eq!(
            refused.get_details_error_info().unwrap().metadata["more"],
            "5"
        );
    }

    #[test]
    fn a_page_has_its_usual_size_and_a_largest() {
        let size = |page_size| {
            applies(pb::ListAppliesRequest {
                page_size,
                ..Default::default()
            })
            .map(|asked| asked.size)
        };

        assert_eq!(size(0).unwrap(), 100);
        assert_eq!(size(7).unwrap(), 7);
        assert_eq!(size(1_001).unwrap(), 1_000);
        assert_eq!(fields(&size(-1).unwrap_err()), ["page_size"]);
    }

    #[test]
    fn a_page_goes_on_where_its_token_says_and_only_with_the_same_filter() {
        let page = |apply_id, outcomes: &[i32], page_token: &str| {
            devices(pb::ListDevicesRequest {
                apply_id,
                page_size: 0,
                page_token: page_token.into(),
                outcomes: outcomes.to_vec(),
            })
        };
        let token = page(7, &[2, 3], "").unwrap().scope.token(4_000);

        assert_eq!(page(7, &[3, 2, 2], &token).unwrap().from, 4_000);
        for other in [
            page(8, &[2, 3], &token),
            page(7, &[2], &token),
            page(7, &[2, 3], "x"),
        ] {
            assert_eq!(fields(&other.unwrap_err()), ["page_token"]);
        }
    }

    #[test]
    fn numbers_that_nothing_can_have_are_refused() {
        let watched = watch(&pb::WatchApplyRequest {
            apply_id: 0,
            after_revision: -1,
            until: 9,
        });

        assert_eq!(
            fields(&watched.unwrap_err()),
            ["apply_id", "after_revision", "until"]
        );
        assert_eq!(fields(&apply_id(-1).unwrap_err()), ["apply_id"]);
    }
}
