//! Equal situations look equal.

use std::collections::BTreeSet;

use lockkeeper_core::prompt::Prompt;
use lockkeeper_core::session::{Attempt, Process, Queue, State};

/// The number of the last event, in every state: it counts and decides nothing but the next rank.
const SEQ: u64 = 1_000;

/// Makes equal what differs in numbers alone: ranks keep their order, and what is only shown or counted is let go.
pub(crate) fn level(state: &mut State) {
    let mut prompts: Vec<Prompt> = state.queue.iter().cloned().collect();
    let ranks: BTreeSet<i64> = prompts
        .iter()
        .map(|prompt| prompt.rank)
        .chain(state.claims.values().map(|claim| claim.rank))
        .chain(state.turn.iter().map(|turn| turn.prompt.rank))
        .collect();
    // The rank of the claim whose turn it is stays the first of all.
    let rank = |rank: &mut i64| {
        if *rank != i64::MIN {
            *rank = i64::try_from(ranks.range(..*rank).count()).unwrap();
        }
    };
    for prompt in &mut prompts {
        rank(&mut prompt.rank);
    }
    state.queue = Queue::from(prompts);
    for claim in state.claims.values_mut() {
        rank(&mut claim.rank);
    }
    if let Some(turn) = &mut state.turn {
        rank(&mut turn.prompt.rank);
    }
    state.seq = SEQ;
    state.status.cause.seq = SEQ;
    state.status.cause.kind.clear();
    state.beneath = None;
    state.controls.clear();
    state.next_control.0 = 1;
    (state.last_turn, state.last_exit, state.last_verdict) = (None, None, None);
    (state.last_turn_ended, state.watched_since) = (None, None);
    (state.turns_ended, state.turns_before) = (0, 0);
    if let Process::Launching(attempt) | Process::Opening(attempt) | Process::Live(attempt) =
        &mut state.process
    {
        for (number, out) in (1..).zip(&mut attempt.outbox.pending) {
            out.number = number;
        }
        attempt.outbox.next = attempt.outbox.pending.len() as u64 + 1;
    }
}

/// All of a state that is not the same in every state of this model. No field is left out by accident.
#[rustfmt::skip]
pub(crate) fn told_apart_by(state: &State) -> String {
    let State {
        life, settled_since_boot, process, turn, own_turn, interrupt, closing, queue, claims, held, launch_wanted,
        gates, gated, wanted, conversation, open_tools, crashes, backoff_until, cut, next_turn, next_prompt, next_gate,
        next_claim, next_attempt, status,
        // Nothing here changes these.
        id: _, profile: _, created: _, using_model: _, using_mode: _, tasks: _, opened_after: _, last_task_ended: _, limited_until: _, bypass: _, rules: _, wanted_rules: _, next_rule: _, notices: _, next_notice: _,
        usage: _, cost_before_micro_usd: _, cost_attempt_micro_usd: _,
        // These are levelled.
        seq: _, controls: _, next_control: _, last_turn: _, last_turn_ended: _, watched_since: _, last_exit: _,
        last_verdict: _, turns_ended: _, turns_before: _, beneath: _,
    } = state;
    let coming = match process {
        Process::Absent => 0,
        Process::Launching(_) => 1,
        Process::Opening(_) => 2,
        Process::Live(_) => 3,
    };
    let attempt = process.attempt().map(|attempt| {
        let Attempt {
            no, outbox, sent, stdin_closed,
            manner: _, resume: _, model: _, mode: _, workspace: _, asked: _, process: _, spawned: _, version: _, active: _,
            unreadable: _,
            // None is ever told to be delivered.
            signals: _,
        } = attempt;
        (no, outbox, sent.len(), stdin_closed)
    });
    let doing = (life, settled_since_boot, coming, attempt, turn, own_turn, interrupt, closing, status.status);
    let waiting = (queue, claims, held, launch_wanted, gates, gated, wanted, open_tools, crashes.len(), backoff_until);
    let counted = (conversation, cut, next_turn, next_prompt, next_gate, next_claim, next_attempt);
    serde_json::to_string(&(doing, waiting, counted)).unwrap()
}
