//! Which right each call needs. A call that needs more in certain cases asks for it itself: one that
//! also registers, or that shows secrets.

use crate::domain::{Right, caller::Rights};

/// Each method of the API, and what its caller must be allowed to.
const NEEDS: [(&str, Right); 13] = [
    ("CheckDevices", Right::Submit),
    ("UploadDevices", Right::Submit),
    ("Register", Right::Register),
    ("Reconcile", Right::Register),
    ("CancelApply", Right::Cancel),
    ("WatchApply", Right::Read),
    ("GetApply", Right::Read),
    ("ListApplies", Right::Read),
    ("ListDevices", Right::Read),
    ("ExportDevices", Right::Read),
    ("FindDevice", Right::Read),
    ("ExplainApply", Right::Read),
    ("GetQuota", Right::Read),
];

/// The first right that a call with this path needs and the caller lacks. A method that nobody has
/// put into the table takes all of them.
pub(super) fn missing(path: &str, rights: Rights) -> Option<Right> {
    let method = path.rsplit('/').next().unwrap_or(path);
    match NEEDS.iter().find(|(name, _)| *name == method) {
        Some((_, right)) => (!rights.hold(*right)).then_some(*right),
        None => Right::ALL
            .iter()
            .copied()
            .find(|right| !rights.hold(*right)),
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_method_of_the_api_stands_in_the_table_once_and_nothing_else() {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
        let service = pool.services().next().unwrap();
        let mut methods: Vec<_> = service.methods().map(|it| it.name().to_owned()).collect();
        let mut listed: Vec<_> = NEEDS.iter().map(|(name, _)| name.to_string()).collect();

        methods.sort();
        listed.sort();
        assert_eq!(listed, methods);
    }

    #[test]
    fn a_call_needs_its_right_and_an_unlisted_one_needs_them_all() {
        let only = |right: Right| Rights::from_iter([right]);
        let path = |method: &str| format!("/registrar.v1.RegistrarService/{method}");

        assert_eq!(missing(&path("GetApply"), only(Right::Read)), None);
        assert_eq!(
            missing(&path("Register"), only(Right::Read)),
            Some(Right::Register)
        );
        assert_eq!(
            missing(&path("New"), only(Right::Submit)),
            Some(Right::Register)
        );
        assert_eq!(missing(&path("New"), Rights::all()), None);
    }
}
