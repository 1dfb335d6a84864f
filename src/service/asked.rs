//! The applies and devices that ListApplies, ListDevices and ExportDevices ask for.

use tonic::Status;

use super::{complaints::Complaints, convert::is_key, page_token::Scope};
use crate::{
    domain::{ApplyId, Caller, Ordinal, Outcome},
    proto as pb,
    store::Filter,
};

/// A page of applies that is asked for.
#[derive(Debug)]
pub(super) struct Applies {
    pub(super) size: u32,
    /// Only applies with a lower number.
    pub(super) before: Option<ApplyId>,
    pub(super) filter: Filter,
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

/// Devices to export.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) apply: ApplyId,
    pub(super) from: Ordinal,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) credentials: bool,
}

/// The page of applies that is asked for.
pub(super) fn applies(caller: &Caller, request: pb::ListAppliesRequest) -> Result<Applies, Status> {
    let mut complaints = Complaints::default();
    let size = complaints.about_page_size(request.page_size, 100, 1_000);
    if !request.product_key.is_empty() && !is_key(&request.product_key) {
        complaints.add(
            "product_key",
            "must be empty or have up to 64 letters, digits, - and _",
        );
    }
    let statuses = complaints.about_statuses(&request.statuses);
    let labels = complaints.about_labels(request.labels);
    let mut parts: Vec<&[u8]> = vec![request.product_key.as_bytes()];
    parts.extend(statuses.iter().map(|status| status.as_str().as_bytes()));
    // Ends the statuses, so that no label is taken for one.
    parts.push(b"");
    parts.extend(
        labels
            .as_map()
            .iter()
            .flat_map(|(k, v)| [k.as_bytes(), v.as_bytes()]),
    );
    let scope = Scope::new(&caller.tenant, "ListApplies", &parts);
    let before = complaints
        .about_page_token(&scope, &request.page_token)
        .map(|[before]| ApplyId(before));
    complaints.refuse()?;
    let filter = Filter {
        product_key: Some(request.product_key).filter(|key| !key.is_empty()),
        statuses,
        labels,
    };
    Ok(Applies {
        size,
        before,
        filter,
        scope,
    })
}

/// The page of devices that is asked for.
pub(super) fn devices(caller: &Caller, request: pb::ListDevicesRequest) -> Result<Devices, Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(request.apply_id);
    let size = complaints.about_page_size(request.page_size, 1_000, 10_000) as usize;
    let outcomes = outcomes(&request.outcomes, &mut complaints);
    let letters: Vec<u8> = outcomes.iter().map(|outcome| outcome.letter()).collect();
    let scope = Scope::new(
        &caller.tenant,
        "ListDevices",
        &[&request.apply_id.to_be_bytes(), &letters],
    );
    let from = complaints.about_page_token(&scope, &request.page_token);
    complaints.refuse()?;
    let [from] = from.unwrap_or([0]);
    let from = Ordinal::try_from(from).unwrap_or(Ordinal::MAX);
    Ok(Devices {
        apply: ApplyId(request.apply_id),
        size,
        from,
        outcomes,
        scope,
    })
}

/// The devices that are to be exported.
pub(super) fn export(request: &pb::ExportDevicesRequest) -> Result<Export, Status> {
    let mut complaints = Complaints::default();
    complaints.about_apply_id(request.apply_id);
    if request.from_ordinal < 0 {
        complaints.add(
            "from_ordinal",
            "must be 0 for all devices, or a next_ordinal received before",
        );
    }
    let outcomes = outcomes(&request.outcomes, &mut complaints);
    complaints.refuse()?;
    Ok(Export {
        apply: ApplyId(request.apply_id),
        from: Ordinal::try_from(request.from_ordinal).unwrap_or(Ordinal::MAX),
        outcomes,
        credentials: request.credentials,
    })
}

/// The outcomes asked for, each once and in the order that they have.
fn outcomes(asked: &[i32], complaints: &mut Complaints) -> Vec<Outcome> {
    let mut wanted = [false; Outcome::ALL.len()];
    for (at, value) in asked.iter().enumerate() {
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
    Outcome::ALL
        .into_iter()
        .zip(wanted)
        .filter(|(_, wanted)| *wanted)
        .map(|(o, _)| o)
        .collect()
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

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    fn fields(status: &Status) -> Vec<String> {
        assert_eq!(status.code(), Code::InvalidArgument);
        let complaints = status.get_details_bad_request().unwrap().field_violations;
        complaints
            .into_iter()
            .map(|complaint| complaint.field)
            .collect()
    }

    #[test]
    fn twenty_complaints_are_told_and_the_rest_counted() {
        let refused = devices(
            &Caller::anyone(),
            pb::ListDevicesRequest {
                apply_id: 1,
                outcomes: [vec![2], vec![0; 10], vec![99; 15]].concat(),
                ..Default::default()
            },
        )
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
            applies(
                &Caller::anyone(),
                pb::ListAppliesRequest {
                    page_size,
                    ..Default::default()
                },
            )
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
            devices(
                &Caller::anyone(),
                pb::ListDevicesRequest {
                    apply_id,
                    page_size: 0,
                    page_token: page_token.into(),
                    outcomes: outcomes.to_vec(),
                },
            )
        };
        let token = page(7, &[2, 3], "").unwrap().scope.token([4_000]);

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
    fn a_page_of_applies_goes_on_only_with_the_same_statuses_and_labels() {
        let page = |statuses: &[i32], labels: &[(&str, &str)], page_token: &str| {
            applies(
                &Caller::anyone(),
                pb::ListAppliesRequest {
                    page_token: page_token.into(),
                    statuses: statuses.to_vec(),
                    labels: labels
                        .iter()
                        .map(|(k, v)| (k.to_string(), v.to_string()))
                        .collect(),
                    ..Default::default()
                },
            )
        };
        let token = page(&[1, 4], &[("a", "b")], "").unwrap().scope.token([9]);

        let again = page(&[4, 1, 1], &[("a", "b")], &token).unwrap();
        assert_eq!(again.before, Some(ApplyId(9)));
        for other in [
            page(&[1], &[("a", "b")], &token),
            page(&[1, 4], &[("a", "c")], &token),
            page(&[1, 4], &[], &token),
        ] {
            assert_eq!(fields(&other.unwrap_err()), ["page_token"]);
        }
    }

    #[test]
    fn a_filter_that_nothing_can_pass_is_refused() {
        let refused = applies(
            &Caller::anyone(),
            pb::ListAppliesRequest {
                statuses: vec![1, 0],
                labels: [("Team".to_owned(), String::new())].into(),
                ..Default::default()
            },
        );

        assert_eq!(fields(&refused.unwrap_err()), ["statuses[1]", "labels"]);
    }
}
