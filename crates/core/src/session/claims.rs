//! Claims: whose turns the next ones are.

use super::command::NewClaim;
use super::deadline::{Deadline, Why, at};
use super::decide::Step;
use super::event::Event;
use super::queue::Head;
use super::rejection::Rejection;
use super::state::{Life, State};
use crate::claim::{Claim, ClaimEnd, ClaimState};
use crate::id::ClaimNo;
use crate::limits;
use crate::time::BootId;

impl Step<'_> {
    pub(super) fn claim(&mut self, new: NewClaim, by: &str) -> Result<(), Rejection> {
        check_ttl(new.ttl_ms)?;
        if matches!(self.state.life, Life::Ended { .. }) {
            return Err(Rejection::Ended);
        }
        if self.state.closing.as_ref().is_some_and(|closing| closing.why.is_final()) {
            return Err(Rejection::Stopping);
        }
        if self.state.claims.len() >= limits::CLAIMS {
            return Err(Rejection::TooManyClaims { limit: limits::CLAIMS });
        }
        let claim = Claim {
            no: self.state.next_claim,
            owner: by.into(),
            class: new.class,
            rank: self.next_rank(),
            preempt: new.preempt,
            on_preempt: new.on_preempt,
            ttl_ms: new.ttl_ms,
            made: self.env.now.clone(),
            renewed: self.env.now.clone(),
            state: ClaimState::Waiting,
        };
        self.emit(Event::ClaimMade { claim });
        Ok(())
    }

    pub(super) fn renew_claim(
        &mut self,
        claim: ClaimNo,
        ttl_ms: Option<u64>,
        by: &str,
    ) -> Result<(), Rejection> {
        let known = owned(self.lasting(claim)?, by)?;
        let ttl_ms = ttl_ms.unwrap_or(known.ttl_ms);
        check_ttl(ttl_ms)?;
        self.emit(Event::ClaimRenewed { claim, ttl_ms });
        Ok(())
    }

    pub(super) fn end_claim(&mut self, claim: ClaimNo, by: &str) -> Result<(), Rejection> {
        let how = match &*self.lasting(claim)?.owner {
            owner if owner == by => ClaimEnd::Released,
            _ => ClaimEnd::Evicted { by: by.into() },
        };
        self.emit(Event::ClaimEnded { claim, how });
        Ok(())
    }

    /// A claim that this caller can use: its own.
    pub(super) fn claim_of(&self, no: ClaimNo, by: &str) -> Result<&Claim, Rejection> {
        owned(self.claimed(no)?, by)
    }

    /// A claim that lasts: also one whose turn runs on beyond its time, which its owner may renew or give back as long as
    /// it does.
    fn lasting(&self, no: ClaimNo) -> Result<&Claim, Rejection> {
        match self.state.claims.get(&no).filter(|_| self.state.uses(no)) {
            Some(used) => Ok(used),
            None => self.claimed(no),
        }
    }

    /// A claim that is not over. One that has expired is over, even if nobody has looked yet.
    fn claimed(&self, no: ClaimNo) -> Result<&Claim, Rejection> {
        let claim = self.state.claims.get(&no).ok_or(Rejection::UnknownClaim { claim: no })?;
        if expiry(claim, &self.env.now.boot).at <= self.env.now.awake {
            return Err(Rejection::UnknownClaim { claim: no });
        }
        Ok(claim)
    }

    /// Ends the claims that were not renewed in time. One whose turn runs lasts until that has ended.
    pub(super) fn expire_claims(&mut self) {
        let due = |claim: &&Claim| expiry(claim, &self.env.now.boot).at <= self.env.now.awake;
        let expired: Vec<ClaimNo> = self
            .state
            .claims
            .values()
            .filter(due)
            .map(|claim| claim.no)
            .filter(|no| !self.state.uses(*no))
            .collect();
        for claim in expired {
            self.emit(Event::ClaimEnded { claim, how: ClaimEnd::Expired });
        }
    }

    /// Between turns, the claim that comes first gets the next ones.
    pub(super) fn grant_claim(&mut self) {
        if self.state.turn.is_some() || self.state.own_turn.is_some() {
            return;
        }
        let next = match self.state.head() {
            Some(Head::Claim(claim)) => Some(claim.no),
            Some(Head::Prompt(prompt)) => prompt.claim.filter(|claim| self.state.claims.contains_key(claim)),
            None => None,
        };
        let Some(next) = next.filter(|next| self.state.holder().is_none_or(|holder| holder.no != *next))
        else {
            return;
        };
        self.suspend_holder();
        self.emit(Event::ClaimGranted { claim: next });
    }

    /// Something of a higher class goes before the claim whose turn it was.
    pub(super) fn suspend_holder(&mut self) {
        if let Some(claim) = self.state.holder().map(|holder| holder.no) {
            self.emit(Event::ClaimSuspended { claim });
        }
    }

    /// No claim outlives the session that it is on.
    pub(super) fn end_claims(&mut self) {
        let claims: Vec<ClaimNo> = self.state.claims.keys().copied().collect();
        for claim in claims {
            self.emit(Event::ClaimEnded { claim, how: ClaimEnd::SessionEnded });
        }
    }
}

impl State {
    /// Whether the turn that runs belongs to a claim.
    pub fn uses(&self, claim: ClaimNo) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.prompt.claim == Some(claim))
    }

    /// When the claims expire whose turns do not run.
    pub(super) fn expiries<'a>(&'a self, boot: &'a BootId) -> impl Iterator<Item = Deadline> {
        self.claims.values().filter(|claim| !self.uses(claim.no)).map(|claim| expiry(claim, boot))
    }
}

fn owned<'a>(claim: &'a Claim, by: &str) -> Result<&'a Claim, Rejection> {
    if &*claim.owner == by {
        Ok(claim)
    } else {
        Err(Rejection::ForeignClaim { claim: claim.no, owner: claim.owner.to_string() })
    }
}

/// When a claim is over if nobody renews it.
fn expiry(claim: &Claim, boot: &BootId) -> Deadline {
    at(&claim.renewed, claim.ttl_ms, Why::Claim, boot)
}

fn check_ttl(ttl_ms: u64) -> Result<(), Rejection> {
    let (least, most) = (limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS);
    if (least..=most).contains(&ttl_ms) { Ok(()) } else { Err(Rejection::BadTtl { least, most }) }
}
