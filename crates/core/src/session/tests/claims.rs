//! The right to several turns.

use super::world::*;
use crate::claim::{ClaimEnd, ClaimState};
use crate::id::{ClaimNo, PromptNo};
use crate::limits;
use crate::prompt::{Class, OnPreempt};
use crate::session::*;
use crate::turn::Ending;

impl World {
    fn claims(&mut self, by: &str, class: Class) -> ClaimNo {
        self.command(by, Command::Claim(new_claim(class))).unwrap();
        ClaimNo(self.state.next_claim.0 - 1)
    }

    fn prompts_under(&mut self, claim: ClaimNo, text: &str) -> Result<(), Rejection> {
        let (owner, class) = self
            .state
            .claims
            .get(&claim)
            .map_or_else(|| ("ann".into(), Class::Normal), |claim| (claim.owner.clone(), claim.class));
        self.command(&owner, Command::Prompt(NewPrompt { claim: Some(claim), ..new_prompt(text, class) }))
    }

    fn now_at(&mut self) -> Option<String> {
        let text = self.state.turn.as_ref().map(|turn| turn.prompt.text.to_string());
        self.works();
        text
    }

    fn claim_states(&self) -> Vec<(u32, ClaimState)> {
        self.state.claims.values().map(|claim| (claim.no.0, claim.state)).collect()
    }

    fn how_it_ended(&self, claim: ClaimNo) -> Option<ClaimEnd> {
        self.log.iter().find_map(|envelope| match &envelope.event {
            Event::ClaimEnded { claim: ended, how } if *ended == claim => Some(how.clone()),
            _ => None,
        })
    }
}

#[test]
fn o38_a_claim_over_several_prompts_is_not_broken_by_an_equal() {
    let mut w = World::idle();
    let a = w.claims("a", Class::Normal);
    assert_eq!(w.kinds(), ["claim.made", "claim.granted"]);
    w.prompts_under(a, "a1").unwrap();
    w.prompt("other");
    assert_eq!(w.now_at().as_deref(), Some("a1"));
    w.ends(Ending::Completed);
    assert_eq!((w.now_at(), w.status()), (None, Status::Queued), "the next turn is the claim's");
    w.prompts_under(a, "a2").unwrap();
    assert_eq!(w.now_at().as_deref(), Some("a2"));
    w.ends(Ending::Completed);
    w.command("a", Command::EndClaim { claim: a }).unwrap();
    assert_eq!((w.how_it_ended(a), w.now_at().as_deref()), (Some(ClaimEnd::Released), Some("other")));
}

#[test]
fn o37_urgent_claims_go_one_after_the_other_and_the_worker_after_both() {
    let mut w = World::idle();
    let worker = w.claims("worker", Class::Background);
    w.prompts_under(worker, "w1").unwrap();
    w.works();
    let (a, b) = (w.claims("a", Class::Urgent), w.claims("b", Class::Urgent));
    w.prompts_under(b, "b1").unwrap();
    w.prompts_under(worker, "w2").unwrap();
    w.prompts_under(a, "a1").unwrap();
    w.prompts_under(a, "a2").unwrap();
    let mut order = Vec::new();
    for (upto, claim) in [(1, None), (3, Some(a)), (4, Some(b)), (5, Some(worker))] {
        while order.len() < upto {
            order.push(w.now_at().unwrap());
            w.ends(Ending::Completed);
        }
        if claim == Some(a) {
            use ClaimState::{Held, Suspended, Waiting};
            assert_eq!(w.claim_states(), [(worker.0, Suspended), (a.0, Held), (b.0, Waiting)]);
        }
        if let Some(claim) = claim {
            w.asks(Command::EndClaim { claim });
        }
    }
    assert_eq!(order, ["w1", "a1", "a2", "b1", "w2"]);
}

#[test]
fn o38_the_next_prompt_of_a_claim_that_is_over_is_refused_and_what_it_had_queued_keeps_its_place() {
    let ends: [fn(&mut World, ClaimNo) -> ClaimEnd; 2] = [
        |w, _| {
            w.falls_due(Why::Claim);
            ClaimEnd::Expired
        },
        |w, claim| {
            w.command("bob", Command::EndClaim { claim }).unwrap();
            ClaimEnd::Evicted { by: "bob".into() }
        },
    ];
    for end in ends {
        let mut w = World::suspended();
        let a = w.claims("a", Class::Normal);
        let how = end(&mut w, a);
        assert_eq!(w.how_it_ended(a), Some(how));
        let refused = Err(Rejection::UnknownClaim { claim: a });
        assert_eq!(w.prompts_under(a, "late"), refused);
        assert_eq!(w.command("a", Command::RenewClaim { claim: a, ttl_ms: None }), refused);
        assert_eq!(w.command("a", Command::EndClaim { claim: a }), refused);
    }

    let mut w = World::running();
    let a = w.claims("a", Class::Normal);
    w.prompts_under(a, "a1").unwrap();
    w.prompt("other");
    w.asks(Command::EndClaim { claim: a });
    w.ends(Ending::Completed);
    assert_eq!(w.now_at().as_deref(), Some("a1"));
}

