//! `lk answer`: answers an agent's questions, and the forms of its servers.

use lockkeeper_api::elicitation::Elicitation;
use lockkeeper_api::{Decision, Gate, GateKind};
use serde_json::{Map, Value};

use super::allow::{decide, sentence};
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::follow::asking::answered;
use crate::format::Shown;
use crate::refs;
use crate::view;

/// Answer an agent's questions, or a form of one of its servers
///
/// One answer per question, in their order: the number of an option, or your own words. A form is answered by field:
/// name=Ada; a choice by its number too, several choices with commas between them. A field that is not named has its
/// default. `lk gates -o json` shows the questions and the fields.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gate: SESSION.g1, or a session with one open gate
    #[arg(value_name = "GATE")]
    gate: String,
    /// The answers
    #[arg(value_name = "ANSWER")]
    answers: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let gate = refs::gate(context, &args.gate).await?;
    let decision = match gate.kind {
        GateKind::Elicitation => form(&gate, &args.answers)?,
        GateKind::Permission | GateKind::Question | GateKind::Plan | GateKind::Login => {
            questions(&gate, &args.answers)?
        }
    };
    let decided = decide(context, &gate, decision).await?;
    args.shown.one(context, &decided, || sentence(&decided, context.out.style))?;
    Ok(exit::OK)
}

fn questions(gate: &Gate, answers: &[String]) -> Outcome<Decision> {
    let questions = view::questions(gate);
    if questions.is_empty() {
        return Err(no_question(gate));
    }
    if questions.len() != answers.len() {
        let asked: Vec<&str> = questions.iter().map(|question| question.text.as_str()).collect();
        return Err(Failure::usage(format!(
            "questions: {}, answers: {}; asked is: {}",
            questions.len(),
            answers.len(),
            escape::line(&asked.join(" / "))
        ))
        .next(format!("`lk answer {} ANSWER`, one for each question", refs::gate_title(gate))));
    }
    for (question, answer) in questions.iter().zip(answers) {
        let options = question.options.len();
        if options > 0 && answer.trim().parse().is_ok_and(|no: usize| no == 0 || no > options) {
            let why =
                format!("{} has {options} options, and none is number {}", question.text, answer.trim());
            return Err(Failure::usage(escape::line(&why).into_owned()));
        }
    }
    let answers: Vec<String> =
        questions.iter().zip(answers).map(|(question, answer)| question.answer(answer)).collect();
    Ok(answered(&questions, &answers))
}

fn no_question(gate: &Gate) -> Failure {
    let title = refs::gate_title(gate);
    Failure::new(exit::REJECTED, format!("{title} asks no question"))
        .next(format!("`lk allow {title}` or `lk deny {title}`"))
}

/// The values of a form. Whether they fit is for the daemon to say.
fn form(gate: &Gate, answers: &[String]) -> Outcome<Decision> {
    let elicitation = Elicitation::read(&gate.input);
    if elicitation.url.is_some() {
        return Err(no_question(gate));
    }
    let fields = elicitation.fields();
    let mut values = Map::new();
    for answer in answers {
        let (name, text) = answer
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{answer} is no answer to a field; write FIELD=VALUE")))?;
        let field = fields.iter().find(|field| field.name == name);
        let value = field.map_or_else(|| Value::from(text), |field| view::typed(field, text));
        if values.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("the field {name} is answered twice")));
        }
    }
    Ok(view::filled_in(&fields, values))
}
