//! The JSON of the lines, member by member as recorded; `tests/fake_claude` compares them.

use crate::flags::Kind;
use serde_json::{Map, Value, json};

/// What the lines of one process have in common.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    pub(crate) session: String,
    pub(crate) cwd: String,
    pub(crate) model: String,
    pub(crate) mode: String,
    pub(crate) key_source: &'static str,
    pub(crate) asks: bool,
}

/// Adds the members of `more` to an object.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// The members that name the prompts which a line answers; none in a turn that nobody asked for.
pub(crate) fn answering(uuids: &[String]) -> Value {
    uuids.last().map_or_else(
        || Value::Object(Map::new()),
        |last| json!({"user_message_uuid": last, "user_message_uuids": uuids}),
    )
}

pub(crate) fn usage(kind: Kind) -> Value {
    let usage = json!({
        "input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1,
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}, "service_tier": "standard",
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "inference_geo": "", "iterations": [], "speed": "standard",
    });
    match kind {
        Kind::Older => usage,
        Kind::Newer => {
            with(usage, json!({"output_tokens_details": {"thinking_tokens": 0}, "fallback_credit": null}))
        }
    }
}

fn synthetic_usage(kind: Kind) -> Value {
    let usage = json!({
        "input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0}, "service_tier": null,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "inference_geo": null, "iterations": null, "speed": null,
    });
    match kind {
        Kind::Older => usage,
        Kind::Newer => with(usage, json!({"output_tokens_details": null, "fallback_credit": null})),
    }
}

pub(crate) fn message_usage() -> Value {
    json!({
        "input_tokens": 100, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "service_tier": "standard",
    })
}

/// The message of an `assistant` line with one block.
pub(crate) fn message(facts: &Facts, id: &str, block: &Value) -> Value {
    json!({
        "id": id, "type": "message", "role": "assistant", "model": facts.model, "content": [block],
        "stop_reason": null, "stop_sequence": null, "usage": message_usage(), "context_management": null,
    })
}

/// The message of an `assistant` line that no model said.
pub(crate) fn synthetic_message(facts: &Facts, id: &str, text: &str) -> Value {
    let message = json!({
        "id": id, "container": null, "model": "<synthetic>", "role": "assistant", "stop_details": null,
        "stop_reason": "stop_sequence", "stop_sequence": "", "type": "message",
        "usage": synthetic_usage(facts.kind), "content": [{"type": "text", "text": text}], "context_management": null,
    });
    match facts.kind {
        Kind::Older => message,
        Kind::Newer => with(message, json!({"diagnostics": null})),
    }
}

/// `system/init`.
pub(crate) fn init(facts: &Facts, uuid: &str, uuids: &[String]) -> Value {
    let Facts { session, cwd, model, mode, version, key_source, .. } = facts;
    let memory = format!("{cwd}/.claude/projects/memory/");
    let init = json!({
        "type": "system", "subtype": "init", "cwd": cwd, "session_id": session, "tools": tools(facts),
        "mcp_servers": [], "model": model, "permissionMode": mode,
        "slash_commands": ["clear", "compact", "context", "init"], "apiKeySource": key_source,
        "claude_code_version": version, "output_style": "default",
        "agents": ["claude", "Explore", "general-purpose", "Plan", "statusline-setup"],
        "skills": ["verify", "debug"], "plugins": [], "analytics_disabled": true, "product_feedback_disabled": true,
        "uuid": uuid, "memory_paths": {"auto": memory}, "fast_mode_state": "off",
    });
    if facts.kind == Kind::Older {
        return init;
    }
    let newer = json!({
        "terminal_slash_commands": ["doctor", "color"], "capabilities": CAPABILITIES, "served_by_anthropic": false,
        "plugins": [{"name": "cc-plugin-privacy", "path": "builtin", "source": "cc-plugin-privacy@builtin"}],
        "original_cwd": cwd, "additional_directories": [],
        "messaging_socket_path": format!("/nowhere/{}.sock", std::process::id()),
        "fast_mode_disabled_reason": "sdk_opt_in_required", "per_turn_effort_active": true,
        "ultrathink_available": false, "ultrathink_typed_raises": false, "view_mode": "default",
    });
    let init = with(init, newer);
    if uuids.is_empty() { init } else { with(init, json!({"user_message_uuids": uuids})) }
}

