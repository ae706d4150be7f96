//! `lk queue`: the prompts that wait.

use clap::Subcommand;
use lockkeeper_api::id::PromptNo;
use lockkeeper_api::{
    InnerReference, Parked, PromptEdit, PromptMove, PromptReceipt, PromptState, QueuedPrompt, Reference,
};

use super::{Urgency, class_word};
use crate::clock::Times;
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
            show(&args.session, &prompt, shown, context).await
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
            let prompt = refs::with_id(context, prompt).await?;
            let held = is_held(context, &prompt).await?;
            let receipt = context.client.release_prompt(&prompt).await?;
            let told = if held {
                format!("{} let go\n", prompt.no)
            } else {
                format!("nothing held {}\n", prompt.no)
            };
            shown.one(context, &receipt, || told)?;
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

async fn show(
    session: &Reference,
    prompt: &InnerReference<PromptNo>,
    shown: Shown,
    context: &Context,
) -> Outcome {
    let receipt = context.client.prompt_receipt(prompt).await?;
    let text = match shown.output {
        Format::Table => how_far(session, &receipt, shown.times(), context).await?,
        Format::Json | Format::Jsonl => String::new(),
    };
    shown.one(context, &receipt, || format!("{} {text}\n", prompt.no))?;
    Ok(exit::OK)
}

/// Whether a prompt waits until somebody lets it go.
async fn is_held(context: &Context, prompt: &InnerReference<PromptNo>) -> Outcome<bool> {
    let queue = context.client.queue(&prompt.session).await?.items;
    let held =
        |queued: &QueuedPrompt| queued.parked.is_some() && refs::inner(&queued.id) == prompt.no.to_string();
    Ok(queue.iter().any(held))
}

/// How far a prompt came, for people: `waits behind 2`, `ended 3m ago as t4: preempted; p7 goes on with it`.
async fn how_far(
    session: &Reference,
    receipt: &PromptReceipt,
    times: Times,
    context: &Context,
) -> Outcome<String> {
    if waits(receipt) && is_held(context, &receipt.prompt.parse()?).await? {
        let no = refs::inner(&receipt.prompt);
        return Ok(format!(
            "is held until somebody lets it go: lk queue {session} release {no}, or lk resume {session}"
        ));
    }
    let Some(next) = &receipt.continued_by else { return Ok(stage(receipt, times)) };
    let next = context.client.prompt_receipt(&next.parse()?).await?;
    let held = waits(&next) && is_held(context, &next.prompt.parse()?).await?;
    let goes_on = if held {
        format!("{}, which is held, is to go on with it", refs::inner(&next.prompt))
    } else {
        goes_on(&next, times)
    };
    Ok(format!("{}; {goes_on}", stage(receipt, times)))
}

/// Whether a prompt has no turn yet.
fn waits(receipt: &PromptReceipt) -> bool {
    receipt.state == PromptState::Accepted && receipt.turn.is_none()
}

fn stage(receipt: &PromptReceipt, times: Times) -> String {
    let turn = receipt.turn.as_deref().map(refs::inner).unwrap_or_default();
    let ended = receipt.ended.map(|at| times.ago(at)).unwrap_or_default();
    match receipt.state {
        PromptState::Accepted if receipt.turn.is_some() => format!("is on its way to the agent as {turn}"),
        PromptState::Accepted if receipt.held_by.is_some() => {
            let by = receipt.held_by.as_deref().unwrap_or_default();
            format!("waits: {} holds the queue", crate::escape::line(by))
        }
        PromptState::Accepted => match receipt.queued_behind {
            Some(behind @ 1..) => format!("waits behind {behind}"),
            Some(0) | None => "waits, with nobody before it".to_owned(),
        },
        PromptState::Written => format!("was written to the agent as {turn}"),
        PromptState::Started => format!("is at work as {turn}"),
        PromptState::Dropped => format!("was taken out of the queue {ended}"),
        PromptState::Ended => {
            let outcome = receipt.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
            format!("ended {ended} as {turn}: {outcome}")
        }
    }
}

/// What became of the prompt that a turn was to be gone on with.
fn goes_on(next: &PromptReceipt, times: Times) -> String {
    let prompt = refs::inner(&next.prompt);
    match next.state {
        PromptState::Accepted => format!("{prompt} is to go on with it, and {}", stage(next, times)),
        PromptState::Written | PromptState::Started => {
            format!("{prompt} goes on with it, and {}", stage(next, times))
        }
        PromptState::Dropped => format!("{prompt} was to go on with it, and {}", stage(next, times)),
        PromptState::Ended => format!("{prompt} went on with it, and {}", stage(next, times)),
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
