//! The dialogue at a gate.

use std::fmt::Write as _;
use std::io;

use lockkeeper_api::elicitation::{Elicitation, Field, said};
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
    /// What came of an editor and could not be read: the next one goes on with it.
    draft: Option<String>,
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
    /// The values so far, and which field is next.
    Form { values: Map<String, Value>, next: usize },
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

const ELICITATION_HELP: &str = "  a          answer it: a form field by field, a page once it was visited
  d          deny it
  s          leave it open for now; Enter asks again
  ?          show this, and the exact bytes of what is asked
";

const LOGIN_HELP: &str = "  a          you have logged the agent in: it is started again, and goes on
  d          leave the turn failed
  s          leave it open for now; Enter asks again
  ?          show this, and the exact bytes of what is asked
";

const HELP: &str = "  a          allow it as it is
  A [SCOPE]  allow such steps from now on; the rules are shown first (session, user)
  d [WHY]    deny it; the agent is told why
  e          change the input in $EDITOR, then allow that
  v          view all of it
  s          leave it open for now; Enter asks again
  ?          show this, and the exact bytes of the input
";

impl Asking {
    pub(super) fn new(gate: Gate, is_cut: bool) -> Self {
        let stage = if gate.kind == GateKind::Question && !view::questions(&gate).is_empty() {
            Stage::Questions(Vec::new())
        } else {
            Stage::Choice
        };
        Self { gate, stage, is_cut, draft: None }
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
            Stage::Choice if self.is_form() => format!("{} ", style.bold("[a]nswer [d]eny [s]kip [?]")),
            Stage::Choice if self.gate.kind == GateKind::Elicitation => {
                format!("{} ", style.bold("visit the page, then [a]llow, or [d]eny [s]kip [?]"))
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
            Stage::Form { next, .. } => {
                let field = self.fields().into_iter().nth(*next);
                let text = field.map(|field| cut::summary(&wanted(&field), 72, style)).unwrap_or_default();
                format!("{} ", style.bold(&text))
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
        if let Stage::Form { .. } = self.stage {
            return Ok(self.fill_in(line.trim(), style));
        }
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        Ok(match word {
            "a" | "answer" if rest.is_empty() && self.is_form() => {
                self.stage = Stage::Form { values: Map::new(), next: 0 };
                self.go_on_with_form(style)
            }
            "a" | "allow" if rest.is_empty() && !self.is_form() => Reply::Decide(Decision::Allow),
            // A server is told of no reason.
            "d" | "deny" if rest.is_empty() && self.gate.kind == GateKind::Elicitation => {
                Reply::Decide(Decision::Deny { message: DENIED.to_owned() })
            }
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
            "e" | "edit" if rest.is_empty() && self.has_input() => self.edit(style).await?,
            "?" => {
                let mut text = self.help().to_owned();
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}", style.dim(&view::raw_gate(&self.gate, style)));
                Reply::Again(text + &self.question(style))
            }
            "" => Reply::Again(self.question(style)),
            _ if !self.has_input() => Reply::Again(format!("type a, d, s or ?\n{}", self.question(style))),
            _ => Reply::Again(format!("type a, A, d, e, v, s or ?\n{}", self.question(style))),
        })
    }

    /// Shows rules, and asks for a yes.
    pub(super) fn offered(&mut self, offer: RuleOffer) {
        self.stage = Stage::Always(offer);
    }

    /// Whether there is something that could be changed.
    fn has_input(&self) -> bool {
        match self.gate.kind {
            GateKind::Permission | GateKind::Question | GateKind::Plan => true,
            GateKind::Elicitation | GateKind::Login => false,
        }
    }

    fn help(&self) -> &'static str {
        match self.gate.kind {
            GateKind::Permission | GateKind::Question | GateKind::Plan => HELP,
            GateKind::Elicitation => ELICITATION_HELP,
            GateKind::Login => LOGIN_HELP,
        }
    }

    fn fields(&self) -> Vec<Field> {
        Elicitation::read(&self.gate.input).fields()
    }

    /// Whether a server asks for values.
    fn is_form(&self) -> bool {
        self.gate.kind == GateKind::Elicitation && Elicitation::read(&self.gate.input).url.is_none()
    }

    /// Takes in the value of the next field; an empty line leaves it to its default, or out.
    fn fill_in(&mut self, typed: &str, style: Style) -> Reply {
        let fields = self.fields();
        let Stage::Form { values, next } = &mut self.stage else { return Reply::Leave };
        if let Some(field) = fields.get(*next) {
            if typed.is_empty() && field.default.is_none() && field.required {
                return Reply::Again(self.question(style));
            }
            if !typed.is_empty() {
                let value = view::typed(field, typed);
                if let Err(why) = field.check(&value) {
                    return Reply::Again(format!("{}\n{}", escape::line(&why), self.question(style)));
                }
                values.insert(field.name.clone(), value);
            }
        }
        *next += 1;
        self.go_on_with_form(style)
    }

    fn go_on_with_form(&self, style: Style) -> Reply {
        let fields = self.fields();
        match &self.stage {
            Stage::Form { values, next } if *next >= fields.len() => {
                Reply::Decide(view::filled_in(&fields, values.clone()))
            }
            Stage::Form { .. }
            | Stage::Change(..)
            | Stage::Choice
            | Stage::Reason
            | Stage::Always(_)
            | Stage::Questions(_) => Reply::Again(self.question(style)),
        }
    }

    async fn edit(&mut self, style: Style) -> io::Result<Reply> {
        let question = self.question(style);
        let again = |text: &str| Reply::Again(format!("{text}\n{question}"));
        let before = serde_json::to_string_pretty(&self.gate.input.value())? + "\n";
        let name = format!("{}.json", self.gate.id);
        let begun = self.draft.take().unwrap_or_else(|| before.clone());
        let after = match terminal::edit(&name, &begun).await {
            Ok(Some(after)) => after,
            Ok(None) => return Ok(again("the editor failed; nothing is decided")),
            Err(error) => {
                return Ok(again(&format!("the editor failed: {}", escape::line(&error.to_string()))));
            }
        };
        if after.trim().is_empty() {
            return Ok(again(
                "nothing is left of it, so nothing is decided; e begins with the input as it is",
            ));
        }
        if after == before {
            return Ok(again("nothing was changed; a allows it as it is"));
        }
        Ok(match Json::parse(after.trim()) {
            Ok(input) => Reply::Decide(Decision::Edit { input }),
            Err(error) => {
                self.draft = Some(after);
                again(&format!(
                    "this is not JSON: {error}; nothing is decided. e goes on with what you typed; save an empty file to begin anew"
                ))
            }
        })
    }
}

fn scope(word: &str) -> Option<RuleScope> {
    match word.trim() {
        "" => Some(RuleScope::Workspace),
        word => word.parse().ok(),
    }
}

/// What the next field wants, and what an empty line means.
fn wanted(field: &Field) -> String {
    let empty = match &field.default {
        Some(default) => format!(", or nothing for {}", said(default)),
        None if field.required => String::new(),
        None => ", or nothing".to_owned(),
    };
    format!("{} ({}{empty})", field.name, field.wants())
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
