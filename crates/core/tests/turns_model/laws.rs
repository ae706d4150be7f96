//! What has to hold in every state.

use std::collections::BTreeSet;

use lockkeeper_core::claim::ClaimState;
use lockkeeper_core::id::{AttemptNo, ClaimNo, PromptNo, TurnNo};
use lockkeeper_core::limits;
use lockkeeper_core::session::{
    Command, Envelope, Event, ExitStatus, Head, Input, InterruptCause, Life, NewPrompt, Observation, Process,
    Rejection, SlotUse, deadline, decide, slot_use,
};

use crate::given::{boot, command, env, exit, stamp};
use crate::told::Promise;
use crate::world::World;

pub(crate) const ONE_TURN: &str = "a single turn of ours is in flight";
pub(crate) const ORDER: &str = "the more urgent goes first, and within a class who came first";
pub(crate) const EQUALS: &str =
    "only what is strictly more urgent cuts a turn short, and three times at the most";
pub(crate) const NOT_LOST: &str = "no preemption is lost";
pub(crate) const ONE_OUTCOME: &str =
    "every prompt waits, runs, or came to one end, and what was cut short goes on once";
pub(crate) const STALE: &str = "what names an ended turn or an earlier process changes nothing";
pub(crate) const OVER: &str = "a prompt under a claim that is over is refused";
pub(crate) const LEADS_ON: &str = "something leads on";
pub(crate) const ALL: [&str; 8] = [ONE_TURN, ORDER, EQUALS, NOT_LOST, ONE_OUTCOME, STALE, OVER, LEADS_ON];

// What has to be met on the way, so that the properties above speak of something.
pub(crate) const CUT_UNWRITTEN: &str = "a turn is cut short whose prompt is not written";
pub(crate) const CUT_OWN: &str = "what the agent began itself is cut short";
pub(crate) const CUT_THRICE: &str = "something urgent waits for what was cut short three times";
pub(crate) const CALLED_UNSETTLED: &str = "something urgent comes while nobody knows how the turn stands";
pub(crate) const EXPIRED_IN_USE: &str = "a claim expires while its turn runs";
pub(crate) const TOOL_UNKNOWN: &str = "work waits for somebody, for a tool was cut short";

impl World {
    /// Whether something more urgent cuts short what runs.
    pub(crate) fn cuts(&self) -> bool {
        let cause = self.state.interrupt.as_ref().map(|interrupt| &interrupt.cause);
        matches!(cause, Some(InterruptCause::Preempted { .. }))
    }

    /// Whether a turn runs that something waiting would cut short.
    pub(crate) fn called_for(&self) -> bool {
        let runs = self.told.runs();
        let calls = |promise: &Promise| runs.is_some_and(|(_, class, _)| promise.calls(class));
        self.told.waiting.values().any(calls)
    }

    /// What has to hold between any two steps, beside what the events show.
    pub(crate) fn stands(&self) -> Vec<&'static str> {
        let (state, told) = (&self.state, &self.told);
        let mut broken = Vec::new();
        let waiting: BTreeSet<PromptNo> = state.queue.iter().map(|prompt| prompt.no).collect();
        let running = state.turn.as_ref().map(|turn| (turn.no, turn.prompt.no));
        if !waiting.iter().eq(told.waiting.keys()) || running != told.running.map(|(turn, no, _)| (turn, no))
        {
            broken.push(ONE_OUTCOME);
        }
        if state.claims.values().filter(|claim| claim.state == ClaimState::Held).count() > 1 {
            broken.push(ORDER);
        }
        let heeded = state.settled_since_boot
            && state.held.is_none()
            && state.interrupt.is_none()
            && state.closing.is_none();
        if let (true, Some((_, class, times))) = (heeded, told.runs()) {
            let fresh = |claim: &ClaimNo| !told.granted.contains(claim);
            let claim = told.claims.iter().any(|(no, claim)| fresh(no) && claim.calls(class));
            if times < limits::PREEMPTIONS && (claim || self.called_for()) {
                broken.push(NOT_LOST);
            }
        }
        let cancelled = state.interrupt.as_ref().map(|interrupt| interrupt.turn);
        let runs = [told.own, told.running.map(|(turn, _, _)| turn)];
        if cancelled.is_some() && !runs.contains(&cancelled) {
            broken.push(STALE);
        }
        broken
    }

    /// Interrupts that name one of the last turns that are over, and the exit of the process before this one.
    pub(crate) fn ignores_what_is_stale(&self) -> bool {
        let decide = |input| decide(&self.state, input, &env(self.slot));
        let last = self.told.last_turn;
        let runs = [self.told.own, self.told.running.map(|(turn, _, _)| turn)];
        let mut over =
            (last.saturating_sub(1).max(1)..=last).map(TurnNo).filter(|turn| !runs.contains(&Some(*turn)));
        let refused = |turn| {
            let interrupt = Command::Interrupt { turn: Some(turn) };
            matches!(decide(command("user", interrupt)), Err(Rejection::StaleTurn { .. }))
        };
        let attempt = AttemptNo(self.attempt().map_or(self.state.next_attempt.0, |attempt| attempt.0) - 1);
        let exited = Observation::Exited { attempt, exit: exit(ExitStatus::Code(0)) };
        over.all(refused) && decide(Input::Observation(exited)) == Ok(Vec::new())
    }

    /// One that has ended, or that was not renewed in time while its turn runs.
    pub(crate) fn refuses_claims_that_are_over(&self) -> bool {
        self.callers.iter().filter(|caller| caller.claim.is_some()).all(|caller| {
            let claim = caller.claim;
            let over = claim.is_some_and(|no| {
                !self.told.claims.contains_key(&no)
                    || self.state.claims.get(&no).is_some_and(|claim| claim.renewed == stamp(0))
            });
            let prompt = NewPrompt { claim, ..NewPrompt::new("late", caller.class) };
            let input = command("late", Command::Prompt(prompt));
            !over
                || matches!(decide(&self.state, input, &env(self.slot)), Err(Rejection::UnknownClaim { .. }))
        })
    }

    /// What waits has something that goes on, or a name for what it waits for.
    pub(crate) fn leads_on(&self) -> bool {
        let state = &self.state;
        let working = state.running_turn().is_some() || state.closing.is_some();
        let busy = working || !matches!(state.process, Process::Absent | Process::Live(_));
        if matches!(state.life, Life::Ended { .. }) || (state.queue.is_empty() && !busy) {
            return true;
        }
        if matches!(slot_use(state), SlotUse::Wants { .. }) {
            let events = decide(state, Input::Tick, &env(true)).unwrap();
            let begins = |made: &Envelope| {
                matches!(made.event, Event::TurnStarted { .. } | Event::AttemptLaunched { .. })
            };
            return !self.slot && events.iter().any(begins);
        }
        let killed = state.process.attempt().is_some_and(|attempt| !attempt.sent.is_empty());
        let timed = deadline(state, &boot()).is_some_and(|due| {
            let mut env = env(self.slot);
            env.now.awake = due.at.max(env.now.awake);
            decide(state, Input::Tick, &env).is_ok_and(|events| !events.is_empty())
        });
        let named = if busy && state.settled_since_boot {
            timed || state.has_open_gate() || !state.open_tools.is_empty() || killed
        } else {
            !state.settled_since_boot
                || state.held.is_some()
                || state.queue.first().is_none()
                || (timed && (state.backoff_until.is_some() || matches!(state.head(), Some(Head::Claim(_)))))
        };
        let mut acts = Vec::new();
        self.worlds_acts(&mut acts);
        named && (!busy || !acts.is_empty())
    }
}
