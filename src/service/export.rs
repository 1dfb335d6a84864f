//! ExportDevices: every device of an apply in its order, chunk by chunk, and credentials with them.
//!
//! A task of its own reads, and hands over one message at a time: while one chunk is handed over the
//! next is read, and then it waits for the caller. So a slow caller holds up nobody, not even the
//! pages in flight.

use std::{collections::HashMap, time::Duration};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
    stream,
    stream::BoxStream,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::{Service, access::Pass, answer, asked, status, watched::Streamed};
use crate::{
    credentials::{self, Credential, Reading},
    domain::{ApplyId, Caller, Ordinal, Outcome, Right, caller::Act},
    proto as pb,
    store::{AuditEntry, DeviceRow, Store},
    telemetry::trace,
};

/// Devices of one message. Promised in the proto; with long reasons some 500 kB.
const DEVICES: usize = 1_000;

/// Messages between the task and the transport.
const AHEAD: usize = 1;

impl Service {
    #[tracing::instrument(name = "rpc.export_devices", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn export(
        &self,
        pass: Pass,
        request: pb::ExportDevicesRequest,
    ) -> Result<BoxStream<'static, Result<pb::ExportDevicesResponse, Status>>, Status> {
        let wanted = asked::export(&request)?;
        let (apply, now) = self
            .store
            .apply(&pass.caller, wanted.apply)
            .await
            .map_err(status::of)?;
        let total = i64::from(now.counts.total());
        if request.from_ordinal > total {
            return Err(status::beyond_the_last(
                apply.id,
                request.from_ordinal,
                total,
            ));
        }
        let right = match wanted.credentials {
            true => Right::Credentials,
            false => Right::Read,
        };
        self.need(&pass.caller, right).await?;
        let exports = self.exports.clone();
        let place = exports
            .try_acquire_owned()
            .map_err(|_| status::too_many_exports(self.options.exports_at_once))?;
        if wanted.credentials {
            let entry = AuditEntry {
                caller: &pass.caller,
                what: Act::Credentials,
                apply: Some(apply.id),
                detail: &format!("from device {}", wanted.from),
            };
            self.store.audit(&entry).await.map_err(status::of)?;
        }
        let reader = Reader {
            store: self.store.clone(),
            caller: pass.caller.clone(),
            apply: apply.id,
            outcomes: wanted.outcomes,
            credentials: wanted
                .credentials
                .then(|| self.credentials.of_apply(&apply)),
            patience: self.credentials.patience(),
            _place: place,
        };
        let (messages, received) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        let reading = trace::carried(reader.run(wanted.from, messages));
        task.spawn(reading.in_current_span());
        let export = Export {
            apply: apply.id,
            received,
            task,
            next: request.from_ordinal,
            heartbeat: self.options.heartbeat,
            ended: pass
                .ended([Right::Read, right], apply.product_key)
                .boxed()
                .shared(),
            stop: self.stop.clone(),
            streamed: Streamed::new("ExportDevices"),
        };
        Ok(stream::try_unfold(export, |mut export| async move {
            let message = export.next().await;
            match &message {
                Ok(Some(_)) => {}
                Ok(None) => export.streamed.ends(Code::Ok),
                Err(status) => export.streamed.ends(status.code()),
            }
            Ok(message?.map(|message| (message, export)))
        })
        .boxed())
    }
}

/// What one caller is handed.
struct Export {
    apply: ApplyId,
    received: mpsc::Receiver<pb::ExportDevicesResponse>,
    /// What reads; it ends with this.
    task: JoinSet<Result<(), Status>>,
    /// Where the caller would go on.
    next: i64,
    /// How long it is silent at most.
    heartbeat: Duration,
    /// Over once the caller may not have this any more.
    ended: Shared<BoxFuture<'static, ()>>,
    stop: CancellationToken,
    streamed: Streamed,
}

impl Export {
    /// The next devices or sign of life; none after the last.
    async fn next(&mut self) -> Result<Option<pb::ExportDevicesResponse>, Status> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(status::stopping_export(self.apply, self.next)),
            () = self.ended.clone() => Err(status::export_barred(self.apply, self.next)),
            message = self.received.recv() => match message {
                Some(message) => {
                    self.next = message.next_ordinal;
                    Ok(Some(message))
                }
                None => self.over().await,
            },
            () = tokio::time::sleep(self.heartbeat) => Ok(Some(pb::ExportDevicesResponse {
                next_ordinal: self.next,
                ..Default::default()
            })),
        }
    }

    /// How the task has ended. One that broke off must not look like one that is through.
    async fn over(&mut self) -> Result<Option<pb::ExportDevicesResponse>, Status> {
        match self.task.join_next().await {
            Some(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an export broke off"
                );
                Err(status::internal())
            }
            Some(Ok(ended)) => ended.map(|()| None),
            None => Ok(None),
        }
    }
}

/// Reads for one export.
struct Reader {
    store: Store,
    caller: Caller,
    apply: ApplyId,
    outcomes: Vec<Outcome>,
    credentials: Option<Reading>,
    /// How long the caller may take nothing.
    patience: Duration,
    _place: OwnedSemaphorePermit,
}

/// What is ready to be handed over of a chunk, and where to read on.
struct Ready {
    messages: Vec<pb::ExportDevicesResponse>,
    next: Ordinal,
    /// The place after the last device of the chunk.
    end: Ordinal,
}

