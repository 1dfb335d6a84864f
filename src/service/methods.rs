//! The methods that this server has, by the names that they have in metrics and traces. A caller's
//! path is looked up and never taken over.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::proto::DESCRIPTORS;

/// Of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    /// What metrics call it: a method of this API by its name alone.
    pub(super) label: &'static str,
}

const OTHER: Names = Names {
    service: "other",
    method: "other",
    label: "other",
};

/// The names of the method that is called by a path.
pub(super) fn of(path: &str) -> Names {
    static KNOWN: LazyLock<HashMap<&'static str, Names>> = LazyLock::new(known);
    KNOWN.get(path).copied().unwrap_or(OTHER)
}

fn known() -> HashMap<&'static str, Names> {
    let sets = [
        (DESCRIPTORS, true),
        (tonic_health::pb::FILE_DESCRIPTOR_SET, false),
        (tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET, false),
        (tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET, false),
    ];
    let mut known = HashMap::new();
    for (set, ours) in sets {
        let set = FileDescriptorSet::decode(set).expect("descriptors are made with the code");
        for file in set.file {
            for service in &file.service {
                let service_name: &'static str =
                    format!("{}.{}", file.package(), service.name()).leak();
                for method in &service.method {
                    let method: &'static str = method.name().to_owned().leak();
                    let path: &'static str = format!("/{service_name}/{method}").leak();
                    let names = Names {
                        service: service_name,
                        method,
                        label: if ours { method } else { &path[1..] },
                    };
                    known.insert(path, names);
                }
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_names_and_what_is_none_is_other() {
        assert_eq!(
            of("/registrar.v1.RegistrarService/GetApply").label,
            "GetApply"
        );
        assert_eq!(
            of("/grpc.health.v1.Health/Check").label,
            "grpc.health.v1.Health/Check"
        );
        for path in [
            "",
            "/",
            "/registrar.v1.RegistrarService/Nonsense",
            "GetApply",
        ] {
            assert_eq!(of(path), OTHER, "{path}");
        }
    }
}
