//! FindDevice: which applies a name is in.

use tonic::Status;

use super::{Service, answer, complaints::Complaints, convert::is_key, page_token::Scope, status};
use crate::{
    domain::{ApplyId, Caller, Ordinal, device::readable},
    proto as pb,
    store::Place,
};

/// What is looked for.
#[derive(Debug)]
struct Wanted {
    name: String,
    product_key: Option<String>,
    before: Option<Place>,
    size: u32,
    scope: Scope,
}

impl Service {
    #[tracing::instrument(name = "rpc.find_device", skip_all)]
    pub(super) async fn found(
        &self,
        caller: &Caller,
        request: pb::FindDeviceRequest,
    ) -> Result<pb::FindDeviceResponse, Status> {
        let wanted = wanted(caller, request)?;
        let product_key = wanted.product_key.as_deref();
        let page = self.store.find(
            caller,
            &wanted.name,
            product_key,
            wanted.before,
            wanted.size as usize,
        );
        let page = page.await.map_err(status::of)?;
        let token = |place: Place| wanted.scope.token([place.apply.0, place.ordinal.into()]);
        Ok(pb::FindDeviceResponse {
            next_page_token: page.before.map(token).unwrap_or_default(),
            found: page
                .found
                .into_iter()
                .map(|found| pb::FoundDevice {
                    apply: Some(answer::apply(&found.apply, &found.now)),
                    device: Some(answer::device(found.device)),
                })
                .collect(),
        })
    }
}

fn wanted(caller: &Caller, request: pb::FindDeviceRequest) -> Result<Wanted, Status> {
    let mut complaints = Complaints::default();
    if request.device_name.is_empty() {
        complaints.add("device_name", "must be the name to look for");
    }
    if !request.product_key.is_empty() && !is_key(&request.product_key) {
        complaints.add(
            "product_key",
            "must be empty or have up to 64 letters, digits, - and _",
        );
    }
    let size = complaints.about_page_size(request.page_size, 20, 100);
    let filter = [&request.device_name, &request.product_key].map(|part| part.as_bytes());
    let scope = Scope::new(&caller.tenant, "FindDevice", &filter);
    let before = complaints.about_page_token(&scope, &request.page_token);
    complaints.refuse()?;
    Ok(Wanted {
        // A name that breaks the rules is found by what was kept of it.
        name: readable(request.device_name),
        product_key: Some(request.product_key).filter(|key| !key.is_empty()),
        before: before.map(|[apply, ordinal]| Place {
            apply: ApplyId(apply),
            ordinal: Ordinal::try_from(ordinal).unwrap_or(Ordinal::MAX),
        }),
        size,
        scope,
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn ask(device_name: &str, product_key: &str, page_token: &str) -> Result<Wanted, Status> {
        let request = pb::FindDeviceRequest {
            device_name: device_name.into(),
            product_key: product_key.into(),
            page_size: 1_000,
            page_token: page_token.into(),
        };
        wanted(&Caller::anyone(), request)
    }

    #[test]
    fn a_page_goes_on_only_with_the_same_name_and_product() {
        let first = ask("light-1", "a1", "").unwrap();
        let token = first.scope.token([7, 12_000]);

        assert_eq!((first.size, first.before), (100, None));
        let place = Place {
            apply: ApplyId(7),
            ordinal: 12_000,
        };
        assert_eq!(ask("light-1", "a1", &token).unwrap().before, Some(place));
        for (name, product, token) in [
            ("light-2", "a1", &*token),
            ("light-1", "", &token),
            ("light-1a1", "", &token),
            ("", "a1", ""),
            ("light-1", "a/1", ""),
        ] {
            let refused = ask(name, product, token).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{name} {product}");
        }
    }
}
