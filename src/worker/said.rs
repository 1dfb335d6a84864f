//! What an answer says of devices, in the round's own terms.

use std::collections::{HashMap, HashSet};

use crate::{
    domain::{Ordinal, Reason, ReasonCode, device},
    store::Members,
    upstream::{Answer, Kind, Refused, Status},
};

/// Whom a failed check or creation names: the refused with their reasons, the others.
pub(super) fn named(
    answer: &Answer<Status>,
    status: &Status,
    members: Option<&Members>,
    word: &str,
) -> (Vec<(Ordinal, Reason)>, Vec<Ordinal>, Reason) {
    let by_name = members.map(Members::by_name).unwrap_or_default();
    let text = format!("the upstream answered {word} and named no device");
    let said = Said {
        request_id: &answer.request_id,
        text: &text,
    };
    let refused = said.reasons(&status.invalid, &by_name);
    let no: HashSet<Ordinal> = refused.iter().map(|(at, _)| *at).collect();
    let mut fine: Vec<Ordinal> = status
        .valid
        .iter()
        .filter_map(|name| by_name.get(name.as_str()).copied())
        .filter(|at| !no.contains(at))
        .collect();
    fine.sort_unstable();
    fine.dedup();
    (refused, fine, said.of_nobody())
}

/// What an answer says of devices.
pub(super) struct Said<'a> {
    pub(super) request_id: &'a Option<String>,
    pub(super) text: &'a str,
}

impl Said<'_> {
    /// The reasons of those refused devices that are the round's.
    pub(super) fn reasons(
        &self,
        refused: &[Refused],
        by_name: &HashMap<&str, Ordinal>,
    ) -> Vec<(Ordinal, Reason)> {
        let ours = refused.iter().filter_map(|device| {
            let at = by_name.get(device.name.as_str())?;
            let code = match device.kind {
                Kind::Exists => ReasonCode::Exists,
                Kind::Name => ReasonCode::NameRefused,
                Kind::Nickname => ReasonCode::NicknameRefused,
                Kind::Secret => ReasonCode::SecretRefused,
                Kind::Sn => ReasonCode::SnRefused,
                Kind::Other => ReasonCode::Refused,
            };
            Some((*at, self.reason(code, device.text.as_deref())))
        });
        let mut reasons: Vec<_> = ours.collect();
        reasons.sort_by_key(|(at, _)| *at);
        reasons.dedup_by_key(|(at, _)| *at);
        reasons
    }

    pub(super) fn of_nobody(&self) -> Reason {
        self.reason(ReasonCode::Refused, None)
    }

    fn reason(&self, code: ReasonCode, text: Option<&str>) -> Reason {
        Reason {
            code,
            text: device::readable(text.unwrap_or(self.text).to_owned()),
            request_id: self.request_id.clone(),
            first: None,
        }
    }
}