#[test]
fn a_claim_that_has_expired_is_over_even_before_anybody_looked() {
    let mut w = World::suspended();
    let a = w.claims("a", Class::Normal);
    w.wait(60_000);
    assert_eq!(w.prompts_under(a, "late"), Err(Rejection::UnknownClaim { claim: a }));
}

#[test]
fn a_claim_is_renewed_and_waits_for_its_turn_to_end() {
    let mut w = World::idle();
    let a = w.claims("a", Class::Normal);
    w.wait(50_000);
    w.command("a", Command::RenewClaim { claim: a, ttl_ms: None }).unwrap();
    assert_eq!(w.due(), Some((60_000, Why::Claim)));
    w.command("a", Command::RenewClaim { claim: a, ttl_ms: Some(90_000) }).unwrap();
    w.prompts_under(a, "a1").unwrap();
    w.works();
    w.wait(100_000);
    w.tick();
    assert_eq!(w.how_it_ended(a), None, "its turn runs");
    w.ends(Ending::Completed);
    assert_eq!((w.how_it_ended(a), w.status()), (Some(ClaimEnd::Expired), Status::Idle));
}

#[test]
fn a_claim_whose_turn_outlasts_its_time_can_be_renewed_and_given_back() {
    let late = || {
        let mut w = World::idle();
        let a = w.claims("a", Class::Normal);
        w.prompts_under(a, "a1").unwrap();
        w.works();
        w.wait(100_000);
        (w, a)
    };
    let (mut w, a) = late();
    assert_eq!(w.prompts_under(a, "a2"), Err(Rejection::UnknownClaim { claim: a }), "it is over for prompts");
    w.command("a", Command::RenewClaim { claim: a, ttl_ms: None }).unwrap();
    w.prompts_under(a, "a2").unwrap();
    w.ends(Ending::Completed);
    assert_eq!(w.now_at().as_deref(), Some("a2"));
    let (mut w, a) = late();
    w.command("a", Command::EndClaim { claim: a }).unwrap();
    assert_eq!(w.how_it_ended(a), Some(ClaimEnd::Released));
}

#[test]
fn o46_claims_that_cannot_be() {
    let mut w = World::suspended();
    for ttl_ms in [0, limits::CLAIM_TTL_MIN_MS - 1, limits::CLAIM_TTL_MAX_MS + 1] {
        let refused = w.refused(Command::Claim(NewClaim { ttl_ms, ..new_claim(Class::Normal) }));
        assert_eq!((refused.code(), refused.is_bad_input()), ("bad_ttl", true));
    }
    let a = w.claims("a", Class::Normal);
    let urgent = NewPrompt { claim: Some(a), ..new_prompt("x", Class::Urgent) };
    let other_class = Err(Rejection::ClaimClass { claim: a, class: Class::Normal });
    assert_eq!(w.command("a", Command::Prompt(urgent)), other_class);
    for _ in 1..limits::CLAIMS {
        w.claims("a", Class::Background);
    }
    let full = w.refused(Command::Claim(new_claim(Class::Urgent)));
    assert_eq!(full, Rejection::TooManyClaims { limit: limits::CLAIMS });
    w.stop();
    assert_eq!(w.how_it_ended(a), Some(ClaimEnd::SessionEnded));
    assert_eq!(w.refused(Command::Claim(new_claim(Class::Normal))), Rejection::Ended);
}

#[test]
fn prompts_are_moved_within_and_between_classes_but_not_out_of_a_claim() {
    let order = |w: &World| -> Vec<u32> { w.state.queue.iter().map(|prompt| prompt.no.0).collect() };
    let mut w = World::running();
    for _ in 2..=4 {
        w.prompt("more");
    }
    let to = |prompt: u32, class, to| Command::EditPrompt {
        prompt: PromptNo(prompt),
        text: None,
        class,
        to: Some(to),
    };
    w.asks(to(4, None, Move::First));
    assert_eq!(order(&w), [4, 2, 3]);
    w.asks(to(4, None, Move::Last));
    w.asks(to(3, Some(Class::Urgent), Move::First));
    assert_eq!(order(&w), [3, 2, 4]);
    let a = w.claims("a", Class::Normal);
    w.prompts_under(a, "a1").unwrap();
    let refused = w.refused(to(5, None, Move::First));
    assert_eq!(refused, Rejection::PromptClaimed { prompt: PromptNo(5), claim: a });
    assert_eq!(w.refused(to(1, None, Move::First)), Rejection::UnknownPrompt { prompt: PromptNo(1) });
}

