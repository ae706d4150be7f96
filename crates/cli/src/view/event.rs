//! What happens in a session, an event in a line or three.

use lockkeeper_api::id::{PromptNo, TurnNo};
use lockkeeper_api::{
    ClaimEnd, EventBody, EventEnd, EventExit, ExitVerdict, Outcome, OutcomeWord, SettingsResult, Time,
};

use super::{Prompts, View};
use crate::clock;
use crate::commands::rules;
use crate::escape;
use crate::style::{Ink, outcome_ink};

impl View {
    #[expect(clippy::too_many_lines, reason = "a line or three for each of the kinds")]
    pub(super) fn body(&mut self, body: &EventBody, at: Time) {
        let signs = self.style.signs();
        match body {
            EventBody::PromptAccepted { prompt } => self.accepted(prompt.no, &prompt.text, &prompt.caller),
            EventBody::PromptEdited { prompt, text, by } => {
                self.waiting.insert(*prompt, text.to_string());
                let what = format!("prompt {prompt} was changed by {}: ", escape::line(by));
                self.note(Ink::Dim, signs.dot, &self.short_after(&what, text));
            }
            EventBody::PromptDropped { prompt, by } => {
                self.waiting.remove(prompt);
                self.note(
                    Ink::Dim,
                    signs.dot,
                    &format!("prompt {prompt} was dropped by {}", escape::line(by)),
                );
            }
            EventBody::PromptMoved { prompt, class, by, .. } => {
                let what = format!("prompt {prompt} was moved by {} ({})", escape::line(by), class.word());
                self.note(Ink::Dim, signs.dot, &what);
            }
            EventBody::PromptReleased { prompt, by } => {
                let what = format!("prompt {prompt} was let go by {}", escape::line(by));
                self.note(Ink::Dim, signs.dot, &what);
            }
            EventBody::ClaimMade { claim } => {
                let what =
                    format!("{} claims the next turns ({})", escape::line(&claim.owner), claim.class.word());
                self.note(Ink::Dim, signs.dot, &what);
            }
            EventBody::ClaimEnded { claim, how } => {
                let how = match how {
                    ClaimEnd::Released => "was given back".to_owned(),
                    ClaimEnd::Evicted { by } => format!("was ended by {}", escape::line(by)),
                    ClaimEnd::Expired => "expired".to_owned(),
                    ClaimEnd::SessionEnded => "ended with the session".to_owned(),
                };
                self.note(Ink::Dim, signs.dot, &format!("claim {claim} {how}"));
            }
            EventBody::Limited { until_ms, what } => {
                let until = Time::from_wall_ms(*until_ms);
                let what = format!("the account has reached a limit ({}) until {until}", escape::line(what));
                self.note(Ink::Yellow, signs.retry, &what);
            }
            EventBody::LimitOver {} => self.note(Ink::Dim, signs.dot, "the limit of the account is over"),
            EventBody::TurnStarted { turn, prompt, .. } => {
                self.began.insert(*turn, at);
                if let Some(text) = self.waiting.remove(prompt) {
                    self.prompt(&text);
                }
            }
            EventBody::OwnTurnBegun { turn, .. } => {
                self.began.insert(*turn, at);
                self.note(Ink::Dim, signs.dot, "the agent goes on by itself");
            }
            EventBody::TurnEnded { turn, outcome, usage, .. } => {
                self.turn_ended(*turn, outcome, usage.rounds, at);
            }
            EventBody::InterruptAsked { turn, .. } => {
                self.note(Ink::Yellow, signs.cut, &format!("interrupting {turn}"));
            }
            EventBody::AttemptLaunched { resume, .. } => {
                let verb = if resume.is_some() { "resuming" } else { "starting" };
                let agent = self.session.agent.to_string();
                self.note(Ink::Dim, signs.dot, &format!("{verb} {agent}"));
            }
            EventBody::AttemptLaunchFailed { error, .. } => {
                let what = format!("the agent could not be started: {}", escape::line(&error.message));
                self.note(Ink::Red, signs.bad, &what);
            }
            EventBody::AttemptExited { exit, verdict, .. } => self.exited(exit, *verdict),
            EventBody::AttemptLost { .. } => {
                self.note(Ink::Yellow, signs.bad, "the agent is gone, and nobody can know how it ended");
            }
            EventBody::BackoffSet { wait_ms, .. } => {
                let wait = clock::span(i64::try_from(*wait_ms).unwrap_or(i64::MAX));
                self.note(Ink::Yellow, signs.retry, &format!("the agent is not started again for {wait}"));
            }
            EventBody::ConversationLost { message } => {
                let what = format!("the agent no longer has the conversation: {}", escape::line(message));
                self.note(Ink::Red, signs.bad, &what);
            }
            EventBody::ItemAdded { item, .. } | EventBody::ToolStarted { item, .. } => {
                self.content(&item.key, item.parent.as_ref(), &item.body);
            }
            EventBody::ToolEnded { call, outcome, text, .. } => self.tool_ended(call, *outcome, text),
            EventBody::GateOpened { gate } => self.gate_opened(gate),
            EventBody::GateDecided { gate, verdict, .. } => self.gate_decided(*gate, verdict),
            EventBody::GateExpiring { gate } => {
                let what = format!("{gate} is about to expire, and is denied then");
                self.note(Ink::Yellow, signs.bad, &what);
            }
            EventBody::BypassBegan { bypass } => {
                let span = clock::span(i64::try_from(bypass.ms).unwrap_or(i64::MAX));
                let what = format!("steps go on unasked for {span}, by {}", escape::line(&bypass.by));
                self.note(Ink::Yellow, signs.dot, &what);
            }
            EventBody::BypassEnded { .. } => self.note(Ink::Dim, signs.dot, "steps are asked about again"),
            EventBody::NoticeTold { error: Some(error), .. } => {
                let what = format!("nobody was told: {}", escape::line(error));
                self.note(Ink::Yellow, signs.bad, &what);
            }
            EventBody::RuleWritten { error: Some(error), .. } => {
                let what = format!("the rule could not be written: {}", escape::line(error));
                self.note(Ink::Red, signs.bad, &what);
            }
            EventBody::RuleAdded { rule } | EventBody::RuleWanted { rule } => {
                let about = escape::line(&rules::about(&rule.spec)).into_owned();
                let what =
                    format!("{}: {} {about}, by {}", rule.id, rule.spec.effect, escape::line(&rule.by));
                self.note(Ink::Yellow, signs.dot, &what);
            }
            EventBody::RuleRemoved { id, by } => {
                let what = format!("{} was taken away by {}", escape::line(id), escape::line(by));
                self.note(Ink::Dim, signs.dot, &what);
            }
            EventBody::GateWithdrawn { gate, why } => self.gate_withdrawn(*gate, *why),
            EventBody::SettingsResolved { model, mode, result } => {
                self.settings(model.as_deref(), mode.as_deref(), result);
            }
            EventBody::TaskStarted { title, .. } => {
                self.note(Ink::Dim, signs.tool, &self.short_after("in the background: ", title));
            }
            EventBody::Retrying { attempt, of, delay_ms, reason } => {
                let wait = clock::span(i64::try_from(*delay_ms).unwrap_or(i64::MAX));
                let what = format!("try {attempt} of {of} in {wait}: ");
                self.note(Ink::Yellow, signs.retry, &self.short_after(&what, reason));
            }
            EventBody::SessionEnded { end } => self.session_ended(end),
            EventBody::SessionReopened { by, .. } => {
                self.note(Ink::Dim, signs.dot, &format!("opened again by {}", escape::line(by)));
            }
            EventBody::SessionCreated { .. }
            | EventBody::SessionRenamed { .. }
            | EventBody::SessionLabelled { .. }
            | EventBody::StatusChanged { .. }
            | EventBody::Unsettled {}
            | EventBody::Settled {}
            | EventBody::Held { .. }
            | EventBody::Released { .. }
            | EventBody::ResumeAsked { .. }
            | EventBody::TurnTaken { .. }
            | EventBody::InterruptStep { .. }
            | EventBody::ClosingAsked { .. }
            | EventBody::ClosingStep { .. }
            | EventBody::AttemptSpawned { .. }
            | EventBody::AttemptReady { .. }
            | EventBody::OutboxIntended { .. }
            | EventBody::OutboxAccepted { .. }
            | EventBody::OutboxWritten { .. }
            | EventBody::OutboxFailed { .. }
            | EventBody::SignalIntended { .. }
            | EventBody::SignalSent { .. }
            | EventBody::ConversationKnown { .. }
            | EventBody::GateDelivered { .. }
            | EventBody::GateOutcome { .. }
            | EventBody::NoticeWanted { .. }
            | EventBody::NoticeTold { error: None, .. }
            | EventBody::RuleWritten { error: None, .. }
            | EventBody::ControlAnswered { .. }
            | EventBody::ControlExpired { .. }
            | EventBody::SettingsWanted { .. }
            | EventBody::SettingsAsked { .. }
            | EventBody::SettingsUsing { .. }
            | EventBody::TaskEnded { .. }
            | EventBody::Malformed { .. }
            | EventBody::Unrecognized { .. }
            | EventBody::Muted { .. }
            | EventBody::ClaimRenewed { .. }
            | EventBody::ClaimGranted { .. }
            | EventBody::ClaimSuspended { .. }
            | EventBody::BackoffOver {}
            | EventBody::Active {}
            | EventBody::Unknown { .. } => {}
        }
    }

