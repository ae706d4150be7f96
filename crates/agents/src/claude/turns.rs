//! Whose turn it is: which turns answer our prompts, and which the agent began itself.
//!
//! Four facts tell, the surest first: `command_lifecycle` names the prompts that a turn starts with (2.1.329),
//! `result.user_message_uuids` those that it answered, `result.origin` a turn that nobody asked for, and the replay
//! of a prompt's line its turn (both). Where none has come yet, a turn is ours if a prompt of ours is in flight and no
//! task of the agent has reported since the last turn.

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::turn::{Ending, FailureKind, TurnBy, Usage};

use super::verdict::Signs;
use crate::Decoded;
use crate::limits::PROMPTS;

/// The prompts in flight and the turn that runs.
#[derive(Debug, Default)]
pub(super) struct Turns {
    prompts: Vec<Prompt>,
    /// A task has reported since the last turn: the next turn may be the agent's own.
    notified: bool,
    turn: Option<Turn>,
}

#[derive(Debug)]
struct Prompt {
    uuid: Option<String>,
    /// The agent said that it has it.
    taken: bool,
    /// `command_lifecycle` said that its turn starts.
    started: bool,
    /// The running turn works on it.
    in_turn: bool,
}

#[derive(Debug)]
struct Turn {
    begun: Begun,
    /// The agent names the prompts of its turns.
    announces: bool,
    signs: Signs,
    /// Our prompt joined the agent's own turn.
    joined: bool,
    /// Prompts that left the agent's queue while this turn ran, and how.
    never_ran: Vec<Ending>,
}

#[derive(Debug)]
enum Begun {
    /// Decided, and said. `certain` if the agent named the prompts.
    By { by: TurnBy, certain: bool },
    /// Not decided yet; what was said since waits here.
    Undecided { held: Vec<Decoded> },
}

/// What the end of a turn says about whose it was.
#[derive(Debug, Default)]
pub(super) struct Provenance<'a> {
    /// `result.origin` is there: nobody asked for the turn.
    pub(super) origin: bool,
    /// `result.user_message_uuids`.
    pub(super) prompts: &'a [&'a str],
}

/// A turn that ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    by: Option<TurnBy>,
    pub(super) signs: Signs,
    joined: bool,
    never_ran: Vec<Ending>,
}

impl Ended {
    /// Says how it ended, and what became of our prompts with it.
    pub(super) fn say(self, ending: Ending, usage: Usage, out: &mut Vec<Decoded>) {
        let ended = |by, ending, usage| Decoded::Says(AgentSays::TurnEnded { by, ending, usage });
        if self.joined {
            let by = TurnBy::Agent;
            out.push(ended(by, ending.clone(), usage));
            out.push(Decoded::Says(AgentSays::TurnBegan { by: TurnBy::Prompt }));
            out.push(ended(TurnBy::Prompt, ending, Usage::default()));
        } else {
            out.push(ended(self.by.unwrap_or(TurnBy::Agent), ending, usage));
        }
        for ending in self.never_ran {
            say_never_ran(ending, out);
        }
    }
}

impl Turns {
    pub(super) fn is_quiet(&self) -> bool {
        self.turn.is_none() && self.prompts.is_empty() && !self.notified
    }

    pub(super) fn is_open(&self) -> bool {
        self.turn.is_some()
    }

    /// What the lines of the running turn say about its end.
    pub(super) fn signs(&mut self) -> Option<&mut Signs> {
        self.turn.as_mut().map(|turn| &mut turn.signs)
    }

    /// A prompt was written.
    pub(super) fn prompted(&mut self, uuid: Option<&str>) {
        if self.prompts.len() == PROMPTS {
            self.prompts.remove(0);
        }
        let uuid = uuid.map(str::to_owned);
        self.prompts.push(Prompt { uuid, taken: false, started: false, in_turn: false });
    }

    /// A task reported its end.
    pub(super) fn notified(&mut self) {
        self.notified |= self.turn.is_none();
    }

    /// `command_lifecycle`, for one prompt. Says whether the state is one that we know.
    pub(super) fn lifecycle(&mut self, uuid: &str, state: &str, out: &mut Vec<Decoded>) -> bool {
        let Some(at) = self.prompts.iter().position(|prompt| prompt.uuid.as_deref() == Some(uuid)) else {
            return true;
        };
        let prompt = &mut self.prompts[at];
        match state {
            "queued" => prompt.take(out),
            "started" => {
                prompt.take(out);
                prompt.started = true;
                if let Some(turn) = &mut self.turn {
                    prompt.in_turn = true;
                    turn.joined |= matches!(turn.begun, Begun::By { by: TurnBy::Agent, .. });
                }
            }
            // The last state of a prompt follows its result. One that comes without any turn means that there will
            // be none: cancelled in the queue, or known already.
            state => {
                let Some(never) = never_ran(state) else { return false };
                if !prompt.in_turn {
                    self.prompts.remove(at);
                    match &mut self.turn {
                        Some(turn) => turn.never_ran.push(never),
                        None => say_never_ran(never, out),
                    }
                }
            }
        }
        true
    }

    /// The replay of a prompt's line: the running turn works on it. Says whether the prompt is ours.
    pub(super) fn replayed(&mut self, uuid: &str, out: &mut Vec<Decoded>) -> bool {
        let Some(at) = self.prompts.iter().position(|prompt| prompt.uuid.as_deref() == Some(uuid)) else {
            return false;
        };
        self.prompts[at].take(out);
        if self.turn.is_some() {
            self.prompts[at].in_turn = true;
            self.decide(TurnBy::Prompt, out);
        }
        true
    }

