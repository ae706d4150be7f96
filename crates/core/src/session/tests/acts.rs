//! Everything that can happen to a session, small enough to be drawn at random or tried exhaustively.

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use crate::agent::{AgentSays, ControlAnswer, TaskKind};
use crate::gate::{Ask, Decision};
use crate::id::{AttemptNo, ClaimNo, ControlNo, NoticeNo, PromptNo, TurnNo};
use crate::item::ToolOutcome;
use crate::json::Json;
use crate::policy::{Effect, ToolKind};
use crate::prompt::{Class, OnPreempt};
use crate::session::*;
use crate::turn::{Ending, FailureKind, TurnBy, Usage};

/// One input, told by what it means for the session as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Prompt(Class),
    /// That cuts lower classes short.
    Preempt(Class, OnPreempt),
    Coalesce(Class, Keep),
    /// With a claim so many before the next one.
    PromptClaimed(u32),
    /// Of somebody else.
    PromptOfBob,
    Claim(Class, bool),
    Renew(u32),
    EndClaim(u32),
    Move(u32, Option<Class>, Move),
    Release(u32),
    Edit(u32),
    Drop(u32),
    Interrupt,
    /// Of a turn so many before the next one.
    InterruptTurn(u32),
    Stop,
    Kill,
    Resume,
    /// At a gate so many before the next one.
    Decide(u32, Choice),
    Bypass(u64),
    EndBypass,
    /// What somebody is to be told was told, or could not be.
    Tell(bool),
    /// A rule about `git`.
    Rule(Effect),
    /// The rule so many before the next one.
    TakeRule(u32),
    SetModel(u8),
    SetMode(u8),
    Rename,
    NameTaken(bool),
    /// Whether the host has a slot.
    Admits(bool),
    Label,
    Restart,
    Look(What, i8),
    Tick,
    /// Time passes, in milliseconds.
    Wait(u64),
    /// Time passes until the next deadline, and it is looked at.
    Due,
    /// The machine is started again.
    Reboot,
    /// The clock of the journal is behind.
    Back(u64),
    /// What leads a launch to a process that takes prompts.
    ComeUp,
    /// What brings everything that is intended to the agent.
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Allow,
    /// From now on.
    Always,
    Deny,
    Edit,
    Answer,
}

/// An observation about the attempt at hand, or one before or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Adopted,
    Spawned,
    SpawnFailed,
    /// Of the oldest entry that is pending, and so many after it.
    Accepted(u64),
    Written(u64),
    WriteFailed(u64),
    Signalled(u64),
    Exited(ExitStatus, Option<ExitHint>),
    HolderLost,
    Ready,
    Conversation(u8),
    Lost,
    Using,
    Taken,
    Began(TurnBy),
    Ended(TurnBy, How),
    Item,
    ToolStarted(u8),
    ToolEnded(u8),
    Asked(u8),
    AskWithdrawn(u8),
    UnknownRequest,
    /// To the request so many before the next one.
    Answered(u32, bool),
    TaskStarted(u8, TaskKind),
    TaskEnded(u8),
    Alive,
    /// So many milliseconds ahead.
    Limited(i64),
    Noise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Completed,
    Aborted,
    Refused,
    Limit,
    Failed,
    NotLoggedIn,
}

fn ending(how: How) -> Ending {
    match how {
        How::Completed => Ending::Completed,
        How::Aborted => Ending::Aborted,
        How::Refused => Ending::Refused,
        How::Limit => Ending::Limit { which: "max_turns".to_owned() },
        How::Failed => failing("no"),
        How::NotLoggedIn => Ending::Failed { kind: FailureKind::Login, message: "Not logged in".to_owned() },
    }
}

