//! Submissions whose devices bring their own secrets: what such a request may hold, and the seal that
//! is put on it before it is stored.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Service, complaints::Complaints, requests, status};
use crate::{
    domain::{
        DeviceSecret, Fingerprint, RequestKey, Submission,
        device::{Brought, NewDevice},
    },
    proto as pb,
    vault::{Error, Vault},
};

/// Complains about what would be lost: secrets of devices that are not imported, and what an import
/// does not take.
pub(super) fn complain(request: &pb::CheckDevicesRequest, complaints: &mut Complaints) {
    if request.import && request.generated.is_some() {
        complaints.add(
            "import",
            "needs devices with their secrets; leave out generated",
        );
    }
    for (at, device) in request.devices.iter().enumerate() {
        let mut about = |field: &str, what: &str| {
            complaints.add_args(
                format_args!("devices[{at}].{field}"),
                format_args!("{what}"),
            );
        };
        if request.import {
            if !device.nickname.is_empty() {
                about(
                    "nickname",
                    "must be empty with import: the upstream takes none there",
                );
            }
            continue;
        }
        let lost = "would be lost without import; set it, or leave this empty";
        if !device.device_secret.is_empty() {
            about("device_secret", lost);
        }
        if !device.sn.is_empty() {
            about("sn", lost);
        }
    }
}

/// A device of a request.
pub(super) fn device(device: pb::NewDevice, import: bool) -> NewDevice {
    NewDevice {
        name: device.device_name,
        nickname: device.nickname,
        brought: import.then(|| Brought {
            secret: DeviceSecret::new(device.device_secret),
            sn: device.sn,
        }),
    }
}

impl Service {
    /// What a submission is remembered by: a hash, and of an import a keyed one, since its secrets
    /// could be guessed from another.
    pub(super) async fn key(
        &self,
        id: String,
        submission: &Submission,
    ) -> Result<RequestKey, Status> {
        let mut key = requests::key(id, submission.fingerprint());
        if submission.is_import() {
            key.fingerprint = self.keyed(&key).await?;
        }
        Ok(key)
    }

    async fn keyed(&self, key: &RequestKey) -> Result<Fingerprint, Status> {
        let plain = &key.fingerprint;
        let stored = self.store.fingerprint_of(key).await;
        let stored = stored.map_err(status::of)?;
        // One that was keyed before a rotation is told by the key of its time.
        match stored {
            Some(stored) if is_same(&self.vault, &stored, plain).map_err(closed)? => {
                Ok(Fingerprint(stored))
            }
            _ => self.vault.mac(&plain.0).map(Fingerprint).map_err(closed),
        }
    }

    /// Seals the secrets of an import under a new data key.
    pub(super) fn seal(&self, submission: &mut Submission) -> Result<(), Status> {
        if submission.is_import() {
            let (key, wrapped) = self.vault.new_data_key().map_err(closed)?;
            submission.seal(wrapped.0, |secrets, chunk_no| key.seal(secrets, chunk_no));
        }
        Ok(())
    }
}

/// Whether a stored fingerprint is one of the same content. One without a key is of no import.
fn is_same(vault: &Vault, stored: &[u8], plain: &Fingerprint) -> Result<bool, Error> {
    match vault.mac_matches(stored, &plain.0) {
        Err(Error::Damaged) => Ok(false),
        told => told,
    }
}

/// No key, or not the one that is needed.
fn closed(error: Error) -> Status {
    let (reason, message) = match &error {
        Error::Closed => (
            "VAULT_CLOSED",
            "this server has no keys to seal device secrets with, and takes no imports; have its \
             operator set --secret-keys-file (REGISTRAR_SECRET_KEYS_FILE)"
                .to_owned(),
        ),
        Error::UnknownKey(_) => (
            "SECRET_KEY_MISSING",
            format!(
                "the request cannot be compared with the one before: {error}; or take a new \
                     request_id"
            ),
        ),
        Error::Damaged => {
            tracing::error!(error = %error, "a call failed");
            let details = status::info("INTERNAL", []);
            return Status::with_error_details(Code::Internal, "internal error", details);
        }
    };
    let mut details = status::info(reason, []);
    details.add_precondition_failure_violation(reason, "vault", message.clone());
    Status::with_error_details(Code::FailedPrecondition, message, details)
}
