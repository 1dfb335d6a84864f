//! What an upload's messages ask for, as values of the domain.

use tonic::Status;

use crate::{
    domain::{ApplyId, Heading, RequestKey},
    proto as pb,
    service::{complaints::Complaints, convert, imports},
};

/// Devices of one part: those of a chunk, so that no message takes long to judge.
pub(super) const PART: usize = 10_000;

/// Which apply is uploaded.
#[derive(Debug)]
pub(super) enum Start {
    /// This one goes on.
    Resume(ApplyId),
    /// A new one, unless its request was made before.
    Begin(Heading, Option<RequestKey>),
}

/// What a start asks for.
pub(super) fn start(start: pb::UploadStart) -> Result<Start, Status> {
    let mut complaints = Complaints::default();
    if start.apply_id != 0 {
        complaints.about_apply_id(start.apply_id);
        for (field, is_absent) in [
            ("product_key", start.product_key.is_empty()),
            ("iot_instance_id", start.iot_instance_id.is_empty()),
            ("after_check", start.after_check == 0),
            ("labels", start.labels.is_empty()),
            ("request_id", start.request_id.is_empty()),
            ("import", !start.import),
        ] {
            if !is_absent {
                complaints.add(field, "must be absent with apply_id: the apply has its own");
            }
        }
        complaints.refuse()?;
        return Ok(Start::Resume(ApplyId(start.apply_id)));
    }
    complaints.about_request_id(&start.request_id);
    let heading = convert::heading(
        start.product_key,
        start.iot_instance_id,
        start.after_check,
        start.labels,
        &mut complaints,
    );
    let heading = Heading {
        import: start.import,
        ..heading
    };
    complaints.refuse()?;
    let id = Some(start.request_id).filter(|id| !id.is_empty());
    let key = id.map(|id| RequestKey {
        id,
        fingerprint: heading.fingerprint(),
    });
    Ok(Start::Begin(heading, key))
}

/// Refuses a part with what would be lost, one of no size that is taken, or one that makes an apply of `next` devices so far
/// larger than `most`.
pub(super) fn part(
    part: &pb::UploadPart,
    import: bool,
    next: i64,
    most: u32,
) -> Result<(), Status> {
    let mut complaints = Complaints::default();
    imports::complain(&part.devices, import, &mut complaints);
    match part.devices.len() {
        0 => complaints.add("devices", "must hold at least one device"),
        1..=PART => {}
        size => complaints.add_args(
            format_args!("devices"),
            format_args!("holds {size} devices and a part takes at most 10,000; send more parts"),
        ),
    }
    if next + part.devices.len() as i64 > i64::from(most) {
        complaints.add_args(
            format_args!("devices"),
            format_args!(
                "would make an apply of more than {most} devices, the most that this server takes; \
                 seal it with what is stored and upload the others as another apply"
            ),
        );
    }
    complaints.refuse()
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn fields(status: &Status) -> Vec<String> {
        let violations = status.get_details_bad_request().unwrap().field_violations;
        violations.into_iter().map(|one| one.field).collect()
    }

    #[test]
    fn a_start_resumes_an_apply_or_says_what_a_new_one_is_and_not_both() {
        let begin = pb::UploadStart {
            product_key: "a1".into(),
            request_id: "mine".into(),
            ..Default::default()
        };
        let resume = pb::UploadStart {
            apply_id: 7,
            ..Default::default()
        };

        assert!(matches!(start(begin.clone()), Ok(Start::Begin(_, Some(_)))));
        assert!(matches!(start(resume), Ok(Start::Resume(ApplyId(7)))));
        let both = start(pb::UploadStart {
            apply_id: -7,
            after_check: 2,
            ..begin
        });
        assert_eq!(
            fields(&both.unwrap_err()),
            ["apply_id", "product_key", "after_check", "request_id"]
        );
        let neither = start(pb::UploadStart::default()).unwrap_err();
        assert_eq!(fields(&neither), ["product_key"]);
    }

    #[test]
    fn the_same_start_is_the_same_request_and_another_one_is_not() {
        let key = |instance: &str, label: &str| {
            let begin = start(pb::UploadStart {
                product_key: "a1".into(),
                iot_instance_id: instance.into(),
                labels: [("lot".to_owned(), label.to_owned())].into(),
                request_id: "mine".into(),
                ..Default::default()
            });
            let Ok(Start::Begin(_, key)) = begin else {
                panic!("it begins")
            };
            key.unwrap()
        };

        assert_eq!(key("", "7"), key("", "7"));
        assert_ne!(key("", "7"), key("", "8"));
        assert_ne!(key("", "7"), key("iot-1", "7"));
    }

    #[test]
    fn a_part_holds_1_to_10000_devices_and_an_apply_no_more_than_it_may() {
        let part = |devices| pb::UploadPart {
            devices: vec![pb::NewDevice::default(); devices],
            ..Default::default()
        };

        assert!(
            super::part(&part(1), false, 0, 1).is_ok()
                && super::part(&part(PART), false, 0, 10_000).is_ok()
        );
        for (devices, next) in [(0, 0), (PART + 1, 0), (2, 99_999)] {
            let refused = super::part(&part(devices), false, next, 100_000).unwrap_err();
            assert_eq!(fields(&refused), ["devices"]);
        }
    }
}
