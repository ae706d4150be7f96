//! How a turn ended, by its `result`.

use lockkeeper_core::turn::{Ending, FailureKind, Usage};

use super::lax::{Str, member};
use super::line::{ResultLine, Tokens};
use crate::clip::clip;

/// What the lines of a turn said about its end before the `result` came.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// `model_refusal_no_fallback` came.
    pub(super) refused: bool,
    /// The `error` of the last synthetic message: 2.1.197 tells the kind of a failure only there.
    pub(super) error: Option<String>,
}

/// Judges in this order: aborted, refused, limit, failed, completed.
///
/// `subtype` and `is_error` alone mislead: an API error is a `success` with `is_error`, a turn that another prompt
/// pushed aside is a `success` without, and an interrupted one is an error.
pub(super) fn judge(line: &ResultLine<'_>, signs: &Signs) -> Ending {
    let failed = failed(line);
    if aborted(line) {
        Ending::Aborted
    } else if line.stop_reason.text() == "refusal" || (failed && signs.refused) {
        Ending::Refused
    } else if let Some(which) = limit(line, signs) {
        Ending::Limit { which: which.to_owned() }
    } else if failed {
        let message = message(line);
        let kind = kind_of_failure(line, signs, &message);
        let advice = if kind == FailureKind::Login { LOGIN_ADVICE } else { "" };
        Ending::Failed { kind, message: message + advice }
    } else {
        Ending::Completed
    }
}

/// Whether the turn was cancelled.
pub(super) fn aborted(line: &ResultLine<'_>) -> bool {
    line.terminal_reason.text().starts_with("aborted_")
}

fn failed(line: &ResultLine<'_>) -> bool {
    line.is_error.0 || line.subtype.text() != "success"
}

/// What to do about a missing login. The agent itself advises `/login`, which only its own terminal has.
const LOGIN_ADVICE: &str =
    " (run `claude` in a terminal and log in there, or make a session with ANTHROPIC_API_KEY set)";

fn limit(line: &ResultLine<'_>, signs: &Signs) -> Option<&'static str> {
    let max_output = |error: &str| error == "max_output_tokens";
    match (line.subtype.text(), line.terminal_reason.text(), line.stop_reason.text()) {
        ("error_max_turns", _, _) | (_, "max_turns", _) => Some("max_turns"),
        ("error_max_budget_usd", _, _) | (_, "budget_exhausted", _) => Some("budget"),
        ("error_max_structured_output_retries", _, _) => Some("structured_output_retries"),
        (_, _, "max_tokens") => Some("max_tokens"),
        _ if !line.is_error.0 => None,
        _ if max_output(line.api_error.text()) || signs.error.as_deref().is_some_and(max_output) => {
            Some("max_tokens")
        }
        _ => None,
    }
}

fn kind_of_failure(line: &ResultLine<'_>, signs: &Signs, message: &str) -> FailureKind {
    let status = line.api_error_status.0;
    let error = signs.error.as_deref();
    if error == Some("authentication_failed") || status == Some(401) || message.starts_with("Not logged in") {
        FailureKind::Login
    } else if error == Some("rate_limit") || status == Some(429) {
        FailureKind::RateLimit
    } else if error.is_some()
        || status.is_some()
        || line.terminal_reason.text() == "api_error"
        || message.starts_with("API Error")
    {
        FailureKind::Api
    } else {
        FailureKind::Agent
    }
}

/// What the agent says about a failure, for people.
fn message(line: &ResultLine<'_>) -> String {
    let errors: Vec<Str<'_>> = member(line.errors);
    let text = if errors.is_empty() {
        line.result.text().to_owned()
    } else {
        errors.iter().map(Str::text).collect::<Vec<_>>().join("; ")
    };
    if text.is_empty() { clip(line.subtype.text()) } else { clip(&text) }
}

/// What the agent says if there is nothing to resume. Its line carries a random `session_id` when the id that we gave
/// was no UUID.
pub(super) fn conversation_lost(line: &ResultLine<'_>) -> Option<String> {
    let message = message(line);
    let lost = ["No conversation found", "--resume requires a valid session ID"];
    (failed(line) && lost.iter().any(|text| message.contains(text))).then_some(message)
}

/// Tokens are per turn, the cost is cumulative for the process.
pub(super) fn usage(line: &ResultLine<'_>) -> Usage {
    let tokens: Tokens = member(line.usage);
    let cost = line.total_cost_usd.scaled(1e6);
    // A turn that fails before it begins says 0, whatever the process had cost before.
    let said = cost.filter(|cost| *cost > 0 || line.num_turns.or_zero() > 0);
    Usage {
        input_tokens: tokens.input.or_zero(),
        output_tokens: tokens.output.or_zero(),
        cache_read_tokens: tokens.cache_read.or_zero(),
        cache_write_tokens: tokens.cache_write.or_zero(),
        attempt_cost_micro_usd: said,
        rounds: line.num_turns.u32(),
    }
}
