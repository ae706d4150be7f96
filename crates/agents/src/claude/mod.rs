//! Claude Code in its headless `stream-json` mode, with the control protocol on the same pipes.
//!
//! Written against 2.1.197 and 2.1.329, which differ; each rule goes by what the agent announces first. The facts
//! behind the rules are in `docs/agents/claude.md`.

mod content;
mod control;
mod elicit;
mod encode;
pub(crate) mod launch;
mod lax;
mod line;
mod repair;
mod stream;
mod tasks;
mod tools;
mod turns;
pub(crate) mod uses;
mod verdict;
mod wire;

use lockkeeper_core::json::Json;
use lockkeeper_core::manner::{Handshake, Manner, Resumes, Rung, Scope, Unasked};
use lockkeeper_core::policy::ToolUse;
use lockkeeper_core::session::ExitHint;

use crate::{Adapter, Launch, LaunchRequest, Wire, WireSeed};

/// The adapter of Claude Code.
#[derive(Debug, Clone, Copy)]
pub struct Claude;

impl Adapter for Claude {
    fn name(&self) -> &'static str {
        "claude"
    }

    /// Never `SIGTERM`: 2.1.197 then leaves the processes of its tools behind. Silence is normal for 360 s before
    /// each try of the model's API, so the limit is far beyond that.
    fn manner(&self) -> Manner {
        Manner {
            handshake: Handshake::Initialize,
            interrupt: vec![Rung::Request, Rung::CloseStdin, Rung::Sigint(Scope::Leader), Rung::Kill],
            stop: vec![Rung::CloseStdin, Rung::Sigint(Scope::Leader), Rung::Kill],
            rung_ms: 5_000,
            settle_ms: 250,
            spawn_ms: 10_000,
            handshake_ms: 60_000,
            write_ms: 10_000,
            control_ms: 30_000,
            silence_ms: 20 * 60_000,
            drain_ms: 2_000,
            turn_ms: None,
            gate_ms: None,
            gate_warning_ms: 0,
            resumes: Resumes::ById,
        }
    }

    fn launch(&self, request: &LaunchRequest) -> Launch {
        launch::launch(request)
    }

    fn wire(&self, seed: WireSeed) -> Box<dyn Wire> {
        Box::new(wire::ClaudeWire::new(seed))
    }

    fn tool_use(&self, tool: &str, input: &Json) -> ToolUse {
        uses::tool_use(tool, input)
    }

    /// Its modes as both versions list them. Observed; see docs/agents/claude.md, Modes.
    fn unasked(&self, mode: &str) -> Option<Unasked> {
        match mode {
            "default" | "manual" | "plan" => Some(Unasked::Reads),
            "acceptEdits" => Some(Unasked::Edits),
            "auto" => Some(Unasked::Judged),
            "dontAsk" => Some(Unasked::Listed),
            "bypassPermissions" => Some(Unasked::Everything),
            _ => None,
        }
    }

    fn input_of(&self, tool: &str, text: &str) -> Option<Json> {
        uses::input_of(tool, text)
    }

    fn programs(&self) -> &'static [&'static str] {
        launch::PROGRAMS
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["--version"]
    }

    /// Reads `2.1.329 (Claude Code)`.
    fn parse_version(&self, stdout: &str) -> Option<String> {
        launch::first_version(stdout)
    }

    fn classify_exit(&self, stderr_tail: &[String]) -> Option<ExitHint> {
        launch::classify_exit(stderr_tail)
    }
}