impl World {
    /// Does it; a command may be refused.
    pub(super) fn act(&mut self, act: &Act) {
        match act {
            Act::Look(what, offset) => {
                let attempt = AttemptNo(self.attempt().0.saturating_add_signed((*offset).into()));
                let observation = self.observation(*what, attempt);
                self.sees(observation);
            }
            Act::Restart => self.daemon_restarts(),
            Act::Tick => self.tick(),
            Act::Wait(ms) => self.wait(*ms),
            Act::Due => {
                if let Some(due) = self.deadline() {
                    self.wait(due.at.since(self.env.now.awake));
                }
                self.tick();
            }
            Act::Reboot => self.reboots(),
            Act::Back(ms) => self.env.now.awake.0 = self.env.now.awake.0.saturating_sub(*ms),
            Act::ComeUp => {
                if matches!(self.state.process, Process::Launching(_)) {
                    self.comes_up();
                }
            }
            Act::Write => self.writes(),
            Act::Tell(told) => {
                let notice = self.state.notices.keys().next().copied().unwrap_or(NoticeNo(1));
                let error = (!told).then(|| "no program".to_owned());
                self.sees(Observation::Told { notice, error });
            }
            Act::NameTaken(taken) => self.env.name_taken = *taken,
            Act::Admits(admits) => self.env.admits = *admits,
            Act::PromptOfBob => {
                // See below.
                let _ = self.command("bob", Command::Prompt(new_prompt("bob's", Class::Normal)));
            }
            Act::Prompt(_)
            | Act::Preempt(..)
            | Act::Coalesce(..)
            | Act::PromptClaimed(_)
            | Act::Claim(..)
            | Act::Renew(_)
            | Act::EndClaim(_)
            | Act::Move(..)
            | Act::Release(_)
            | Act::Edit(_)
            | Act::Drop(_)
            | Act::Interrupt
            | Act::InterruptTurn(_)
            | Act::Stop
            | Act::Kill
            | Act::Resume
            | Act::Decide(..)
            | Act::Bypass(_)
            | Act::EndBypass
            | Act::Rule(_)
            | Act::TakeRule(_)
            | Act::SetModel(_)
            | Act::SetMode(_)
            | Act::Rename
            | Act::Label => {
                let command = self.command_of(act);
                // The laws look at a refusal too; there is nothing more to it here.
                let _ = self.command("ann", command);
            }
        }
    }

    fn command_of(&self, act: &Act) -> Command {
        let state = &self.state;
        let prompt = |back: u32| PromptNo(state.next_prompt.0.saturating_sub(back));
        let claim = |back: u32| ClaimNo(state.next_claim.0.saturating_sub(back));
        match act {
            Act::Edit(back) => Command::EditPrompt {
                prompt: prompt(*back),
                text: Some("other".into()),
                class: None,
                to: None,
            },
            Act::Drop(back) => Command::DropPrompt { prompt: prompt(*back) },
            Act::Interrupt => Command::Interrupt { turn: None },
            Act::InterruptTurn(back) => {
                Command::Interrupt { turn: Some(TurnNo(state.next_turn.0.saturating_sub(*back))) }
            }
            Act::Stop => Command::Stop,
            Act::Kill => Command::Kill,
            Act::Resume => Command::Resume,
            Act::Decide(back, choice) => {
                let json = || Json::parse("{}").unwrap();
                let decision = match choice {
                    Choice::Allow | Choice::Always => Decision::Allow,
                    Choice::Deny => Decision::Deny { message: "no".to_owned() },
                    Choice::Edit => Decision::Edit { input: json() },
                    Choice::Answer => Decision::Answer { answers: json() },
                };
                let always = match choice {
                    Choice::Always => Always::Session(vec![about("make", Effect::Allow)]),
                    Choice::Allow | Choice::Deny | Choice::Edit | Choice::Answer => Always::Once,
                };
                deciding(state.next_gate.0.saturating_sub(*back), decision, always)
            }
            Act::Bypass(ms) => Command::Bypass { kinds: vec![ToolKind::Execute], ms: *ms },
            Act::EndBypass => Command::EndBypass,
            Act::Rule(effect) => Command::AddRules { rules: vec![about("git *", *effect)] },
            Act::TakeRule(back) => {
                let no = state.next_rule.0.saturating_sub(*back);
                Command::RemoveRule { id: format!("session:r{no}") }
            }
            Act::SetModel(n) => Command::Set { model: Some(format!("model-{n}")), mode: None },
            Act::SetMode(n) => Command::Set { model: None, mode: Some(format!("mode-{n}")) },
            Act::Rename => Command::Describe {
                name: Rename::To("other".parse().unwrap()),
                set: BTreeMap::new(),
                remove: BTreeSet::new(),
            },
            Act::Label => {
                let set = [("n".to_owned(), state.seq.to_string())].into();
                Command::Describe { name: Rename::Keep, set, remove: ["old".to_owned()].into() }
            }
            Act::Prompt(class) => Command::Prompt(new_prompt("more", *class)),
            Act::Preempt(class, on_preempt) => Command::Prompt(NewPrompt {
                preempt: true,
                on_preempt: *on_preempt,
                ..new_prompt("at once", *class)
            }),
            Act::Coalesce(class, keep) => {
                let coalesce = Some(Coalesce { topic: "news".into(), keep: *keep });
                Command::Prompt(NewPrompt { coalesce, ..new_prompt("news", *class) })
            }
            Act::PromptClaimed(back) => {
                let no = claim(*back);
                let class = state.claims.get(&no).map_or(Class::Normal, |claim| claim.class);
                Command::Prompt(NewPrompt { claim: Some(no), ..new_prompt("claimed", class) })
            }
            Act::Claim(class, preempt) => Command::Claim(NewClaim { preempt: *preempt, ..new_claim(*class) }),
            Act::Renew(back) => Command::RenewClaim { claim: claim(*back), ttl_ms: None },
            Act::EndClaim(back) => Command::EndClaim { claim: claim(*back) },
            Act::Move(back, class, to) => {
                Command::EditPrompt { prompt: prompt(*back), text: None, class: *class, to: Some(*to) }
            }
            Act::Release(back) => Command::ReleasePrompt { prompt: prompt(*back) },
            other => panic!("{other:?} is no command"),
        }
    }

