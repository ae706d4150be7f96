//! `lk answer`: answers an agent's questions.

use super::allow::{decide, sentence};
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::follow::asking::answered;
use crate::format::Shown;
use crate::refs;
use crate::view;

/// Answer an agent's questions
///
/// One answer per question, in their order: the number of an option, or your own words. `lk gates -o json` shows the
/// questions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gate: SESSION.g1, or a session with one open gate
    #[arg(value_name = "GATE")]
    gate: String,
    /// The answers
    #[arg(required = true, value_name = "ANSWER")]
    answers: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let gate = refs::gate(context, &args.gate).await?;
    let questions = view::questions(&gate);
    if questions.is_empty() {
        let title = refs::gate_title(&gate);
        return Err(Failure::new(exit::REJECTED, format!("{title} asks no question"))
            .next(format!("`lk allow {title}` or `lk deny {title}`")));
    }
    if questions.len() != args.answers.len() {
        return Err(Failure::usage(format!(
            "there are {} questions and {} answers",
            questions.len(),
            args.answers.len()
        )));
    }
    let answers: Vec<String> =
        questions.iter().zip(&args.answers).map(|(question, answer)| question.answer(answer)).collect();
    let decided = decide(context, &gate, answered(&questions, &answers)).await?;
    args.shown.one(context, &decided, || sentence(&decided, context.out.style))?;
    Ok(exit::OK)
}
