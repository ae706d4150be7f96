//! `lk webhook`: what the configuration says of webhooks, and what came by them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use lockkeeper_api::{Delivery, DeliveryQuery, DeliveryState, Webhook, WebhookTest, WebhookTrial};

use super::class_word;
use crate::clock::Times;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Shown};
use crate::style::Ink;
use crate::table::{Cell, Table};

/// List and try webhooks, and see what came by them
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the webhooks of the configuration
    Ls {
        #[command(flatten)]
        shown: Shown,
    },
    /// Tell what a delivery would lead to, and do nothing
    Test {
        /// The webhook
        #[arg(value_name = "WEBHOOK")]
        webhook: String,
        /// The body, which is JSON; - reads it from standard input
        #[arg(long, value_name = "FILE")]
        body: PathBuf,
        /// The kind of event that it tells of
        #[arg(long, value_name = "EVENT")]
        event: Option<String>,
        /// A header that its template speaks of
        #[arg(long = "header", value_name = "NAME=VALUE", value_parser = super::pair)]
        headers: Vec<(String, String)>,
        #[command(flatten)]
        shown: Shown,
    },
    /// List what came, the newest first
    Deliveries {
        /// By this webhook alone
        #[arg(value_name = "WEBHOOK")]
        webhook: Option<String>,
        /// How many at the most
        #[arg(short = 'n', long, value_name = "COUNT")]
        limit: Option<usize>,
        #[command(flatten)]
        shown: Shown,
    },
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    match args.action {
        None => list(args.shown, context).await,
        Some(Action::Ls { shown }) => list(shown, context).await,
        Some(Action::Test { webhook, body, event, headers, shown }) => {
            let headers: BTreeMap<String, String> = super::unique("header", headers)?
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect();
            let test = WebhookTest { event, headers, body: read_json(&body)? };
            let trial = context.client.test_webhook(&webhook, &test).await?;
            shown.one(context, &trial, || told(&trial))?;
            Ok(exit::OK)
        }
        Some(Action::Deliveries { webhook, limit, shown }) => {
            let query = DeliveryQuery { webhook, limit };
            let list = context.client.deliveries(&query).await?;
            shown.list(context, &list.items, || deliveries(&list.items, shown.times()))?;
            note_none(list.items.is_empty(), "nothing came", shown, context);
            Ok(exit::OK)
        }
    }
}

async fn list(shown: Shown, context: &Context) -> Outcome {
    let list = context.client.webhooks().await?;
    shown.list(context, &list.items, || table(&list.items, shown.times()))?;
    let none =
        format!("no webhook is configured; [webhook.NAME] in {} makes one", context.places.config.display());
    note_none(list.items.is_empty(), &none, shown, context);
    for webhook in list.items.iter().filter(|webhook| webhook.unproved > 0 && shown.output == Format::Table) {
        let (name, count) = (&webhook.name, webhook.unproved);
        context.out.note(format_args!(
            "{name}: {count} that came were not believed since the daemon started; its log says why"
        ));
    }
    if list.items.iter().any(|webhook| webhook.url.is_none()) && shown.output == Format::Table {
        context.out.note("nobody listens for them but the daemon's socket: webhooks.listen = \"127.0.0.1:8470\" in the configuration does");
    }
    Ok(exit::OK)
}

fn note_none(empty: bool, note: &str, shown: Shown, context: &Context) {
    if empty && context.out.terminal && shown.output == Format::Table {
        context.out.note(note);
    }
}

fn read_json(path: &Path) -> Outcome<serde_json::Value> {
    let bytes = if path == Path::new("-") {
        super::read_stdin()?
    } else {
        std::fs::read(path)
            .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", path.display())))
}

fn table(webhooks: &[Webhook], times: Times) -> Table {
    let head = &["WEBHOOK", "URL", "SIGNATURE", "EVENTS", "TO", "CLASS", "LAST", "AGE"];
    let mut table = Table::new(head, &["EVENTS", "TO", "URL"], &["SIGNATURE", "AGE"]);
    for webhook in webhooks {
        let label = webhook.label.as_ref().map(|label| format!("label {label}"));
        let new = webhook.new.as_ref().map(|agent| format!("a new {agent}"));
        let to = webhook.session.clone().or(label).or(new).unwrap_or_default();
        let preempts = if webhook.preempt { ", preempts" } else { "" };
        let last = webhook.last.as_ref();
        table.row([
            Cell::inked(webhook.name.as_str(), Ink::Bold),
            webhook.url.as_ref().unwrap_or(&webhook.path).as_str().into(),
            webhook.signature.word().into(),
            webhook.events.join(",").into(),
            to.into(),
            format!("{}{preempts}", class_word(webhook.class)).into(),
            last.map_or_else(|| "".into(), |last| state(last.state)),
            last.map(|last| times.show(last.at)).unwrap_or_default().into(),
        ]);
    }
    table
}

fn deliveries(deliveries: &[Delivery], times: Times) -> Table {
    let head = &["AGE", "WEBHOOK", "DELIVERY", "EVENT", "STATE", "PROMPT", "WHY"];
    let mut table = Table::new(head, &["WHY", "DELIVERY"], &["PROMPT", "EVENT"]);
    for delivery in deliveries {
        table.row([
            times.show(delivery.at).into(),
            delivery.webhook.as_str().into(),
            delivery.delivery.as_str().into(),
            delivery.event.as_deref().unwrap_or_default().into(),
            state(delivery.state),
            delivery.prompt.as_deref().unwrap_or_default().into(),
            delivery.why.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

fn state(state: DeliveryState) -> Cell {
    let ink = match state {
        DeliveryState::Queued | DeliveryState::Coalesced => Ink::Green,
        DeliveryState::Ignored => Ink::Dim,
        DeliveryState::Refused => Ink::Red,
    };
    Cell::inked(state.word(), ink)
}

/// What a delivery would lead to, for people: the session, what it is about, and the prompt.
fn told(trial: &WebhookTrial) -> String {
    if let Some(why) = &trial.why {
        return format!("it would be ignored: {}\n", escape::line(why));
    }
    let session = match (&trial.session, &trial.name) {
        (Some(session), _) => format!("the session {session}"),
        (None, Some(name)) => format!("a new session {name}"),
        (None, None) => "a new session".to_owned(),
    };
    let about =
        trial.coalesce.as_deref().map(|about| format!(", about {}", escape::line(about))).unwrap_or_default();
    let text = escape::block(trial.text.as_deref().unwrap_or_default());
    format!("it would be a prompt for {session}{about}:\n{}\n", text.trim_end())
}
