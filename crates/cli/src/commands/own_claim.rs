//! The claim that a command runs under, which `lk claim` names in its environment.
//!
//! A prompt or a claim beside it would wait until it is over, and so would whoever waits for that under it, for ever. So
//! what asks for one is refused, unless it says that it is no matter of the claim by unsetting the variable.

use std::env;

use lockkeeper_api::client::ClientError;
use lockkeeper_api::id::ClaimNo;
use lockkeeper_api::{Claim, ClaimQuery, ErrorCode, InnerReference, Reference};

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::refs;

/// Where a command finds its claim.
pub(super) const VARIABLE: &str = "LK_CLAIM";

/// The claim on a session that this runs under.
pub(super) enum OwnClaim {
    /// There is none, or it is one on another session.
    None,
    /// It is held, or waits for its turn again.
    Lasts(Claim),
    /// It is over, with the problem that says so.
    Over(ClientError),
}

/// Looks for it.
pub(super) async fn look(context: &Context, session: &Reference) -> Outcome<OwnClaim> {
    let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) else {
        return Ok(OwnClaim::None);
    };
    let claim: InnerReference<ClaimNo> = named.to_string_lossy().parse()?;
    let session = context.client.session(session).await?;
    if claim.session.id().as_ref() != Some(&session.id) {
        return Ok(OwnClaim::None);
    }
    match context.client.claim_state(&claim, ClaimQuery::default()).await {
        Ok(claim) => Ok(OwnClaim::Lasts(claim)),
        Err(error) if error.is(ErrorCode::ClaimOver) => Ok(OwnClaim::Over(error)),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a claim beside the claim.
pub(super) fn refuse_claim(claim: &Claim) -> Failure {
    refuse(
        format!("{} has the session's next turns, and this runs under it already", refs::inner(&claim.id)),
        "run the command without `lk claim`",
    )
}

/// Refuses a prompt with a class of its own.
pub(super) fn refuse_class(claim: &Claim) -> Failure {
    refuse(
        format!("a prompt with a class of its own would wait for the end of {}", refs::inner(&claim.id)),
        "leave out --class",
    )
}

/// Refuses a prompt that says itself who gives way to whom.
pub(super) fn refuse_preempted(claim: &Claim) -> Failure {
    refuse(
        format!("the claim {} says whether it preempts", refs::inner(&claim.id)),
        "leave out --preempt and --on-preempt",
    )
}

fn refuse(what: String, instead: &str) -> Failure {
    Failure::usage(what).next(format!("{instead}, or unset {VARIABLE} to ask for it beside the claim"))
}