const CAPABILITIES: [&str; 21] = [
    "interrupt_receipt_v1",
    "interrupt_cancel_queued_v1",
    "interrupt_send_now_v1",
    "interrupt_requeue_taken_v1",
    "msg_lifecycle_v1",
    "request_marker_lists_v1",
    "ask_user_question_unanswered_v1",
    "lifecycle_wakeup_source_v1",
    "sdk_mcp_tools_list_changed",
    "sdk_mcp_manifests",
    "mcp_read_resource_v1",
    "mcp_tool_ui_meta_v1",
    "ui_surface_v1",
    "mcp_call_result_not_for_model_v1",
    "mcp_call_check_permissions_v1",
    "voice_call_talk_line_v1",
    "withdrawn_files_note_v2",
    "ui_pane_widget_v1",
    "reload_plugins_refuse_if_busy_v1",
    "get_usage_detached_v1",
    "silent_resend_files_v1",
];

fn tools(facts: &Facts) -> Vec<&'static str> {
    let mut tools =
        vec!["Task", "Bash", "Edit", "NotebookEdit", "Read", "Skill", "WebFetch", "WebSearch", "Write"];
    if facts.asks {
        tools.push("AskUserQuestion");
    }
    tools
}

/// The payload of the answer to `initialize`.
pub(crate) fn initialized(facts: &Facts, state: &str) -> Value {
    let model = json!({
        "value": "default", "resolvedModel": facts.model, "displayName": "Default (recommended)",
        "description": "Use the default model", "supportsEffort": true,
        "supportedEffortLevels": ["low", "medium", "high", "xhigh", "max"], "supportsAdaptiveThinking": true,
        "supportsFastMode": true, "supportsAutoMode": true,
    });
    let command = json!({"name": "verify", "description": "Verifies a change", "argumentHint": ""});
    let answer = json!({
        "commands": [command],
        "agents": [{"name": "claude", "description": "Catch-all"}],
        "output_style": "default", "available_output_styles": ["default", "Explanatory"],
        "models": [model],
        "account": {"tokenSource": "none", "apiKeySource": facts.key_source, "apiProvider": "firstParty"},
        "pid": std::process::id(),
    });
    if facts.kind == Kind::Older {
        return answer;
    }
    with(
        answer,
        json!({
            "commands": [with(command, json!({"builtin": true}))],
            "models": [with(model, json!({"supportsThinkingOff": false}))],
            "user_output_styles_dir": format!("{}/.claude/output-styles", facts.cwd),
            "claude_code_version": facts.version, "current_permission_mode": facts.mode,
            "hook_on_failure_supported": true, "hooks_when_unanswered_kept": 0, "other_hook_ask_outranks_host": true,
            "feedback_mode": {"kind": "disabled"}, "analytics_disabled": true, "remote_control_auto_enable": false,
            "remote_control_auto_connect_default": false, "remote_control_available": false,
            "remote_control_auto_on_by_default": false, "ide_rc_auto_enable_gate": false, "fast_mode_state": "off",
            "fast_mode_disabled_reason": "sdk_opt_in_required", "session_state": state,
            "capabilities": [
                "ui_surface_v1", "mcp_call_result_not_for_model_v1", "mcp_call_check_permissions_v1",
                "voice_call_talk_line_v1", "ui_pane_widget_v1", "reload_plugins_refuse_if_busy_v1",
                "get_usage_detached_v1",
            ],
        }),
    )
}
