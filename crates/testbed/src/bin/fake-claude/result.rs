//! The `result` line: how a turn ended, member by member as recorded.

use crate::flags::Kind;
use crate::shapes::{self, Facts, with};
use serde_json::{Value, json};

/// How a turn ended.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Completed,
    Failed { status: Option<u16>, kind: Option<&'static str>, error: &'static str, text: String },
    AbortedStreaming,
    AbortedTools,
}

/// What a `result` line reports beside its ending.
#[derive(Clone, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) uuid: String,
    pub(crate) uuids: &'a [String],
    pub(crate) origin: Option<Value>,
    pub(crate) denials: &'a [Value],
    pub(crate) said: &'a str,
    pub(crate) rounds: u32,
    pub(crate) duration_ms: u64,
    /// How many results came before, which is also how many turns have been paid for.
    pub(crate) index: u64,
    pub(crate) now_ms: u64,
}

/// A `result` line.
pub(crate) fn line(facts: &Facts, ending: &Ending, report: &Report<'_>) -> Value {
    let turns = report.index + 1;
    let mut line = json!({
        "type": "result", "duration_ms": report.duration_ms, "duration_api_ms": turns, "num_turns": report.rounds,
        "session_id": facts.session, "total_cost_usd": json!(turns), "usage": shapes::usage(facts.kind),
        "modelUsage": {&facts.model: model_usage(facts, turns)}, "permission_denials": report.denials,
        "fast_mode_state": "off", "uuid": report.uuid,
    });
    line = with(line, ended(facts.kind, ending, report));
    if facts.kind == Kind::Newer {
        line = with(line, newer_members(facts, ending, report));
    }
    if let Some(origin) = &report.origin {
        line = with(line, json!({"origin": origin}));
    }
    line
}

fn ended(kind: Kind, ending: &Ending, report: &Report<'_>) -> Value {
    let diagnostic =
        |stop: &str| format!("[ede_diagnostic] result_type=user last_content_type=n/a stop_reason={stop}");
    let aborted = |reason: &str, stop_reason: Value, stop: &str, more: u32| {
        json!({
            "subtype": "error_during_execution", "is_error": true, "stop_reason": stop_reason,
            "terminal_reason": reason, "errors": [diagnostic(stop)], "num_turns": report.rounds + more,
        })
    };
    match ending {
        Ending::Completed => json!({
            "subtype": "success", "is_error": false, "api_error_status": null, "result": report.said,
            "stop_reason": "end_turn", "terminal_reason": "completed",
            "ttft_ms": 1, "ttft_stream_ms": 1, "time_to_request_ms": 1,
        }),
        Ending::Failed { status, text, .. } => json!({
            "subtype": "success", "is_error": true, "api_error_status": status, "result": text,
            "stop_reason": "stop_sequence",
            "terminal_reason": if kind == Kind::Older { "completed" } else { "api_error" },
        }),
        Ending::AbortedStreaming => aborted("aborted_streaming", Value::Null, "null", 1),
        Ending::AbortedTools => aborted("aborted_tools", "tool_use".into(), "tool_use", 2),
    }
}

fn newer_members(facts: &Facts, ending: &Ending, report: &Report<'_>) -> Value {
    let mut more = json!({
        "fast_mode_disabled_reason": "sdk_opt_in_required", "subagent_stats": subagent_stats(), "safety_stops": 0,
        "queued_turn_count": 0, "result_index": report.index,
        "model_usage_since_last_result": {&facts.model: model_usage(facts, 1)},
    });
    more = with(more, shapes::answering(report.uuids));
    match ending {
        Ending::Completed => {
            more = with(more, json!({"first_content_frame_ms": 1}));
            if !report.uuids.is_empty() {
                more = with(
                    more,
                    json!({
                        "request_sent_wall_ms": report.now_ms, "first_request_input_tokens": 100,
                        "first_request_cache_read_input_tokens": 0,
                    }),
                );
            }
        }
        Ending::Failed { kind: Some(kind), .. } => more = with(more, json!({"api_error_type": kind})),
        Ending::Failed { kind: None, .. } | Ending::AbortedStreaming | Ending::AbortedTools => {}
    }
    more
}

fn model_usage(facts: &Facts, turns: u64) -> Value {
    let usage = json!({
        "inputTokens": 100 * turns, "outputTokens": turns, "cacheReadInputTokens": 0, "cacheCreationInputTokens": 0,
        "webSearchRequests": 0, "costUSD": turns, "contextWindow": 1_000_000, "maxOutputTokens": 64_000,
    });
    match facts.kind {
        Kind::Older => usage,
        Kind::Newer => with(
            usage,
            json!({
                "thinkingTokens": 0, "cacheCreationEphemeral5mInputTokens": 0, "cacheCreationEphemeral1hInputTokens": 0,
                "canonicalModel": facts.model, "provider": "firstParty", "costBasis": "list",
            }),
        ),
    }
}

fn subagent_stats() -> Value {
    json!({
        "spawned": 0, "requested": {"background": 0, "foreground": 0, "unset": 0}, "started_in_background": 0,
        "max_depth": 0, "spawned_by_subagents": 0, "completed": 0, "failed": 0,
        "killed": {"parent": 0, "user": 0, "system": 0},
        "refused": {"depth_limit": 0, "concurrency_limit": 0, "budget": 0}, "by_type": {},
    })
}

/// The only line of a process that could not resume.
pub(crate) fn no_such_session(kind: Kind, session: &str, uuid: &str, text: &str) -> Value {
    let mut usage = shapes::usage(kind);
    for tokens in ["input_tokens", "output_tokens"] {
        usage[tokens] = 0.into();
    }
    let line = json!({
        "type": "result", "subtype": "error_during_execution", "duration_ms": 0, "duration_api_ms": 0,
        "is_error": true, "num_turns": 0, "stop_reason": null, "session_id": session, "total_cost_usd": 0,
        "usage": usage, "modelUsage": {}, "permission_denials": [], "uuid": uuid, "errors": [text],
    });
    match kind {
        Kind::Older => line,
        Kind::Newer => with(line, json!({"result_index": 0})),
    }
}