impl Reader {
    async fn run(
        mut self,
        from: Ordinal,
        messages: mpsc::Sender<pb::ExportDevicesResponse>,
    ) -> Result<(), Status> {
        let (apply, patience) = (self.apply, self.patience);
        let mut end = from;
        let part = || trace::part("export chunk", apply.0);
        let mut ready = self.read(from).instrument(part()).await?;
        while let Some(chunk) = ready {
            let (taken, read) = tokio::join!(
                hand_over(apply, chunk.messages, &messages, patience),
                self.read(chunk.next).instrument(part())
            );
            taken?;
            end = end.max(chunk.end);
            ready = read?;
        }
        let last = pb::ExportDevicesResponse {
            next_ordinal: end.into(),
            complete: true,
            ..Default::default()
        };
        hand_over(apply, vec![last], &messages, patience).await
    }

    /// The devices of the chunk that holds `from`, or of the next one that has some; none after the
    /// last.
    async fn read(&mut self, from: Ordinal) -> Result<Option<Ready>, Status> {
        let all = usize::MAX;
        let chunk =
            self.store
                .devices_of_chunk(&self.caller, self.apply, from, &self.outcomes, all);
        let Some(chunk) = chunk.await.map_err(status::of)? else {
            // Unless it was removed meanwhile.
            let again = self.store.apply(&self.caller, self.apply).await;
            again.map_err(status::of)?;
            return Ok(None);
        };
        let mut found = self.credentials_of(&chunk.devices).await?;
        let with_credentials = self.credentials.is_some();
        let devices: Vec<_> = chunk
            .devices
            .into_iter()
            .map(|device| {
                let found = found.as_mut().and_then(|all| all.remove(&device.name));
                exported(device, found, with_credentials)
            })
            .collect();
        Ok(Some(Ready {
            messages: messages(devices, chunk.end),
            next: chunk.next,
            end: chunk.end,
        }))
    }

    /// The credentials of those that are CREATED, by name, if they are wanted.
    async fn credentials_of(
        &mut self,
        devices: &[DeviceRow],
    ) -> Result<Option<HashMap<String, Credential>>, Status> {
        let created = devices
            .iter()
            .filter(|device| device.outcome == Outcome::Created);
        let created: Vec<_> = created
            .map(|device| (device.ordinal, device.name.as_str()))
            .collect();
        let (Some(reading), Some((first, _))) = (&mut self.credentials, created.first()) else {
            return Ok(None);
        };
        let found = reading.of(&created).await;
        found.map(Some).map_err(|error| match error {
            credentials::Error::Store(error) => status::of(error),
            credentials::Error::Upstream { said } => {
                status::no_credentials(self.apply, (*first).into(), &said)
            }
        })
    }
}

/// Hands messages over as the caller takes them.
async fn hand_over(
    apply: ApplyId,
    ready: Vec<pb::ExportDevicesResponse>,
    messages: &mpsc::Sender<pb::ExportDevicesResponse>,
    patience: Duration,
) -> Result<(), Status> {
    for message in ready {
        let from = message.devices.first().map_or(message.next_ordinal, first);
        let sent = tokio::time::timeout(patience, messages.send(message)).await;
        // Who has gone ends the task as well.
        if sent.is_err() {
            return Err(status::not_taken(apply, from));
        }
    }
    Ok(())
}

fn first(device: &pb::ExportedDevice) -> i64 {
    device.device.as_ref().map_or(0, |device| device.ordinal)
}

/// A chunk's devices in messages. After the last of them the caller goes on at `end`.
fn messages(devices: Vec<pb::ExportedDevice>, end: Ordinal) -> Vec<pb::ExportDevicesResponse> {
    let mut devices = devices.into_iter().peekable();
    let mut messages = Vec::new();
    while devices.peek().is_some() {
        let some: Vec<_> = devices.by_ref().take(DEVICES).collect();
        let next_ordinal = devices.peek().map_or(end.into(), first);
        messages.push(pb::ExportDevicesResponse {
            devices: some,
            next_ordinal,
            complete: false,
        });
    }
    messages
}

fn exported(
    device: DeviceRow,
    found: Option<Credential>,
    with_credentials: bool,
) -> pb::ExportedDevice {
    let is_created = device.outcome == Outcome::Created;
    let credentials_missing = with_credentials && is_created && found.is_none();
    // A device of another outcome has none to be told, whatever the upstream lists.
    let (iot_id, device_secret) = match found.filter(|_| is_created) {
        Some(found) => (
            found.iot_id.unwrap_or_default(),
            found
                .secret
                .map_or_else(String::new, |secret| secret.reveal().to_owned()),
        ),
        None => Default::default(),
    };
    pb::ExportedDevice {
        device: Some(answer::device(device)),
        iot_id,
        device_secret,
        credentials_missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ordinal: i64) -> pb::ExportedDevice {
        pb::ExportedDevice {
            device: Some(pb::Device {
                ordinal,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_message_says_where_the_next_one_begins_and_the_last_where_the_chunk_ends() {
        let told = messages((0..2_500).map(|n| device(2 * n)).collect(), 7_000);

        let sizes: Vec<_> = told.iter().map(|message| message.devices.len()).collect();
        let next: Vec<_> = told.iter().map(|message| message.next_ordinal).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
        assert_eq!(next, [2_000, 4_000, 7_000]);
        assert!(messages(Vec::new(), 7).is_empty());
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = pb::ExportedDevice {
            device_secret: "canary".into(),
            ..device(0)
        };
        let message = pb::ExportDevicesResponse {
            devices: vec![secret],
            ..Default::default()
        };

        assert!(!format!("{message:?}").contains("canary"));
    }
}