    /// A turn begins, if none runs. `announces`: the agent names the prompts of its turns.
    pub(super) fn begin(&mut self, announces: bool, out: &mut Vec<Decoded>) {
        if self.turn.is_some() {
            return;
        }
        let started = self.prompts.iter().any(|prompt| prompt.started);
        let all_named = announces && self.prompts.iter().all(|prompt| prompt.uuid.is_some());
        let notified = std::mem::take(&mut self.notified);
        let by = if started {
            Some(TurnBy::Prompt)
        } else if all_named || self.prompts.is_empty() {
            Some(TurnBy::Agent)
        } else {
            (!notified).then_some(TurnBy::Prompt)
        };
        self.turn = Some(Turn {
            begun: Begun::Undecided { held: Vec::new() },
            announces,
            signs: Signs::default(),
            joined: false,
            never_ran: Vec::new(),
        });
        if let Some(by) = by {
            self.decide_as(by, started || all_named, out);
        }
    }

    /// The model's first block came, and no replay of a prompt before it: the turn is the agent's own, if that is
    /// still open.
    pub(super) fn spoke(&mut self, out: &mut Vec<Decoded>) {
        self.decide(TurnBy::Agent, out);
    }

    /// The turn ended: says whose it was, after the beginning has been said.
    pub(super) fn end(&mut self, provenance: &Provenance<'_>, out: &mut Vec<Decoded>) -> Ended {
        let named =
            |prompt: &Prompt| prompt.uuid.as_deref().is_some_and(|uuid| provenance.prompts.contains(&uuid));
        if self.turn.is_none() {
            // A `result` without an `init`: it failed before it began.
            self.begin(!provenance.prompts.is_empty(), out);
        }
        let names_ours = self.prompts.iter().any(named);
        self.decide(if provenance.origin && !names_ours { TurnBy::Agent } else { TurnBy::Prompt }, out);
        let Some(turn) = self.turn.take() else { return Ended::default() };
        let by = match turn.begun {
            // It was not the prompt's after all: the prompt is still in flight.
            Begun::By { by: TurnBy::Prompt, certain: false } if provenance.origin && !names_ours => {
                TurnBy::Agent
            }
            Begun::By { by, .. } => by,
            Begun::Undecided { .. } => TurnBy::Agent,
        };
        let joined = by == TurnBy::Agent && (turn.joined || names_ours);
        if by == TurnBy::Prompt || joined {
            self.prompts.retain(|prompt| !prompt.in_turn && !named(prompt));
        }
        for prompt in &mut self.prompts {
            prompt.in_turn = false;
        }
        Ended { by: Some(by), signs: turn.signs, joined, never_ran: turn.never_ran }
    }

    /// Holds back the content that a line brought while it is not decided whose turn it is.
    pub(super) fn hold(&mut self, from: usize, out: &mut Vec<Decoded>) {
        if let Some(Turn { begun: Begun::Undecided { held }, .. }) = &mut self.turn {
            held.extend(out.extract_if(from.., |decoded| is_content(decoded)));
        }
    }

    /// Standard output ended.
    pub(super) fn finish(&mut self, out: &mut Vec<Decoded>) {
        self.decide(TurnBy::Agent, out);
        for ending in self.turn.iter_mut().flat_map(|turn| std::mem::take(&mut turn.never_ran)) {
            say_never_ran(ending, out);
        }
    }

    fn decide(&mut self, by: TurnBy, out: &mut Vec<Decoded>) {
        if matches!(&self.turn, Some(Turn { begun: Begun::Undecided { .. }, .. })) {
            self.decide_as(by, false, out);
        }
    }

    fn decide_as(&mut self, by: TurnBy, certain: bool, out: &mut Vec<Decoded>) {
        let Some(turn) = &mut self.turn else { return };
        if by == TurnBy::Prompt {
            for prompt in &mut self.prompts {
                // All that waited are merged into one turn; an agent that announces says which.
                prompt.in_turn |= prompt.started || !(turn.announces && prompt.uuid.is_some());
            }
            for prompt in self.prompts.iter_mut().filter(|prompt| prompt.in_turn) {
                prompt.take(out);
            }
        }
        out.push(Decoded::Says(AgentSays::TurnBegan { by }));
        if let Begun::Undecided { held } = std::mem::replace(&mut turn.begun, Begun::By { by, certain }) {
            out.extend(held);
        }
    }
}

/// Whether it belongs to a turn, and so may not come before its beginning.
fn is_content(decoded: &Decoded) -> bool {
    match decoded {
        Decoded::Delta { .. } | Decoded::Dropped { .. } => true,
        Decoded::Says(says) => matches!(
            says,
            AgentSays::Item { .. } | AgentSays::ToolStarted { .. } | AgentSays::ToolEnded { .. }
        ),
    }
}

/// How the turn of a prompt ends that the agent will not run, by the prompt's last state; `None` if it is no last one.
fn never_ran(state: &str) -> Option<Ending> {
    let failed = |why: &str| Ending::Failed { kind: FailureKind::Protocol, message: why.to_owned() };
    match state {
        "cancelled" | "discarded" => Some(Ending::Aborted),
        "completed" => Some(failed("the agent knew this prompt already and did not run it")),
        "refused" => Some(failed("the agent refused to run this prompt")),
        _ => None,
    }
}

fn say_never_ran(ending: Ending, out: &mut Vec<Decoded>) {
    let by = TurnBy::Prompt;
    out.push(Decoded::Says(AgentSays::TurnBegan { by }));
    out.push(Decoded::Says(AgentSays::TurnEnded { by, ending, usage: Usage::default() }));
}

impl Prompt {
    fn take(&mut self, out: &mut Vec<Decoded>) {
        if !std::mem::replace(&mut self.taken, true) {
            out.push(Decoded::Says(AgentSays::PromptTaken));
        }
    }
}
