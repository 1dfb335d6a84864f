//! What each action does and answers, once the gateway has let it through.

use super::action::Action;
use super::answers::{Answer, Refusal};
use super::case::{Case, Given, No};
use super::options::Options;
use super::request::Params;
use super::world::World;
use super::{checks, details, imports, queries};

/// An answer with what the ledger tells of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) answer: Answer,
    pub(super) apply_id: Option<u64>,
    pub(super) names: Option<Given>,
}

/// Does what `params` ask for. Refused only when the journal cannot be written, and when a fault
/// has a call for the product refused in the gateway's way.
pub(super) fn perform(
    world: &mut World,
    options: &Options,
    action: Action,
    params: &Params<'_>,
    now: u64,
) -> Result<Done, Refusal> {
    world.state.settle(now);
    let mut case = Case::new(world, options, params, now);
    let outcome = match action {
        Action::BatchCheckDeviceNames => checks::check(&mut case),
        Action::BatchRegisterDevice => checks::register_count(&mut case),
        Action::BatchRegisterDeviceWithApplyId => checks::register(&mut case),
        Action::QueryBatchRegisterDeviceStatus => queries::status(&case),
        Action::QueryPageByApplyId => queries::page(&case),
        Action::BatchCheckImportDevice => imports::check(&mut case),
        Action::BatchImportDevice => imports::import(&mut case),
        Action::QueryImportedDeviceByApplyId => imports::page(&case),
        Action::QueryDeviceDetail => details::device(&case),
        Action::BatchQueryDeviceDetail => details::devices(&case),
        Action::DeleteDevice => details::delete(&mut case),
        Action::QueryProduct => details::product(&case),
    };
    let answer = match outcome {
        Ok(answer) => answer,
        Err(No::Failure(failure)) => Answer::failure(&failure),
        Err(No::Refusal(refusal)) => return Err(refusal),
        Err(No::Broken(error)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "journal not written"
            );
            return Err(Refusal::internal());
        }
    };
    Ok(Done {
        answer,
        apply_id: case.apply_id,
        names: case.names,
    })
}
