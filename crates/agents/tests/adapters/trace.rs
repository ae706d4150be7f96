//! What a wire said, as lines to read and to compare.

use lockkeeper_agents::{Decoded, DeltaKind};
use lockkeeper_core::agent::{AgentSays, ControlAnswer};
use lockkeeper_core::item::{Extent, Item, ItemBody};
use lockkeeper_core::turn::{Ending, TurnBy};

/// All turns: `P` for ours, `A` for the agent's own, with their ending; `?` for one that did not end.
pub(crate) fn turns(said: &[Decoded]) -> String {
    let mut turns: Vec<String> = Vec::new();
    for decoded in said {
        match decoded {
            Decoded::Says(AgentSays::TurnBegan { by }) => turns.push(format!("{} ?", letter(*by))),
            Decoded::Says(AgentSays::TurnEnded { by, ending, .. }) => {
                if let Some(turn) = turns.last_mut() {
                    *turn = format!("{} {}", letter(*by), word(ending));
                }
            }
            _ => {}
        }
    }
    turns.join(", ")
}

/// `P` for a turn of ours, `A` for one of the agent's own.
pub(crate) fn letter(by: TurnBy) -> char {
    match by {
        TurnBy::Prompt => 'P',
        TurnBy::Agent => 'A',
    }
}

fn word(ending: &Ending) -> String {
    match ending {
        Ending::Completed => "completed".to_owned(),
        Ending::Aborted => "aborted".to_owned(),
        Ending::Refused => "refused".to_owned(),
        Ending::Limit { which } => format!("limit:{which}"),
        Ending::Failed { kind, .. } => format!("failed:{}", kind.word()),
    }
}

/// One line for each thing said; deltas of one item in a row are one line, and [`AgentSays::Alive`] is none.
pub(crate) fn trace(said: &[Decoded]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut streaming = None;
    for decoded in said {
        let delta = match decoded {
            Decoded::Delta { key, kind, .. } => Some((key, *kind)),
            _ => None,
        };
        match (&delta, &streaming) {
            (Some(now), Some((before, count))) if now == before => streaming = Some((*before, count + 1)),
            (_, before) => {
                if let Some(((key, kind), count)) = before {
                    lines.push(format!("{count} deltas of {} {key}", kind_word(*kind)));
                }
                streaming = delta.map(|delta| (delta, 1));
            }
        }
        match decoded {
            Decoded::Delta { .. } | Decoded::Says(AgentSays::Alive) => {}
            Decoded::Dropped { key } => lines.push(format!("dropped {key}")),
            Decoded::Says(says) => lines.push(line(says)),
        }
    }
    lines.join("\n")
}

fn kind_word(kind: DeltaKind) -> &'static str {
    match kind {
        DeltaKind::Message => "message",
        DeltaKind::Reasoning => "reasoning",
        DeltaKind::ToolInput => "tool input",
    }
}

fn line(says: &AgentSays) -> String {
    match says {
        AgentSays::Ready { version } => format!("ready {}", version.as_deref().unwrap_or("-")),
        AgentSays::Conversation { id } => format!("conversation {id}"),
        AgentSays::ConversationLost { message } => format!("conversation lost: {}", short(message)),
        AgentSays::Using { model, mode } => {
            format!("using {} {}", model.as_deref().unwrap_or("-"), mode.as_deref().unwrap_or("-"))
        }
        AgentSays::PromptTaken => "prompt taken".to_owned(),
        AgentSays::TurnBegan { by } => format!("turn began {}", letter(*by)),
        AgentSays::TurnEnded { by, ending, usage } => format!(
            "turn ended {} {}; {} rounds, {} in, {} out, attempt {}",
            letter(*by),
            match ending {
                Ending::Failed { message, .. } => format!("{}: {}", word(ending), short(message)),
                _ => word(ending),
            },
            usage.rounds,
            usage.input_tokens,
            usage.output_tokens,
            usage.attempt_cost_micro_usd.map_or("-".to_owned(), |cost| format!("{cost} µ$")),
        ),
        AgentSays::Item { item } => match &item.body {
            ItemBody::Message { text, extent } => {
                format!("message{} {} {}", of(item), extent_word(*extent), short(text))
            }
            ItemBody::Reasoning { text, extent } => {
                format!("reasoning{} {} {}", of(item), extent_word(*extent), short(text))
            }
            ItemBody::Notice { text } => format!("notice {}", short(text)),
            body => panic!("{body:?} is no item of its own"),
        },
        AgentSays::ToolStarted { item } => match &item.body {
            ItemBody::ToolCall { tool, input } => {
                format!("tool{} {tool} {} {}", of(item), item.key, short(input.as_str()))
            }
            body => panic!("{body:?} is no call"),
        },
        AgentSays::ToolEnded { call, outcome, text } => {
            format!("tool ended {} {call} {}", format!("{outcome:?}").to_lowercase(), short(text))
        }
        AgentSays::Asked { ask, .. } => format!(
            "{} {} {} for {} ({}; {}){}",
            if ask.announced { "announced" } else { "asked" },
            format!("{:?}", ask.kind).to_lowercase(),
            ask.tool,
            ask.call.as_ref().map_or("-", |call| call.as_str()),
            ask.title.as_deref().unwrap_or("-"),
            ask.reason.as_deref().unwrap_or("-"),
            if ask.suggestions.is_some() { " with suggestions" } else { "" },
        ),
        AgentSays::AskWithdrawn { request } => format!("withdrawn {request:?}"),
        AgentSays::AskedTooMuch { request, announced } => format!("asked too much {request:?} {announced}"),
        AgentSays::AskFulfilled { request } => format!("fulfilled {request:?}"),
        AgentSays::UnknownRequest { request, subtype } => format!("unknown request {subtype} {request:?}"),
        AgentSays::ControlAnswered { control, answer } => match answer {
            ControlAnswer::Done { value } => format!("{control} done {}", value.as_deref().unwrap_or("-")),
            ControlAnswer::Refused { code, message } => {
                format!("{control} refused {} {}", code.as_deref().unwrap_or("-"), short(message))
            }
        },
        AgentSays::TaskStarted { task, kind, title } => format!("task {task} started {kind:?} {title}"),
        AgentSays::TaskEnded { task, how } => format!("task {task} ended {how}"),
        AgentSays::Retrying { attempt, of, delay_ms, reason } => {
            format!("retry {attempt}/{of} in {delay_ms} ms: {reason}")
        }
        AgentSays::Limited { until_ms, what } => format!("limited until {until_ms}: {what}"),
        AgentSays::Alive => "alive".to_owned(),
        AgentSays::Malformed { why, bytes } => format!("malformed {why} ({bytes} bytes)"),
        AgentSays::Unrecognized { kind } => format!("unrecognized {kind}"),
    }
}

fn of(item: &Item) -> String {
    item.parent.as_ref().map_or_else(String::new, |parent| format!(" of {parent}"))
}

fn extent_word(extent: Extent) -> &'static str {
    match extent {
        Extent::Whole => "whole",
        Extent::Partial => "partial",
    }
}

fn short(text: &str) -> String {
    let line: String = text.chars().take(70).collect();
    format!("{line:?}")
}