    /// A prompt is shown where its turn begins; before, that it waits is told in a line.
    fn accepted(&mut self, prompt: PromptNo, text: &str, caller: &str) {
        self.waiting.insert(prompt, text.to_owned());
        if self.prompts == Prompts::Shown && !self.began.is_empty() {
            let what = format!("prompt {prompt} of {} waits: ", escape::line(caller));
            self.note(Ink::Dim, self.style.signs().dot, &self.short_after(&what, text));
        }
    }

    fn prompt(&mut self, text: &str) {
        const LINES: usize = 12;
        if self.prompts == Prompts::Hidden {
            return;
        }
        self.finish_line();
        self.paragraph();
        let signs = self.style.signs();
        let text = escape::block(text.trim_end());
        let count = text.lines().count();
        for (no, line) in text.lines().take(LINES).enumerate() {
            let lead = if no == 0 { signs.prompt } else { " " };
            self.line(&self.style.bold(&format!("{lead} {line}")));
        }
        if count > LINES {
            self.line(&self.style.dim(&format!("  {} {} more lines", signs.more, count - LINES)));
        }
        self.fresh = false;
    }

    fn turn_ended(&mut self, turn: TurnNo, outcome: &Outcome, rounds: u32, at: Time) {
        self.finish_line();
        let (word, kind, message) = OutcomeWord::parts(outcome);
        let signs = self.style.signs();
        let sign = match word {
            OutcomeWord::Completed => signs.ok,
            OutcomeWord::Interrupted | OutcomeWord::Preempted => signs.cut,
            OutcomeWord::Refused | OutcomeWord::Limit | OutcomeWord::Failed | OutcomeWord::Unknown => {
                signs.bad
            }
        };
        self.told_exit = kind.as_deref() == Some("exit");
        let mut text = word.to_string();
        if let Some(kind) = kind {
            text = format!("{text} ({})", escape::line(&kind));
        }
        if let Some(message) = message {
            let cut = matches!(word, OutcomeWord::Interrupted | OutcomeWord::Preempted);
            let link = if cut { " " } else { ": " };
            text = format!("{text}{link}{}", escape::line(&message));
        }
        if let Some(began) = self.began.remove(&turn) {
            text = format!("{text} {} {}", signs.dot, clock::span(at.wall_ms() - began.wall_ms()));
        }
        if rounds > 1 {
            text = format!("{text} {} {rounds} rounds", signs.dot);
        }
        self.paragraph();
        self.line(&self.style.ink(outcome_ink(word), &format!("{sign} {text}")));
        self.tools.clear();
        self.whole.clear();
        self.last_tool = None;
        self.fresh = false;
    }

