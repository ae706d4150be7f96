//! `lk queue`: the prompts that wait.

use clap::Subcommand;
use lockkeeper_api::id::PromptNo;
use lockkeeper_api::{PromptEdit, QueuedPrompt, Reference};

use super::class_word;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::refs;
use crate::table::Table;

/// List and change the prompts that wait
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the prompts that wait, the next one first
    Ls {
        #[command(flatten)]
        shown: Shown,
    },
    /// Replace the text of a prompt
    Edit {
        /// The prompt: p3
        #[arg(value_name = "PROMPT")]
        prompt: String,
        /// Its text from now on; - reads it from standard input
        #[arg(required = true, value_name = "TEXT")]
        text: Vec<String>,
    },
    /// Take prompts out of the queue
    Rm {
        /// The prompts: p3 p4
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<String>,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.action {
        None => list(&args.session, args.shown, context).await,
        Some(Action::Ls { shown }) => list(&args.session, shown, context).await,
        Some(Action::Edit { prompt, text }) => {
            let prompt = refs::with_id(context, refs::inside::<PromptNo>(&args.session, &prompt)?).await?;
            let text = super::read_prompt(&text)?;
            context.client.edit_prompt(&prompt, &PromptEdit { text }).await?;
            context.out.line(format_args!("{} changed", prompt.no))?;
            Ok(exit::OK)
        }
        Some(Action::Rm { prompts }) => {
            for prompt in prompts {
                let prompt =
                    refs::with_id(context, refs::inside::<PromptNo>(&args.session, &prompt)?).await?;
                context.client.drop_prompt(&prompt).await?;
                context.out.line(format_args!("{} removed", prompt.no))?;
            }
            Ok(exit::OK)
        }
    }
}

async fn list(session: &Reference, shown: Shown, context: &Context) -> Outcome {
    let queue = context.client.queue(session).await?.items;
    shown.list(context, &queue, || table(&queue, shown))?;
    Ok(exit::OK)
}

fn table(queue: &[QueuedPrompt], shown: Shown) -> Table {
    const PREVIEW: usize = 200;
    let times = shown.times();
    let mut table = Table::new(&["PROMPT", "CLASS", "CALLER", "AGE", "TEXT"], &["TEXT"]);
    for prompt in queue {
        table.row([
            prompt.id.rsplit('.').next().unwrap_or_default().into(),
            class_word(prompt.class).into(),
            prompt.caller.as_str().into(),
            times.show(prompt.accepted).into(),
            escape::summary(&prompt.text, PREVIEW).into(),
        ]);
    }
    table
}
