//! The real Claude Code, both pinned versions, offline against the fake model: what the scripted ones imitate.

use lockkeeper_testbed::driver::{CLAUDE_FLAGS, claude_environment};
use lockkeeper_testbed::{Config, Driver, FakeModel, real_claude};
use serde_json::{Value, json};
use std::error::Error;
use std::process::Command;
use tempfile::TempDir;

type Outcome = Result<(), Box<dyn Error>>;

/// A fresh home and workspace, a fake model and the agent.
struct Bench {
    home: TempDir,
    model: FakeModel,
    agent: Driver,
}

impl Bench {
    fn start(version: &str) -> Result<Self, Box<dyn Error>> {
        let binary = real_claude(version)?;
        let home = tempfile::tempdir()?;
        let model = FakeModel::start(Config::default())?;
        let agent = Driver::spawn(
            Command::new(binary)
                .args(CLAUDE_FLAGS)
                .current_dir(home.path())
                .env_clear()
                .envs(claude_environment(home.path(), &model.base_url())),
        )?;
        Ok(Self { home, model, agent })
    }

    fn prompt(&mut self, text: &str) -> Outcome {
        Ok(self.agent.send(&json!({"type": "user", "message": {"role": "user", "content": text}}))?)
    }

    fn finish(&mut self) -> Result<Option<i32>, Box<dyn Error>> {
        self.agent.close_stdin();
        Ok(self.agent.wait()?.0.code())
    }
}

fn is_text_delta(line: &Value) -> bool {
    line["event"]["delta"]["type"] == "text_delta"
}

fn a_text_turn_completes(version: &str) -> Outcome {
    let mut bench = Bench::start(version)?;
    bench.prompt("SAY hello world")?;
    let init = bench.agent.until(|line| line["subtype"] == "init")?;
    assert_eq!(init["claude_code_version"], version);
    let result = bench.agent.until_type("result")?;
    assert_eq!(result["result"], "hello world");
    assert_eq!(result["is_error"], false);
    let asked = bench.model.wait_for_blocking(|asked| asked.iter().any(|one| one.script.is_some()))?;
    assert!(!asked.iter().any(lockkeeper_testbed::model::Request::client_gone));
    assert_eq!(bench.finish()?, Some(0));
    Ok(())
}

fn an_allowed_tool_runs_and_the_script_goes_on(version: &str) -> Outcome {
    let mut bench = Bench::start(version)?;
    let input = json!({"command": "touch made-by-the-tool", "description": "d"});
    bench.prompt(&format!("TOOL Bash {input} ;; SAY after the tool"))?;
    let gate = bench.agent.until_type("control_request")?;
    assert_eq!(gate["request"]["subtype"], "can_use_tool");
    assert_eq!(gate["request"]["input"], input);
    bench.agent.send(&json!({"type": "control_response", "response": {
        "subtype": "success", "request_id": gate["request_id"],
        "response": {"behavior": "allow", "updatedInput": input},
    }}))?;
    let result = bench.agent.until_type("result")?;
    assert_eq!(result["result"], "after the tool");
    assert!(bench.home.path().join("made-by-the-tool").exists());
    assert_eq!(bench.finish()?, Some(0));
    Ok(())
}

fn an_interrupt_ends_the_turn_and_drops_the_model_call(version: &str) -> Outcome {
    let mut bench = Bench::start(version)?;
    bench.prompt("WAIT for the test")?;
    bench.agent.until(is_text_delta)?;
    let interrupt = json!({"subtype": "interrupt"});
    bench.agent.send(&json!({"type": "control_request", "request_id": "i1", "request": interrupt}))?;
    let answer = bench.agent.until_type("control_response")?;
    assert_eq!(answer["response"]["subtype"], "success");
    assert_eq!(answer["response"]["request_id"], "i1");
    let result = bench.agent.until_type("result")?;
    assert_eq!(result["terminal_reason"], "aborted_streaming");
    bench
        .model
        .wait_for_blocking(|asked| asked.iter().any(lockkeeper_testbed::model::Request::client_gone))?;
    bench.prompt("SAY still here")?;
    assert_eq!(bench.agent.until_type("result")?["result"], "still here");
    assert_eq!(bench.finish()?, Some(0));
    Ok(())
}

fn a_released_turn_completes(version: &str) -> Outcome {
    let mut bench = Bench::start(version)?;
    bench.prompt("WAIT for the test")?;
    bench.agent.until(is_text_delta)?;
    bench.model.release("for the test");
    assert_eq!(bench.agent.until_type("result")?["result"], "waiting released");
    assert_eq!(bench.finish()?, Some(0));
    Ok(())
}

fn an_api_error_is_a_result_that_is_an_error(version: &str) -> Outcome {
    let mut bench = Bench::start(version)?;
    bench.prompt("ERROR 400 bad thing")?;
    let result = bench.agent.until_type("result")?;
    assert_eq!(result["subtype"], "success");
    assert_eq!(result["is_error"], true);
    assert_eq!(result["api_error_status"], 400);
    assert_eq!(result["result"], "API Error: 400 bad thing");
    assert_eq!(bench.finish()?, Some(1));
    Ok(())
}

/// Each case once per version.
macro_rules! for_both_versions {
    ($($case:ident),* $(,)?) => {
        mod v2_1_197 {
            $(#[test] fn $case() -> super::Outcome { super::$case("2.1.197") })*
        }
        mod v2_1_329 {
            $(#[test] fn $case() -> super::Outcome { super::$case("2.1.329") })*
        }
    };
}

for_both_versions!(
    a_text_turn_completes,
    an_allowed_tool_runs_and_the_script_goes_on,
    an_interrupt_ends_the_turn_and_drops_the_model_call,
    a_released_turn_completes,
    an_api_error_is_a_result_that_is_an_error,
);
