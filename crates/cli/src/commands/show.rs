//! `lk show`: everything about a session.

use lockkeeper_api::{Reference, Session, Time};

use super::ls;
use crate::clock::Times;
use crate::context::Context;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::format::Shown;
use crate::style::{Style, outcome_ink};

/// Tell everything about a session
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(value_name = "REF")]
    session: Reference,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let session = context.client.session(&args.session).await?;
    args.shown.one(context, &session, || card(&session, args.shown.times(), context.out.style))?;
    Ok(exit::OK)
}

fn card(session: &Session, times: Times, style: Style) -> String {
    let mut card = Card { style, text: String::new() };
    let ago = |time: Time| times.ago(time);
    card.line("id", Some(session.id.as_str()));
    card.line("name", session.name.as_ref().map(lockkeeper_api::id::SessionName::as_str));
    let status = super::status_since(session.status, session.since, times, style);
    let reason = if session.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", escape::line(&session.reason))
    };
    card.ready("status", &format!("{status}{reason}"));
    card.line("because of", Some(&format!("event #{} {}", session.cause.seq, session.cause.kind)));
    card.line(
        "until",
        session.until.as_ref().map(|until| format!("{} {}", until.name, times.ahead(until.at))).as_deref(),
    );
    card.line("settled", Some(if session.settled { "yes" } else { "no" }));
    card.line("agent", Some(session.agent.as_str()));
    card.line("workspace", Some(&session.dir));
    card.line(
        "lifetime",
        Some(match session.lifetime {
            lockkeeper_api::Lifetime::OneShot => "ends with its turn",
            lockkeeper_api::Lifetime::Kept => "kept until it is stopped",
        }),
    );
    card.line("model", session.model.as_deref());
    let mode = session.mode.as_ref().map(|mode| match session.unasked {
        Some(unasked) => format!("{mode}: {}", unasked.told()),
        None => mode.clone(),
    });
    card.line("mode", mode.as_deref());
    let limit = session.turn_timeout_ms.map(|ms| crate::clock::span(i64::try_from(ms).unwrap_or(i64::MAX)));
    card.line("turn limit", limit.as_deref());
    let labels: Vec<String> = session.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    card.line("labels", Some(labels.join(" ")).filter(|labels| !labels.is_empty()).as_deref());
    card.line("environment", session.environment.as_deref());
    card.line("submitter", session.submitter.as_deref());
    if let Some(turn) = &session.turn {
        let caller = turn.caller.as_ref().map(|caller| format!(" of {caller}")).unwrap_or_default();
        card.line("turn", Some(&format!("{}{caller} {}", turn.no, times.lasting(turn.started))));
    }
    if let Some(turn) = &session.last_turn {
        let when = turn.ended.map(|ended| format!(" {}", ago(ended))).unwrap_or_default();
        let message =
            turn.message.as_ref().map(|message| format!(": {}", escape::line(message))).unwrap_or_default();
        let outcome = style.ink(outcome_ink(turn.outcome), turn.outcome.word());
        card.ready("last turn", &format!("{} {outcome}{when}{message}", turn.no));
    }
    card.count("waiting prompts", session.queue);
    card.line("held by", session.held_by.as_deref());
    card.count("open gates", session.open_gates);
    card.line("bypass", super::bypass::told(session, times).as_deref());
    card.count("background tasks", session.background_tasks);
    card.line("process", session.pid.map(|pid| format!("{pid}")).as_deref());
    card.line("attempt", session.attempt.map(|attempt| attempt.to_string()).as_deref());
    card.line(
        "conversation",
        session.agent_session_id.as_ref().map(lockkeeper_api::id::AgentSessionId::as_str),
    );
    let usage = &session.usage;
    let read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    if read > 0 || usage.output_tokens > 0 {
        card.line("tokens", Some(&format!("{read} read, {} written", usage.output_tokens)));
    }
    card.line("cost", Some(ls::cost(session)).filter(|cost| !cost.is_empty()).as_deref());
    card.line("created", Some(&ago(session.created)));
    card.line("ended", session.ended_at.map(ago).as_deref());
    if let Some(end) = &session.end {
        let parts: Vec<&str> =
            [end.reason.as_deref(), end.message.as_deref()].into_iter().flatten().collect();
        card.line("end", Some(parts.join(": ")).filter(|text| !text.is_empty()).as_deref());
    }
    if let Some(exit) = &session.exit {
        let how = match (exit.code, exit.signal) {
            (Some(code), _) => format!("code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        };
        let verdict = exit.verdict.as_ref().map(|verdict| format!(" ({verdict})")).unwrap_or_default();
        card.line("last exit", Some(&format!("{how}{verdict}")));
        for line in &exit.stderr {
            card.line("", Some(line));
        }
    }
    card.text
}

struct Card {
    style: Style,
    text: String,
}

impl Card {
    const WIDTH: usize = 17;

    /// A line with a text that is not escaped yet; none if there is no text.
    fn line(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.ready(name, &escape::line(text));
        }
    }

    fn count(&mut self, name: &str, count: u32) {
        if count > 0 {
            self.ready(name, &count.to_string());
        }
    }

    fn ready(&mut self, name: &str, text: &str) {
        self.text.push_str(&self.style.dim(&format!("{name:<width$}", width = Self::WIDTH)));
        self.text.push_str(text);
        self.text.push('\n');
    }
}
