//! A client of the service: it submits devices and watches what becomes of them.

use anyhow::{Context as _, bail, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use registrar::{
    proto::{
        AfterCheck, Apply, CheckDevicesRequest, NewDevice, UploadDevicesRequest, UploadPart,
        UploadSeal, UploadStart, WatchApplyRequest, WatchUntil,
        registrar_service_client::RegistrarServiceClient, upload_devices_request::Part,
    },
    simulator::PRODUCT,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Devices of one message of an upload, as many as `registrar upload` sends.
const DEVICES_OF_A_PART: usize = 1_000;

/// A connection to a replica.
#[derive(Clone, Debug)]
pub(crate) struct Client(pub(crate) RegistrarServiceClient<Channel>);

impl Client {
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(Self(RegistrarServiceClient::new(endpoint.connect().await?)))
    }

    /// Uploads devices and seals them. Returns once the last of them is durable.
    pub(crate) async fn upload(
        &mut self,
        names: &[String],
        after_check: AfterCheck,
    ) -> anyhow::Result<i64> {
        let (parts, sent) = mpsc::channel(16);
        let message = |part| UploadDevicesRequest { part: Some(part) };
        let start = UploadStart {
            product_key: PRODUCT.to_owned(),
            after_check: after_check.into(),
            ..Default::default()
        };
        parts.send(message(Part::Start(start))).await?;
        let mut answers = self
            .0
            .upload_devices(ReceiverStream::new(sent))
            .await?
            .into_inner();
        let all = async move {
            for (at, names) in names.chunks(DEVICES_OF_A_PART).enumerate() {
                let part = UploadPart {
                    first_ordinal: (at * DEVICES_OF_A_PART) as i64,
                    devices: names.iter().map(|name| device(name)).collect(),
                };
                // A stream that takes no more says why in its answer.
                if parts.send(message(Part::Devices(part))).await.is_err() {
                    return;
                }
            }
            let total = names.len() as i64;
            let seal = message(Part::Seal(UploadSeal { total }));
            parts.send(seal).await.ok();
        };
        let stored = async {
            let mut last = None;
            while let Some(answer) = answers.message().await? {
                last = Some(answer);
            }
            anyhow::Ok(last.context("an upload without an answer")?)
        };
        let ((), last) = tokio::join!(all, stored);
        let last = last?;
        ensure!(last.next_ordinal == names.len() as i64, "not all is stored");
        Ok(last.apply.context("an apply")?.apply_id)
    }

    /// Submits devices by one call.
    pub(crate) async fn check(
        &mut self,
        names: &[String],
        after_check: AfterCheck,
    ) -> anyhow::Result<i64> {
        let request = CheckDevicesRequest {
            product_key: PRODUCT.to_owned(),
            devices: names.iter().map(|name| device(name)).collect(),
            after_check: after_check.into(),
            ..Default::default()
        };
        let answer = self.0.check_devices(request).await?.into_inner();
        Ok(answer.apply.context("an apply")?.apply_id)
    }

    /// Watches an apply until it has been registered or waits for somebody; what it then is.
    pub(crate) async fn watch(&mut self, apply_id: i64) -> anyhow::Result<Apply> {
        let request = WatchApplyRequest {
            apply_id,
            after_revision: 0,
            until: WatchUntil::Settled.into(),
        };
        let mut stream = self.0.watch_apply(request).await?.into_inner();
        let mut last = None;
        while let Some(message) = stream.message().await? {
            last = message.apply.or(last);
        }
        let Some(last) = last else {
            bail!("a watch without a word");
        };
        Ok(last)
    }

    /// Watches an apply to its end, which has to be that so many devices were created.
    pub(crate) async fn created(&mut self, apply_id: i64, devices: usize) -> anyhow::Result<()> {
        let apply = self.watch(apply_id).await?;
        let created = apply.counts.unwrap_or_default().created;
        ensure!(
            apply.settled && created == devices as i64,
            "of {devices} devices {created} were created: {apply:?}"
        );
        Ok(())
    }
}

fn device(name: &str) -> NewDevice {
    NewDevice {
        device_name: name.to_owned(),
        ..Default::default()
    }
}

/// So many random names of 20 characters; those of different seeds differ.
pub(crate) fn names(seed: u64, count: usize) -> Vec<String> {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = StdRng::seed_from_u64(seed);
    let letter = |random: &mut StdRng| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
    (0..count)
        .map(|_| (0..20).map(|_| letter(&mut random)).collect())
        .collect()
}
