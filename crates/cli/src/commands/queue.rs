//! `lk queue`: the prompts that wait.

use clap::Subcommand;
use lockkeeper_api::id::PromptNo;
use lockkeeper_api::{Parked, PromptEdit, PromptMove, PromptReceipt, PromptState, QueuedPrompt, Reference};

use super::{Urgency, class_word};
use crate::context::Context;
use crate::cut;
use crate::exit;
use crate::failure::Outcome;
use crate::format::{Format, Series, Shown};
use crate::refs;
use crate::style::Style;
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
    /// Tell how far a prompt came, also when its turn is over
    Show {
        /// The prompt: p3
        #[arg(value_name = "PROMPT")]
        prompt: String,
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
        #[command(flatten)]
        shown: Shown,
    },
    /// Give a prompt another place: the last of its class, unless it is to be the first
    Mv {
        /// The prompt: p3
        #[arg(value_name = "PROMPT")]
        prompt: String,
        /// Before all others of its class
        #[arg(long)]
        first: bool,
        /// Another class
        #[arg(long, value_enum)]
        class: Option<Urgency>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Let a prompt go that was cut short and is held
    Release {
        /// The prompt: p3
        #[arg(value_name = "PROMPT")]
        prompt: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Take prompts out of the queue
    Rm {
        /// The prompts: p3 p4
        #[arg(required = true, value_name = "PROMPT")]
        prompts: Vec<String>,
        #[command(flatten)]
        shown: Shown,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.action {
        None => list(&args.session, args.shown, context).await,
        Some(Action::Ls { shown }) => list(&args.session, shown, context).await,
        Some(Action::Show { prompt, shown }) => {
            let prompt = refs::inside::<PromptNo>(context, &args.session, &prompt).await?;
            let receipt = context.client.prompt_receipt(&prompt).await?;
            shown.one(context, &receipt, || format!("{} {}\n", prompt.no, how_far(&receipt, shown)))?;
            Ok(exit::OK)
        }
        Some(Action::Edit { prompt, text, shown }) => {
            let prompt = refs::inside::<PromptNo>(context, &args.session, &prompt).await?;
            let prompt = refs::with_id(context, prompt).await?;
            let text = super::read_prompt(&text)?;
            let receipt = context
                .client
                .edit_prompt(&prompt, &PromptEdit { text: Some(text), ..PromptEdit::default() })
                .await?;
            shown.one(context, &receipt, || format!("{} changed\n", prompt.no))?;
            Ok(exit::OK)
        }
        Some(Action::Mv { prompt, first, class, shown }) => {
            let prompt = refs::inside::<PromptNo>(context, &args.session, &prompt).await?;
            let to = Some(if first { PromptMove::First } else { PromptMove::Last });
            let edit = PromptEdit { text: None, class: class.map(Into::into), to };
            let receipt = context.client.edit_prompt(&prompt, &edit).await?;
            shown.one(context, &receipt, || format!("{} moved\n", prompt.no))?;
            Ok(exit::OK)
        }
        Some(Action::Release { prompt, shown }) => {
            let prompt = refs::inside::<PromptNo>(context, &args.session, &prompt).await?;
            let receipt = context.client.release_prompt(&prompt).await?;
            shown.one(context, &receipt, || format!("{} let go\n", prompt.no))?;
            Ok(exit::OK)
        }
        Some(Action::Rm { prompts, shown }) => {
            let mut removed = Series::new(context, shown);
            let all = async {
                for prompt in prompts {
                    let prompt = refs::inside::<PromptNo>(context, &args.session, &prompt).await?;
                    let prompt = refs::with_id(context, prompt).await?;
                    let receipt = context.client.drop_prompt(&prompt).await?;
                    removed.push(receipt, |_| format!("{} removed\n", prompt.no))?;
                }
                Ok(exit::OK)
            };
            let code = all.await;
            removed.finish()?;
            code
        }
    }
}

/// How far a prompt came, for people: `waits behind 2 others`, `ended 3m ago as t4: completed`.
fn how_far(receipt: &PromptReceipt, shown: Shown) -> String {
    let times = shown.times();
    let turn = receipt.turn.as_deref().map(refs::inner).unwrap_or_default();
    let ended = receipt.ended.map(|at| times.ago(at)).unwrap_or_default();
    match receipt.state {
        PromptState::Accepted if receipt.turn.is_some() => format!("is on its way to the agent as {turn}"),
        PromptState::Accepted => match receipt.queued_behind {
            Some(behind @ 1..) => format!("waits behind {behind}"),
            Some(0) | None => "waits, with nobody before it".to_owned(),
        },
        PromptState::Written => format!("was written to the agent as {turn}"),
        PromptState::Started => format!("is at work as {turn}"),
        PromptState::Dropped => format!("was taken out of the queue {ended}"),
        PromptState::Ended => {
            let outcome = receipt.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
            let goes_on = receipt.continued_by.as_deref().map(refs::inner);
            let goes_on = goes_on.map(|prompt| format!("; {prompt} goes on with it")).unwrap_or_default();
            format!("ended {ended} as {turn}: {outcome}{goes_on}")
        }
    }
}

async fn list(session: &Reference, shown: Shown, context: &Context) -> Outcome {
    let queue = context.client.queue(session).await?.items;
    shown.list(context, &queue, || table(&queue, shown, context.out.style))?;
    if queue.is_empty() && context.out.terminal && shown.output == Format::Table {
        context.out.note("no prompt waits");
    }
    Ok(exit::OK)
}

fn table(queue: &[QueuedPrompt], shown: Shown, style: Style) -> Table {
    const PREVIEW: usize = 200;
    let times = shown.times();
    let mut table = Table::new(
        &["PROMPT", "CLASS", "CALLER", "CLAIM", "HELD", "AGE", "TEXT"],
        &["TEXT"],
        &["CLASS", "CALLER", "CLAIM", "AGE"],
    );
    for prompt in queue {
        let held = match prompt.parked {
            Some(Parked::ByChoice) => "cut short",
            Some(Parked::ToolUnknown) => "tool unknown",
            None => "",
        };
        table.row([
            refs::inner(&prompt.id).into(),
            class_word(prompt.class).into(),
            prompt.caller.as_str().into(),
            prompt.claim.as_deref().map(refs::inner).unwrap_or_default().into(),
            held.into(),
            times.show(prompt.accepted).into(),
            cut::summary(&prompt.text, PREVIEW, style).into(),
        ]);
    }
    table
}
