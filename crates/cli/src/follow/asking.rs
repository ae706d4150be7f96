//! The dialogue at a gate.

use std::fmt::Write as _;
use std::io;

use lockkeeper_api::id::GateNo;
use lockkeeper_api::{AlwaysRequest, Decision, Gate, GateKind, Json, RuleOffer, RuleScope};
use serde_json::{Map, Value};

use crate::cut;
use crate::escape;
use crate::style::Style;
use crate::terminal;
use crate::view;

/// A gate that stands on the screen, and where its dialogue is.
#[derive(Debug)]
pub(super) struct Asking {
    gate: Gate,
    stage: Stage,
    /// Whether something of it is missing on the screen.
    is_cut: bool,
}

#[derive(Debug)]
enum Stage {
    /// Does whoever is there see that this is another gate? The name is that of the one before.
    Change(GateNo, Box<Stage>),
    /// What to do?
    Choice,
    /// Why not?
    Reason,
    /// Are these the rules that such steps are to go on by from now on?
    Always(RuleOffer),
    /// The answers so far; the next question is the one after them.
    Questions(Vec<String>),
}

/// What a line led to.
#[derive(Debug)]
pub(super) enum Reply {
    /// A decision.
    Decide(Decision),
    /// The rules are wanted with which such steps go on from now on.
    Offer(RuleScope),
    /// It is allowed, and such steps go on by these rules.
    Always(AlwaysRequest),
    /// No decision now.
    Leave,
    /// All of the gate is wanted.
    Whole,
    /// Another line is needed; the text says which.
    Again(String),
}

/// What the agent is told when whoever denies says nothing more.
pub(crate) const DENIED: &str = "The user denied this.";

const HELP: &str = "  a          allow it as it is
  A [SCOPE]  allow such steps from now on; the rules are shown first (session, user)
  d [WHY]    deny it; the agent is told why
  e          change the input in $EDITOR, then allow that
  v          view all of it
  s          leave it open for now
  ?          show this, and the exact bytes of the input
";

impl Asking {
    pub(super) fn new(gate: Gate, is_cut: bool) -> Self {
        let stage = if gate.kind == GateKind::Question && !view::questions(&gate).is_empty() {
            Stage::Questions(Vec::new())
        } else {
            Stage::Choice
        };
        Self { gate, stage, is_cut }
    }