    fn observation(&self, what: What, attempt: AttemptNo) -> Observation {
        let lane = |plus: u64| {
            let current = self.state.process.attempt();
            current.and_then(|a| a.outbox.pending.front()).map_or(0, |out| out.number) + plus
        };
        let says = |says| Observation::Agent { attempt, says };
        match what {
            What::Adopted => Observation::Adopted { attempt },
            What::Spawned => Observation::Spawned { attempt, process: process(attempt) },
            What::SpawnFailed => {
                let error = SpawnError { code: "os".to_owned(), message: "no".to_owned() };
                Observation::SpawnFailed { attempt, error }
            }
            What::Accepted(plus) => Observation::Accepted { attempt, number: lane(plus) },
            What::Written(plus) => Observation::Written { attempt, number: lane(plus) },
            What::WriteFailed(plus) => {
                Observation::WriteFailed { attempt, number: lane(plus), error: "EPIPE".to_owned() }
            }
            What::Signalled(number) => Observation::Signalled { attempt, number, delivered: 1 },
            What::Exited(status, hint) => {
                Observation::Exited { attempt, exit: Exit { hint, ..exit(status) } }
            }
            What::HolderLost => Observation::HolderLost { attempt, journal_whole: true, stderr: vec![] },
            What::Ready => says(AgentSays::Ready { version: None }),
            What::Conversation(n) => says(AgentSays::Conversation { id: conversation(&format!("c-{n}")) }),
            What::Lost => says(AgentSays::ConversationLost { message: "gone".to_owned() }),
            What::Using => says(AgentSays::Using { model: Some("model-1".to_owned()), mode: None }),
            What::Taken => says(AgentSays::PromptTaken),
            What::Began(by) => says(AgentSays::TurnBegan { by }),
            What::Ended(by, how) => {
                says(AgentSays::TurnEnded { by, ending: ending(how), usage: Usage::default() })
            }
            What::Item => says(AgentSays::Item { item: tool("i1") }),
            What::ToolStarted(n) => says(AgentSays::ToolStarted { item: tool(&format!("t{n}")) }),
            What::ToolEnded(n) => {
                let call = format!("t{n}").parse().unwrap();
                says(AgentSays::ToolEnded { call, outcome: ToolOutcome::Ok, text: "".into() })
            }
            What::Asked(n) => {
                // Some are announced only.
                let asked = ["make", "make", "git status", "rm x"].map(|command| (command, false));
                let announced = ["make", "rm x"].map(|command| (command, true));
                let (command, announced) = [&asked[..], &announced[..]].concat()[usize::from(n) % 6];
                says(asking_to_run(Ask { announced, ..ask(&format!("r{n}")) }, command))
            }
            What::AskWithdrawn(n) => {
                says(AgentSays::AskWithdrawn { request: Json::parse(&format!("\"r{n}\"")).unwrap() })
            }
            What::UnknownRequest => says(AgentSays::UnknownRequest {
                request: Json::parse("9").unwrap(),
                subtype: "hook".to_owned(),
            }),
            What::Answered(back, done) => {
                let control = ControlNo(self.state.next_control.0.saturating_sub(back));
                let refused = ControlAnswer::Refused { code: None, message: "no".to_owned() };
                let answer = if done { ControlAnswer::Done { value: None } } else { refused };
                says(AgentSays::ControlAnswered { control, answer })
            }
            What::TaskStarted(n, kind) => says(AgentSays::TaskStarted {
                task: format!("k{n}").parse().unwrap(),
                kind,
                title: String::new(),
            }),
            What::TaskEnded(n) => says(AgentSays::TaskEnded {
                task: format!("k{n}").parse().unwrap(),
                how: "completed".to_owned(),
            }),
            What::Alive => says(AgentSays::Alive),
            What::Limited(ms) => {
                let until_ms = self.env.now.wall_ms + ms;
                says(AgentSays::Limited { until_ms, what: "five_hour".to_owned() })
            }
            What::Noise => says(AgentSays::Malformed { why: "noise".to_owned(), bytes: 1 }),
        }
    }
}