#[test]
fn o38_a_prompt_that_is_moved_to_the_front_goes_before_claims_that_wait_and_in_the_middle_of_none() {
    use ClaimState::{Held, Suspended, Waiting};
    let first = |prompt: u32| Command::EditPrompt {
        prompt: PromptNo(prompt),
        text: None,
        class: None,
        to: Some(Move::First),
    };
    let mut w = World::idle();
    let (a, b) = (w.claims("a", Class::Normal), w.claims("b", Class::Normal));
    w.prompt("other");
    w.prompts_under(a, "a1").unwrap();
    assert_eq!(w.now_at().as_deref(), Some("a1"));
    w.prompts_under(a, "a2").unwrap();
    w.prompts_under(b, "b1").unwrap();
    w.asks(first(1));
    let order: Vec<&str> = w.state.queue.iter().map(|prompt| &*prompt.text).collect();
    assert_eq!(order, ["a2", "other", "b1"]);
    let cuts = NewClaim { preempt: true, ..new_claim(Class::Urgent) };
    w.command("c", Command::Claim(cuts)).unwrap();
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.claim_states(), [(a.0, Suspended), (b.0, Waiting), (3, Held)]);
    w.asks(first(1));
    w.asks(Command::EndClaim { claim: ClaimNo(3) });
    for next in ["a1", "a2"] {
        assert_eq!(w.now_at().as_deref(), Some(next));
        w.ends(Ending::Completed);
    }
    assert_eq!((w.now_at(), w.status()), (None, Status::Queued), "the next turn is the claim's");
    w.asks(Command::EndClaim { claim: a });
    assert_eq!(w.now_at().as_deref(), Some("other"), "moved to the front, it goes before who waits");
    w.ends(Ending::Completed);
    assert_eq!(w.now_at().as_deref(), Some("b1"));
}

#[test]
fn o38_what_an_ended_claim_left_and_somebody_lets_go_does_not_break_the_next_claim() {
    let mut w = World::idle();
    let held = NewClaim { on_preempt: OnPreempt::Hold, ..new_claim(Class::Normal) };
    w.command("a", Command::Claim(held)).unwrap();
    let a = ClaimNo(1);
    w.prompts_under(a, "a1").unwrap();
    w.works();
    w.command("u", Command::Prompt(NewPrompt { preempt: true, ..new_prompt("u1", Class::Urgent) })).unwrap();
    w.writes();
    w.ends(Ending::Aborted);
    assert_eq!(w.now_at().as_deref(), Some("u1"));
    w.asks(Command::EndClaim { claim: a });
    let b = w.claims("b", Class::Normal);
    w.prompts_under(b, "b1").unwrap();
    w.ends(Ending::Completed);
    assert_eq!(w.now_at().as_deref(), Some("b1"), "what waits to be let go holds nobody up");
    w.resume();
    w.ends(Ending::Completed);
    assert_eq!(w.now_at(), None, "it is the turn of the other claim");
    w.asks(Command::EndClaim { claim: b });
    assert_eq!(w.now_at().as_deref(), Some("a1"));
}

#[test]
fn a_one_shot_session_stays_while_somebody_has_a_claim_on_it() {
    let mut w = World::one_shot();
    let a = w.claims("a", Class::Normal);
    w.ends(Ending::Completed);
    w.wait(1_000);
    w.tick();
    assert_eq!(w.status(), Status::Idle);
    w.asks(Command::EndClaim { claim: a });
    assert_eq!(w.status(), Status::Stopping);
}

#[test]
fn whoever_resumes_a_one_shot_session_that_only_a_claim_keeps_gets_it() {
    for claim_is_over in [false, true] {
        let mut w = World::one_shot();
        let a = w.claims("a", Class::Normal);
        w.exits(ExitStatus::Code(1));
        assert_eq!((w.status(), w.outcome(1).word()), (Status::Suspended, "failed"));
        if claim_is_over {
            // Nobody has looked yet.
            w.wait(60_000);
        }
        w.resume();
        assert_eq!((w.status(), w.state.claims.contains_key(&a)), (Status::Starting, !claim_is_over));
        w.comes_up();
        w.wait(60_000);
        w.tick();
        assert_eq!(w.status(), Status::Idle, "it does not end as the turn did that was over before");
    }
}

#[test]
fn o46_a_claim_is_used_and_renewed_by_its_owner_alone() {
    let mut w = World::suspended();
    let a = w.claims("ann/ci", Class::Normal);
    let before = w.log.len();
    for other in ["ann", "ann/other", "ann/session:000000000000", "ann/session:000000000000/ci"] {
        let foreign = Err(Rejection::ForeignClaim { claim: a, owner: "ann/ci".to_owned() });
        let prompt = NewPrompt { claim: Some(a), ..new_prompt("mine now", Class::Normal) };
        assert_eq!(w.command(other, Command::Prompt(prompt)), foreign);
        assert_eq!(w.command(other, Command::RenewClaim { claim: a, ttl_ms: None }), foreign);
    }
    assert_eq!(w.log.len(), before);
    w.prompts_under(a, "mine").unwrap();
    let edit =
        || Command::EditPrompt { prompt: PromptNo(1), text: Some("mine now".into()), class: None, to: None };
    let foreign = Err(Rejection::ForeignClaim { claim: a, owner: "ann/ci".to_owned() });
    assert_eq!(w.command("ann", edit()), foreign, "nobody else puts words into its mouth");
    w.command("ann/ci", edit()).unwrap();
}
