//! Steps of rounds whose devices bring their own secrets. They are opened only here, for the call
//! that sends or compares them.

use std::error::Error as StdError;

use super::{
    Worker, brought,
    judge::{self, Judged},
    step::lost_is_refused,
};
use crate::{
    breaking::{self, Fault},
    domain::{DeviceSecret, Lane, Phase, round::Event},
    lanes::Slot,
    store::{self, Claim, Members},
    upstream::{self, Answer, Product, Scope, Stamp, Status, Verdict},
    vault,
};

impl Worker {
    /// Takes a claimed round of an import one call further and records what it learnt.
    pub(super) async fn step_of_import(
        &self,
        lane: Lane,
        claim: &Claim,
        slot: Slot,
        product: Product<'_>,
    ) -> Result<(), store::Error> {
        match claim.round.phase {
            Phase::CheckImport => self.check_import(claim, slot, product).await,
            Phase::Importing => self.import(claim, slot, product).await,
            Phase::Imported | Phase::ListImported => {
                let id = claim.round.upstream_apply.unwrap_or_default();
                let call = self.upstream.imported(product, id, claim.page as u32 + 1);
                let Ok(mut answer) = self.send(lane, claim, slot, &call, None).await? else {
                    return self.give_back(claim).await;
                };
                self.scrub(claim, told(&mut answer)).await?;
                let (open, judged) = match claim.round.phase {
                    Phase::ListImported if !brought::is_last_page(&answer, claim) => {
                        (None, brought::read(&answer, claim))
                    }
                    Phase::ListImported => {
                        let members = self.store.members(claim).await?;
                        let before = self.store.listed(claim).await?;
                        let judged = brought::list(&answer, claim, &members, &before);
                        (Some(members.ordinals), judged)
                    }
                    _ => {
                        let open = self.store.open(claim).await?;
                        let judged = brought::count(&answer, claim, open.len());
                        (Some(open), judged)
                    }
                };
                self.finish(lane, claim, open, judged, answer, |_| Some(id))
                    .await
            }
            Phase::Check
            | Phase::Checking
            | Phase::Held
            | Phase::Register
            | Phase::Registering
            | Phase::Creating
            | Phase::Counting
            | Phase::Listing
            | Phase::Unknown
            | Phase::Unresolved
            | Phase::Import
            | Phase::Lookup
            | Phase::Ended => self.give_back(claim).await,
        }
    }

    async fn check_import(
        &self,
        claim: &Claim,
        slot: Slot,
        product: Product<'_>,
    ) -> Result<(), store::Error> {
        let lane = Lane::CheckImport;
        let members = self.store.members(claim).await?;
        if members.names.is_empty() {
            let nothing = Judged::now(Event::NothingLeft);
            return self
                .record(claim, Some(members.ordinals), nothing, None)
                .await;
        }
        let secrets = match self.secrets(claim, &members) {
            Ok(secrets) => secrets,
            Err(error) => return self.locked_out(claim, members, &error).await,
        };
        let call = self
            .upstream
            .check_import(product, members.brings(&secrets));
        let Ok(mut answer) = self.send(lane, claim, slot, &call, None).await? else {
            return self.give_back(claim).await;
        };
        for_this_apply(&mut answer);
        let judged = brought::check(&answer, &members, claim.attempts);
        self.finish(lane, claim, Some(members.ordinals), judged, answer, |_| {
            None
        })
        .await
    }

    /// Sends an import under the intent that the claim has written: the same request to the last byte,
    /// however often.
    async fn import(
        &self,
        claim: &Claim,
        slot: Slot,
        product: Product<'_>,
    ) -> Result<(), store::Error> {
        let lane = Lane::Import;
        let Some((intent, nonce)) = claim.intent.and_then(|one| Some((one, one.nonce?))) else {
            return self.give_back(claim).await;
        };
        if intent.fresh && claim.stale {
            let stale = Judged::now(Event::Stale);
            return self.record(claim, None, stale, None).await;
        }
        let window = self.options.upstream_time_window;
        let in_time = judge::may_be_sent_again(self.upstream.now(), &intent, window);
        // The upstream may not know its nonce any more, of a database that was restored long after.
        if !intent.fresh && (claim.cancelling || claim.round.restored || !in_time) {
            let lost = Judged::now(brought::lost());
            return self.record(claim, None, lost, None).await;
        }
        let members = self.store.members(claim).await?;
        if members.names.is_empty() {
            let nothing = Judged::now(Event::NothingLeft);
            return self
                .record(claim, Some(members.ordinals), nothing, None)
                .await;
        }
        let secrets = match self.secrets(claim, &members) {
            Ok(secrets) => secrets,
            Err(error) => return self.locked_out(claim, members, &error).await,
        };
        let call = self.upstream.import(product, members.brings(&secrets));
        let nonce = match breaking::on(Fault::ResendDiffers) {
            true => uuid::Uuid::new_v4(),
            false => nonce,
        };
        let stamp = Stamp {
            nonce,
            date: intent.signed_at,
        };
        let call = call.stamped(stamp);
        let Ok(mut answer) = self.send(lane, claim, slot, &call, None).await? else {
            return match intent.fresh {
                true => {
                    let unsent = Judged::now(Event::NotRegistered);
                    self.record(claim, Some(members.ordinals), unsent, None)
                        .await
                }
                false => self.give_back(claim).await,
            };
        };
        for_this_apply(&mut answer);
        let judged = match lost_is_refused(&answer) {
            true => Judged::now(Event::NotRegistered),
            false => brought::import(&answer, claim, &members, intent.fresh),
        };
        self.finish(lane, claim, Some(members.ordinals), judged, answer, |ok| {
            Some(ok.apply_id)
        })
        .await
    }

