//! What Claude Code's tools are about to do, out of their inputs.
//!
//! The members are those of the schemas that both versions announce to the model, as recorded; see
//! `docs/agents/claude.md`. A tool that is not here may do anything.

use lockkeeper_core::json::Json;
use lockkeeper_core::policy::{PathUse, ToolKind, ToolUse};
use serde_json::Value;

/// What a tool is about to do.
pub(crate) fn tool_use(tool: &str, input: &Json) -> ToolUse {
    let members = input.value();
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let file = |name: &str, kind: ToolKind| match text(name) {
        Some(path) => ToolUse { paths: vec![named(path)], ..ToolUse::of(tool, kind) },
        None => ToolUse { untold: true, ..ToolUse::of(tool, kind) },
    };
    match tool {
        "Read" => file("file_path", ToolKind::Read),
        "Write" | "Edit" | "MultiEdit" => file("file_path", ToolKind::Edit),
        "NotebookEdit" => file("notebook_path", ToolKind::Edit),
        // They look into the workspace unless they are told where.
        "Glob" | "Grep" | "LS" => {
            let path = named(text("path").unwrap_or("."));
            ToolUse { paths: vec![path], ..ToolUse::of(tool, ToolKind::Read) }
        }
        "Bash" | "Monitor" => match text("command") {
            Some(command) => {
                ToolUse { command: Some(command.into()), ..ToolUse::of(tool, ToolKind::Execute) }
            }
            None => ToolUse { untold: true, ..ToolUse::of(tool, ToolKind::Execute) },
        },
        "WebFetch" => match text("url") {
            Some(url) => ToolUse { urls: vec![url.to_owned()], ..ToolUse::of(tool, ToolKind::Fetch) },
            None => ToolUse { untold: true, ..ToolUse::of(tool, ToolKind::Fetch) },
        },
        "WebSearch" => ToolUse::of(tool, ToolKind::Fetch),
        // They plan, ask, or hand work on to an agent whose tools are asked about themselves.
        "Agent" | "AskUserQuestion" | "BashOutput" | "EnterPlanMode" | "ExitPlanMode" | "KillShell"
        | "ListAgents" | "Task" | "TaskCreate" | "TaskGet" | "TaskList" | "TaskOutput" | "TaskStop"
        | "TaskUpdate" | "TodoWrite" | "ToolSearch" => ToolUse::of(tool, ToolKind::Think),
        _ => ToolUse::of(tool, ToolKind::Other),
    }
}

fn named(path: &str) -> PathUse {
    PathUse { given: path.to_owned(), real: None }
}

/// The input of a tool that takes a text.
pub(crate) fn input_of(tool: &str, text: &str) -> Option<Json> {
    let member = match tool {
        "Read" | "Write" | "Edit" | "MultiEdit" => "file_path",
        "NotebookEdit" => "notebook_path",
        "Glob" | "Grep" | "LS" => "path",
        "Bash" | "Monitor" => "command",
        "WebFetch" => "url",
        _ => return None,
    };
    Json::of(&serde_json::json!({ member: text }))
}
