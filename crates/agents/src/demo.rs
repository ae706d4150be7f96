//! The demonstration agent: our own binary as `demo-agent`, which speaks Claude Code's dialect without a model.

use lockkeeper_core::json::Json;
use lockkeeper_core::manner::{Manner, Unasked};
use lockkeeper_core::policy::ToolUse;
use lockkeeper_core::session::ExitHint;

use crate::claude::{self, Claude};
use crate::{Adapter, Launch, LaunchRequest, Program, Wire, WireSeed};

/// The adapter of the demonstration agent. Everything but the program is [`Claude`]'s.
#[derive(Debug, Clone, Copy)]
pub struct Demo;

impl Adapter for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn manner(&self) -> Manner {
        Claude.manner()
    }

    fn launch(&self, request: &LaunchRequest) -> Launch {
        let mut args = vec!["demo-agent".to_owned()];
        let conversation = claude::launch::session_args(request, &mut args);
        Launch {
            program: Program::OwnBinary,
            args,
            env_add: Vec::new(),
            env_remove: Vec::new(),
            conversation: Some(conversation),
        }
    }

    fn wire(&self, seed: WireSeed) -> Box<dyn Wire> {
        Claude.wire(seed)
    }

    fn tool_use(&self, tool: &str, input: &Json) -> ToolUse {
        Claude.tool_use(tool, input)
    }

    fn unasked(&self, mode: &str) -> Option<Unasked> {
        Claude.unasked(mode)
    }

    fn input_of(&self, tool: &str, text: &str) -> Option<Json> {
        Claude.input_of(tool, text)
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["--version"]
    }

    /// Reads `lk 0.1.0`.
    fn parse_version(&self, stdout: &str) -> Option<String> {
        claude::launch::first_version(stdout)
    }

    fn classify_exit(&self, stderr_tail: &[String]) -> Option<ExitHint> {
        Claude.classify_exit(stderr_tail)
    }
}