    /// Cuts the secrets of a round out of what the upstream says in answer to a call that did not
    /// bring them, as far as it is kept. Where they cannot be opened nothing of it is.
    pub(super) async fn scrub(
        &self,
        claim: &Claim,
        mut texts: Vec<&mut String>,
    ) -> Result<(), store::Error> {
        if texts.is_empty() {
            return Ok(());
        }
        let members = self.store.members(claim).await?;
        let secrets = self.secrets(claim, &members).ok();
        for text in &mut texts {
            **text = match &secrets {
                Some(secrets) => upstream::without_secrets(text, secrets),
                None => upstream::UNQUOTED.to_owned(),
            };
        }
        Ok(())
    }

    /// The same for a status, which may name devices.
    pub(super) async fn scrub_status(
        &self,
        claim: &Claim,
        answer: &mut Answer<Status>,
    ) -> Result<(), store::Error> {
        let texts = match &mut answer.outcome {
            Ok(status) => {
                let refused = status.invalid.iter_mut();
                refused.filter_map(|device| device.text.as_mut()).collect()
            }
            Err(error) => vec![&mut error.message],
        };
        self.scrub(claim, texts).await
    }

    /// The secrets of a round's devices, in their order.
    pub(super) fn secrets(
        &self,
        claim: &Claim,
        members: &Members,
    ) -> Result<Vec<DeviceSecret>, vault::Error> {
        let wrapped = claim.data_key.as_deref().ok_or(vault::Error::Damaged)?;
        let key = self.vault.unwrap(wrapped)?;
        let mut secrets = Vec::with_capacity(members.names.len());
        for sealed in members.brought.iter().flat_map(|brought| &brought.sealed) {
            let chunk = key.open(&sealed.secrets, sealed.chunk_no)?;
            for place in &sealed.places {
                secrets.push(chunk.get(*place).ok_or(vault::Error::Damaged)?.clone());
            }
        }
        match secrets.len() == members.names.len() {
            true => Ok(secrets),
            false => Err(vault::Error::Damaged),
        }
    }

    /// Waits for the key that a round needs, as long as for an upstream that is down.
    pub(super) async fn locked_out(
        &self,
        claim: &Claim,
        members: Members,
        error: &vault::Error,
    ) -> Result<(), store::Error> {
        tracing::error!(
            apply.id = %claim.apply,
            round.no = claim.round_no,
            error = error as &dyn StdError,
            "the secrets of an import cannot be opened; its round waits"
        );
        let judged = self.options.waits.end_locked_out(claim, error);
        self.record(claim, Some(members.ordinals), judged, None)
            .await
    }
}

impl Members {
    /// Name, secret and serial number of each.
    fn brings<'a>(
        &'a self,
        secrets: &'a [DeviceSecret],
    ) -> impl Iterator<Item = (&'a str, &'a DeviceSecret, Option<&'a str>)> {
        let sns = self.brought.as_ref().map_or(&[][..], |all| &all.sns);
        let names = self.names.iter().map(String::as_str);
        names.zip(secrets).enumerate().map(|(at, (name, secret))| {
            let sn = sns.get(at).map(String::as_str);
            (name, secret, sn.filter(|sn| !sn.is_empty()))
        })
    }
}

/// What a failure says, which is kept.
pub(super) fn told<T>(answer: &mut Answer<T>) -> Vec<&mut String> {
    let error = answer.outcome.as_mut().err();
    error.into_iter().map(|error| &mut error.message).collect()
}

/// An instance or a product that takes no imports may well take names: others that wait for it are
/// not held up, and waiting would not help this one.
fn for_this_apply<T>(answer: &mut Answer<T>) {
    if let Err(error) = &mut answer.outcome
        && judge::is(error, "iot.common.APINotSupportedInInstance")
    {
        error.scope = Scope::Call;
        error.verdict = Verdict::Final;
    }
}
