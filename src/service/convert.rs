//! Messages as values of the domain, or a refusal that names every field that is wrong.

use std::collections::HashMap;

use tonic::Status;

use super::{complaints::Complaints, imports};
use crate::{
    domain::{AfterCheck, ApplyId, Heading, Submission, apply::Until, pattern::Pattern},
    proto as pb,
};

/// Devices of one message. More are uploaded.
pub(super) const DEVICES: usize = 100_000;

/// Characters of a product key and of an instance.
const KEY: usize = 64;

/// Judges the devices of a request that is fine by itself.
pub(super) fn submission(request: pb::CheckDevicesRequest) -> Result<Submission, Status> {
    let mut complaints = Complaints::default();
    let heading = heading(
        request.product_key,
        request.iot_instance_id,
        request.after_check,
        request.labels,
        &mut complaints,
    );
    let generated = generated(
        request.generated.as_ref(),
        &request.devices,
        &mut complaints,
    );
    match request.devices.len() {
        _ if request.generated.is_some() => {}
        0 => complaints.add("devices", "must hold at least one device"),
        1..=DEVICES => {}
        size => complaints.about_devices(size),
    }
    imports::complain(&request.devices, request.import, &mut complaints);
    if request.import && request.generated.is_some() {
        complaints.add(
            "import",
            "needs devices with their secrets; leave out generated",
        );
    }
    complaints.refuse()?;
    let import = request.import;
    let heading = Heading { import, ..heading };
    Ok(match generated {
        Some(names) => {
            let devices = names.into_iter().map(|name| (name, String::new()));
            Submission::of(heading, devices)
        }
        None => {
            let devices = request.devices.into_iter();
            let devices = devices.map(|device| imports::device(device, import));
            Submission::of(heading, devices)
        }
    })
}

/// What is said of an apply besides its devices; not to be used after a complaint.
pub(super) fn heading(
    product_key: String,
    iot_instance_id: String,
    after_check: i32,
    labels: HashMap<String, String>,
    complaints: &mut Complaints,
) -> Heading {
    if !is_key(&product_key) {
        complaints.add("product_key", "must have 1 to 64 letters, digits, - and _");
    }
    if !iot_instance_id.is_empty() && !is_key(&iot_instance_id) {
        complaints.add(
            "iot_instance_id",
            "must be empty or have up to 64 letters, digits, - and _",
        );
    }
    let after_check = match pb::AfterCheck::try_from(after_check) {
        Ok(pb::AfterCheck::Unspecified | pb::AfterCheck::Stop) => AfterCheck::Stop,
        Ok(pb::AfterCheck::RegisterIfAllValid) => AfterCheck::RegisterIfAllValid,
        Ok(pb::AfterCheck::RegisterValid) => AfterCheck::RegisterValid,
        Err(_) => {
            complaints.add("after_check", "is not a value that this server knows");
            AfterCheck::Stop
        }
    };
    Heading {
        product_key,
        iot_instance_id,
        after_check,
        import: false,
        data_key: None,
        labels: complaints.about_labels(labels),
    }
}

/// The names to make, if that is what is asked for and nothing is wrong with it.
fn generated(
    asked: Option<&pb::GeneratedNames>,
    devices: &[pb::NewDevice],
    complaints: &mut Complaints,
) -> Option<Vec<String>> {
    let asked = asked?;
    if !devices.is_empty() {
        complaints.add("generated", "must be absent when there are devices");
        return None;
    }
    let count = usize::try_from(asked.count)
        .ok()
        .filter(|count| (1..=DEVICES).contains(count));
    if count.is_none() {
        complaints.add("generated.count", "must be 1 to 100,000");
    }
    let first = match asked.first {
        0 => 1,
        first => first,
    };
    if first < 0 {
        complaints.add("generated.first", "must not be negative");
    }
    let pattern = Pattern::parse(&asked.pattern)
        .map_err(|what| complaints.add("generated.pattern", &what))
        .ok()?;
    let names = pattern.names(first, count.filter(|_| first > 0)?);
    names
        .map_err(|what| complaints.add("generated.pattern", &what))
        .map(Iterator::collect)
        .ok()
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

pub(super) fn is_key(text: &str) -> bool {
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
            ..Default::default()
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
        assert_eq!(submission.heading.after_check, AfterCheck::Stop);
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
            ["product_key", "iot_instance_id", "after_check", "devices"]
        );
    }

    #[test]
    fn names_are_made_from_a_pattern() {
        let made = |count, pattern: &str, first| {
            submission(pb::CheckDevicesRequest {
                generated: Some(pb::GeneratedNames {
                    count,
                    pattern: pattern.into(),
                    first,
                }),
                ..request(0)
            })
        };

        let three = made(3, "light-{seq:06}", 0).unwrap();
        let chunk = &three.chunks()[0];
        assert_eq!(
            chunk.names,
            ["light-000001", "light-000002", "light-000003"]
        );
        assert_eq!(made(100_000, "light-{seq}", 5).unwrap().refused(), 0);
        for (refused, named) in [
            (
                made(0, "light", -1),
                &["generated.count", "generated.first", "generated.pattern"][..],
            ),
            (made(100_001, "light-{seq}", 1), &["generated.count"]),
            (made(2, "light-{seq}", i64::MAX), &["generated.pattern"]),
            (made(2, "a{seq}", 1), &["generated.pattern"]),
        ] {
            assert_eq!(fields(&refused.unwrap_err()), named);
        }
    }

    #[test]
    fn devices_are_given_or_made_and_not_both() {
        let both = submission(pb::CheckDevicesRequest {
            generated: Some(pb::GeneratedNames {
                count: 1,
                pattern: "light-{seq}".into(),
                first: 1,
            }),
            ..request(1)
        });

        assert_eq!(fields(&both.unwrap_err()), ["generated"]);
    }

    #[test]
    fn too_many_devices_are_to_be_split() {
        assert!(submission(request(DEVICES)).is_ok());
        let refused = submission(request(DEVICES + 1)).unwrap_err();

        assert_eq!(fields(&refused), ["devices"]);
        assert!(
            refused
                .message()
                .contains("use UploadDevices, or split them into several applies"),
            "{refused}"
        );
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