    fn exited(&mut self, exit: &EventExit, verdict: ExitVerdict) {
        match verdict {
            ExitVerdict::Asked | ExitVerdict::Left => return,
            ExitVerdict::Crashed | ExitVerdict::Unknown => {}
        }
        // The outcome of the turn has said this, with the last line of standard error.
        if std::mem::take(&mut self.told_exit) {
            if exit.stderr.len() < 2 {
                return;
            }
        } else {
            self.note(Ink::Red, self.style.signs().bad, &format!("the agent {}", exit.status));
        }
        for line in exit.stderr.iter().rev().take(5).rev() {
            self.line(&self.style.dim(&format!("  {}", self.short(line))));
        }
    }

    fn settings(&mut self, model: Option<&str>, mode: Option<&str>, result: &SettingsResult) {
        let what: Vec<String> = [("model", model), ("mode", mode)]
            .iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", (*value)?)))
            .collect();
        let what = escape::line(&what.join(", ")).into_owned();
        match result {
            SettingsResult::Applied => self.note(Ink::Dim, self.style.signs().dot, &what),
            SettingsResult::ForNextLaunch => {
                self.note(Ink::Dim, self.style.signs().dot, &format!("{what} from the next start on"));
            }
            SettingsResult::Refused { message, .. } => {
                let text = format!("{what} was refused: {}", escape::line(message));
                self.note(Ink::Yellow, self.style.signs().bad, &text);
            }
            SettingsResult::Relaunching => {
                self.note(
                    Ink::Yellow,
                    self.style.signs().retry,
                    &format!("{what}: the agent is started again"),
                );
            }
        }
    }

    fn session_ended(&mut self, end: &EventEnd) {
        match end {
            // The turn has said so.
            EventEnd::Completed => {}
            EventEnd::Failed { reason, message } => {
                if reason.word() != "turn" {
                    let text = format!("the session failed ({}): {}", reason.word(), escape::line(message));
                    self.note(Ink::Red, self.style.signs().bad, &text);
                }
            }
            EventEnd::Stopped { by } => {
                self.note(Ink::Dim, self.style.signs().cut, &format!("stopped by {}", escape::line(by)));
            }
        }
    }
}