    /// The same, after a gate that closed while it stood on the screen: a line that was being typed for that one must not
    /// decide this one, so the next line decides nothing.
    pub(super) fn after(self, closed: GateNo) -> Self {
        Self { stage: Stage::Change(closed, Box::new(self.stage)), ..self }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn into_gate(self) -> Gate {
        self.gate
    }

    /// The line that asks, without a line end.
    pub(super) fn question(&self, style: Style) -> String {
        match &self.stage {
            Stage::Change(closed, _) => {
                let text = format!("{closed} closed meanwhile; Enter to decide about {}", self.gate.no);
                format!("{} ", style.bold(&text))
            }
            Stage::Choice if self.gate.kind == GateKind::Login => {
                format!("{} ", style.bold("log the agent in, then [a]llow, or [d]eny [s]kip [?]"))
            }
            Stage::Choice => {
                let always = if self.gate.kind == GateKind::Permission { "[A]lways " } else { "" };
                let view = if self.is_cut { "[v]iew all " } else { "" };
                format!("{} ", style.bold(&format!("[a]llow {always}[d]eny [e]dit {view}[s]kip [?]")))
            }
            Stage::Reason => format!("{} ", style.bold("why? (what the agent is told)")),
            Stage::Always(_) => format!("{} ", style.bold("write that, and allow? [y/N]")),
            Stage::Questions(answers) => {
                let questions = view::questions(&self.gate);
                let text =
                    questions.get(answers.len()).map(|question| cut::summary(&question.text, 60, style));
                let text = if questions.len() > 1 { text.unwrap_or_default() } else { "answer".to_owned() };
                format!(
                    "{} ",
                    style.bold(&format!(
                        "{text} (a number, your own words, {}or [s]kip)",
                        if self.is_cut { "[v]iew all, " } else { "" }
                    ))
                )
            }
        }
    }

    /// Takes in a line.
    pub(super) async fn reply(&mut self, line: &str, style: Style) -> io::Result<Reply> {
        if let Stage::Change(_, stage) = &mut self.stage {
            self.stage = std::mem::replace(stage, Stage::Choice);
            return Ok(Reply::Again(self.question(style)));
        }
        if let Stage::Reason = self.stage {
            let message = if line.trim().is_empty() { DENIED } else { line.trim() };
            return Ok(Reply::Decide(Decision::Deny { message: message.to_owned() }));
        }
        if let Stage::Always(offer) = &self.stage {
            let always = AlwaysRequest { scope: offer.scope, rules: offer.rules.clone() };
            if matches!(line.trim(), "y" | "yes") {
                return Ok(Reply::Always(always));
            }
            self.stage = Stage::Choice;
            return Ok(Reply::Again(format!("nothing is written\n{}", self.question(style))));
        }
        if let Stage::Questions(answers) = &mut self.stage {
            return Ok(match line.trim() {
                "s" => Reply::Leave,
                "v" if self.is_cut => Reply::Whole,
                "" => Reply::Again(self.question(style)),
                typed => {
                    let questions = view::questions(&self.gate);
                    answers.extend(questions.get(answers.len()).map(|question| question.answer(typed)));
                    if answers.len() < questions.len() {
                        Reply::Again(self.question(style))
                    } else {
                        Reply::Decide(answered(&questions, answers))
                    }
                }
            });
        }
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        Ok(match word {
            "a" | "allow" if rest.is_empty() => Reply::Decide(Decision::Allow),
            "d" | "deny" if rest.is_empty() => {
                self.stage = Stage::Reason;
                Reply::Again(self.question(style))
            }
            "d" | "deny" => Reply::Decide(Decision::Deny { message: rest.trim().to_owned() }),
            "A" | "always" => match scope(rest) {
                Some(scope) if self.gate.kind == GateKind::Permission => Reply::Offer(scope),
                Some(_) => Reply::Again(format!("this is decided each time\n{}", self.question(style))),
                None => Reply::Again(format!("type A, A session or A user\n{}", self.question(style))),
            },
            "s" | "skip" if rest.is_empty() => Reply::Leave,
            "v" | "view" if rest.is_empty() => Reply::Whole,
            "e" | "edit" if rest.is_empty() => self.edit(style).await?,
            "?" => {
                let mut text = HELP.to_owned();
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}", style.dim(&view::raw_gate(&self.gate, style)));
                Reply::Again(text + &self.question(style))
            }
            "" => Reply::Again(self.question(style)),
            _ => Reply::Again(format!("type a, A, d, e, v, s or ?\n{}", self.question(style))),
        })
    }

    /// Shows rules, and asks for a yes.
    pub(super) fn offered(&mut self, offer: RuleOffer) {
        self.stage = Stage::Always(offer);
    }

    async fn edit(&self, style: Style) -> io::Result<Reply> {
        let again = |text: &str| Reply::Again(format!("{text}\n{}", self.question(style)));
        let before = serde_json::to_string_pretty(&self.gate.input.value())? + "\n";
        let name = format!("{}.json", self.gate.id);
        let after = match terminal::edit(&name, &before).await {
            Ok(Some(after)) => after,
            Ok(None) => return Ok(again("the editor failed; nothing is decided")),
            Err(error) => {
                return Ok(again(&format!("the editor failed: {}", escape::line(&error.to_string()))));
            }
        };
        if after == before {
            return Ok(again("nothing was changed; a allows it as it is"));
        }
        Ok(match Json::parse(after.trim()) {
            Ok(input) => Reply::Decide(Decision::Edit { input }),
            Err(error) => again(&format!("this is not JSON: {error}; nothing is decided")),
        })
    }
}

fn scope(word: &str) -> Option<RuleScope> {
    match word.trim() {
        "" => Some(RuleScope::Workspace),
        word => word.parse().ok(),
    }
}

/// The decision that answers all questions.
pub(crate) fn answered(questions: &[view::Question], answers: &[String]) -> Decision {
    let pairs: Map<String, Value> = questions
        .iter()
        .zip(answers)
        .map(|(question, answer)| (question.text.clone(), Value::String(answer.clone())))
        .collect();
    #[expect(clippy::expect_used, reason = "texts can always be JSON")]
    let answers = Json::of(&pairs).expect("a map of texts is JSON");
    Decision::Answer { answers }
}

#[cfg(test)]
mod tests;
