//! What the upstream refuses stops as much as its cause reaches, says so, and goes on by itself.

use registrar::{
    domain::Lane,
    proto::{
        AfterCheck, Apply, ApplyStatus as S, CheckDevicesRequest, ExplainApplyRequest,
        GetQuotaRequest, WaitCode, WaitingFor, WatchApplyRequest,
    },
    simulator::PRODUCT,
};

use crate::support::{
    database::{Database, database},
    stack::{Client, Server, Upstream, get, new_devices, patiently, watch},
};

/// The simulator's product of devices with certificates.
const OTHER: &str = registrar::simulator::PRODUCT_X509;

struct Stack {
    upstream: Upstream,
    client: Client,
    _server: Server,
    _database: Database,
}

async fn stack() -> Stack {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    // So seldom that only the block itself can have caused a heartbeat.
    let flags = ["--heartbeat", "1h", "--probe-every", "300ms"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    Stack {
        client: server.client().await,
        upstream,
        _server: server,
        _database: database,
    }
}

impl Stack {
    async fn set(&self, fault: &str, json: &str) {
        let path = format!("/_simulator/faults/{fault}");
        self.upstream
            .send("PUT", &path, Some(json.to_owned()))
            .await;
    }

    async fn submit(&mut self, product: &str, prefix: &str, after_check: AfterCheck) -> Apply {
        let request = CheckDevicesRequest {
            product_key: product.to_owned(),
            devices: new_devices(prefix, 3),
            after_check: after_check.into(),
            ..Default::default()
        };
        let answer = self.client.check_devices(request).await.unwrap();
        answer.into_inner().apply.unwrap()
    }

    /// Submits devices that are registered if nothing is in the way, and waits for the end.
    async fn is_created(&mut self, product: &str, prefix: &str) {
        let apply = self
            .submit(product, prefix, AfterCheck::RegisterValid)
            .await;
        let seen = watch(&mut self.client, apply.apply_id, 0).await;
        assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    }

    /// Watches until a heartbeat tells of a block, which GetApply and ExplainApply tell as well.
    async fn is_blocked(&mut self, apply: &Apply, code: WaitCode, said: &str) {
        let request = WatchApplyRequest {
            apply_id: apply.apply_id,
            ..Default::default()
        };
        let mut stream = self.client.watch_apply(request).await.unwrap().into_inner();
        let told = patiently(async {
            loop {
                let message = stream.message().await.unwrap().expect("it does not settle");
                if message.heartbeat {
                    return message.waiting_for.expect("something to wait for");
                }
            }
        })
        .await;
        let asked = get(&mut self.client, apply.apply_id).await.waiting_for;
        let request = ExplainApplyRequest {
            apply_id: apply.apply_id,
            ..Default::default()
        };
        let explained = self.client.explain_apply(request).await.unwrap();
        let explained = explained.into_inner().waiting_for;
        for told in [Some(told), asked, explained] {
            let told: WaitingFor = told.expect("something to wait for");
            assert_eq!(told.code(), code, "{}", told.message);
            assert!(told.message.contains(said), "{}", told.message);
            assert!(told.message.contains("goes on by itself") && told.until.is_some());
        }
    }

    /// Which actions GetQuota tells are refused.
    async fn blocked_actions(&mut self) -> Vec<String> {
        let quotas = self.client.get_quota(GetQuotaRequest {}).await.unwrap();
        let quotas = quotas.into_inner().quotas;
        quotas
            .into_iter()
            .filter(|quota| !quota.blocked.is_empty())
            .map(|quota| quota.action)
            .collect()
    }

    async fn goes_on(&mut self, apply: &Apply, fault: &str) {
        self.upstream.lift(fault).await;
        let seen = watch(&mut self.client, apply.apply_id, 0).await;
        assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
        assert_eq!(self.blocked_actions().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_account_stops_everything_until_it_is_paid() {
    let mut stack = stack().await;
    stack.set("bill", r#"{"kind":"block-account"}"#).await;
    let one = stack
        .submit(PRODUCT, "one", AfterCheck::RegisterValid)
        .await;
    stack
        .is_blocked(&one, WaitCode::BlockedAccount, "BillIsOverDue")
        .await;
    // One that has called nobody yet waits for the same.
    let two = stack.submit(OTHER, "two", AfterCheck::RegisterValid).await;
    stack
        .is_blocked(&two, WaitCode::BlockedAccount, "BillIsOverDue")
        .await;
    assert_eq!(stack.blocked_actions().await.len(), Lane::ALL.len());

    stack.goes_on(&one, "bill").await;
    let seen = watch(&mut stack.client, two.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_product_stops_its_applies_and_no_others() {
    let mut stack = stack().await;
    let fault = format!(r#"{{"kind":"block-product","product":"{PRODUCT}"}}"#);
    stack.set("gone", &fault).await;
    let apply = stack
        .submit(PRODUCT, "one", AfterCheck::RegisterValid)
        .await;
    stack
        .is_blocked(&apply, WaitCode::BlockedProduct, "NotExistedProduct")
        .await;

    stack.is_created(OTHER, "two").await;
    assert_eq!(stack.blocked_actions().await, Vec::<String>::new());

    stack.goes_on(&apply, "gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_action_stops_its_lane_and_no_other() {
    let mut stack = stack().await;
    let action = "BatchRegisterDeviceWithApplyId";
    let fault = format!(r#"{{"kind":"block-action","action":"{action}"}}"#);
    stack.set("rights", &fault).await;
    let apply = stack
        .submit(PRODUCT, "one", AfterCheck::RegisterValid)
        .await;
    stack
        .is_blocked(&apply, WaitCode::BlockedAction, action)
        .await;

    // Others are still checked.
    let checked = stack.submit(OTHER, "two", AfterCheck::Stop).await;
    let seen = watch(&mut stack.client, checked.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CheckSuccess);
    assert_eq!(stack.blocked_actions().await, [action]);

    stack.goes_on(&apply, "rights").await;
}
