//! The demonstration agent as a real process: what it is told on standard input, and what it says.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const SESSION: &str = "4fd576f6-fc75-4e7d-81a8-fc17ebb8fc90";

struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    fn start(dir: &Path, args: &[&str]) -> Result<Self> {
        Self::start_paced(dir, args, 0)
    }

    fn start_paced(dir: &Path, args: &[&str], pause_ms: u64) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lk"))
            .arg("demo-agent")
            .args(args)
            .current_dir(dir)
            .env("DEMO_AGENT_PAUSE_MS", pause_ms.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Self { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    fn tell(&mut self, line: &Value) -> Result {
        let stdin = self.stdin.as_mut().ok_or("standard input is closed")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    fn prompt(&mut self, text: &str, uuid: &str) -> Result {
        let message = json!({"role": "user", "content": text});
        self.tell(&json!({"type": "user", "message": message, "uuid": uuid, "priority": "later"}))
    }

    fn request(&mut self, id: &str, request: &Value) -> Result {
        self.tell(&json!({"type": "control_request", "request_id": id, "request": request}))
    }

    fn decide(&mut self, asked: &Value, decision: &Value) -> Result {
        let response = json!({"subtype": "success", "request_id": asked["request_id"], "response": decision});
        self.tell(&json!({"type": "control_response", "response": response}))
    }

    /// All lines up to the one of this kind.
    fn until(&mut self, kind: &str) -> Result<Vec<Value>> {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let value: Value = serde_json::from_str(&line?)?;
            let found = value["type"] == kind;
            seen.push(value);
            if found {
                return Ok(seen);
            }
        }
        Err(format!("no {kind} in {seen:?}").into())
    }

    /// The line of this kind.
    fn next(&mut self, kind: &str) -> Result<Value> {
        self.until(kind)?.pop().ok_or_else(|| "nothing".into())
    }

    /// Closes its standard input and waits for its end. Tells what it still said.
    fn end(mut self) -> Result<(ExitStatus, Vec<Value>)> {
        drop(self.stdin.take());
        let mut rest = Vec::new();
        for line in self.lines.by_ref() {
            rest.push(serde_json::from_str(&line?)?);
        }
        Ok((self.child.wait()?, rest))
    }
}

/// The text that streamed, message by message, must be what the finished messages say.
fn streamed_equals_finished(lines: &[Value]) {
    let streamed: String = lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str()).collect();
    let finished: String = lines
        .iter()
        .filter(|line| line["type"] == "assistant")
        .filter_map(|line| line["message"]["content"][0]["text"].as_str())
        .collect();
    assert!(!finished.is_empty());
    assert_eq!(streamed, finished);
}

#[test]
fn an_allowed_step_writes_one_new_file() -> Result {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("a.txt"), "mine")?;
    let mut agent = Agent::start(dir.path(), &[&format!("--session-id={SESSION}")])?;
    agent.request("i1", &json!({"subtype": "initialize"}))?;
    let ready = agent.next("control_response")?;
    assert_eq!(ready["response"]["request_id"], "i1");
    assert_eq!(ready["response"]["subtype"], "success");

    agent.prompt("add a test", "u1")?;
    let mut lines = agent.until("control_request")?;
    assert_eq!(lines[0]["subtype"], "init");
    assert_eq!(lines[0]["session_id"], SESSION);
    assert!(lines.iter().any(|line| line["isReplay"] == true && line["uuid"] == "u1"));
    let asked = lines.last().cloned().unwrap_or_default();
    assert_eq!(asked["request"]["tool_name"], "Write");
    let path = asked["request"]["input"]["file_path"].as_str().unwrap_or_default().to_owned();
    assert!(!Path::new(&path).exists(), "it asks before it writes");

    agent.decide(&asked, &json!({"behavior": "allow", "updatedInput": asked["request"]["input"]}))?;
    lines.extend(agent.until("result")?);
    streamed_equals_finished(&lines);
    let result = lines.last().cloned().unwrap_or_default();
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(false)));
    assert!(std::fs::read_to_string(&path)?.contains("#   add a test\n"));
    assert_eq!(std::fs::read_to_string(dir.path().join("a.txt"))?, "mine");
    let (status, rest) = agent.end()?;
    assert!(status.success() && rest.is_empty(), "{rest:?}");
    Ok(())
}

#[test]
fn a_denied_step_writes_nothing_and_the_turn_completes() -> Result {
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(dir.path(), &[])?;
    agent.prompt("add a test", "u1")?;
    let asked = agent.next("control_request")?;
    agent.decide(&asked, &json!({"behavior": "deny", "message": "not today"}))?;
    let lines = agent.until("result")?;
    let told = &lines[0]["message"]["content"][0];
    assert_eq!((&told["content"], &told["is_error"]), (&json!("not today"), &json!(true)));
    let result = lines.last().cloned().unwrap_or_default();
    assert!(result["result"].as_str().unwrap_or_default().contains("not today"));
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

#[test]
fn an_interrupt_takes_the_question_back_and_the_next_turn_works() -> Result {
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(dir.path(), &[])?;
    agent.prompt("one", "u1")?;
    let asked = agent.next("control_request")?;
    agent.request("c1", &json!({"subtype": "interrupt"}))?;
    let lines = agent.until("result")?;
    assert_eq!(lines[0], json!({"type": "control_cancel_request", "request_id": asked["request_id"]}));
    assert_eq!(lines[1]["response"]["request_id"], "c1");
    let result = lines.last().cloned().unwrap_or_default();
    assert_eq!(result["terminal_reason"], "aborted_tools");
    assert_eq!(result["is_error"], true);

    // A late answer to the old question decides nothing about the new one.
    agent.prompt("two", "u2")?;
    let again = agent.next("control_request")?;
    agent.decide(&asked, &json!({"behavior": "allow", "updatedInput": asked["request"]["input"]}))?;
    agent.decide(&again, &json!({"behavior": "deny", "message": "no"}))?;
    agent.next("result")?;
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

#[test]
fn an_interrupt_in_the_middle_of_a_sentence_keeps_what_was_said() -> Result {
    let dir = tempfile::tempdir()?;
    // So slow that it cannot come to its end before the interrupt.
    let mut agent = Agent::start_paced(dir.path(), &[], 60_000)?;
    agent.prompt("one", "u1")?;
    while agent.next("stream_event")?["event"]["delta"]["text"].is_null() {}
    agent.request("c1", &json!({"subtype": "interrupt"}))?;
    let lines = agent.until("result")?;
    let partial = lines.iter().find(|line| line["type"] == "assistant").ok_or("no partial message")?;
    assert_eq!(partial["message"]["content"][0]["text"], "I ");
    assert_eq!(lines.last().cloned().unwrap_or_default()["terminal_reason"], "aborted_streaming");
    let (status, _) = agent.end()?;
    assert!(status.success());
    Ok(())
}

#[test]
fn sigint_ends_the_turn_and_the_process_in_order() -> Result {
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(dir.path(), &[])?;
    agent.prompt("one", "u1")?;
    agent.next("control_request")?;
    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    assert_eq!(agent.next("result")?["terminal_reason"], "aborted_tools");
    assert!(agent.child.wait()?.success());
    Ok(())
}

#[test]
fn the_end_of_input_lets_the_turn_come_to_its_end() -> Result {
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(dir.path(), &[])?;
    agent.prompt("one", "u1")?;
    let (status, rest) = agent.end()?;
    assert!(status.success());
    assert_eq!(rest.last().map(|line| &line["type"]), Some(&json!("result")));
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0, "nobody allowed it");
    Ok(())
}

#[test]
fn settings_hold_for_the_next_turn() -> Result {
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(dir.path(), &["--model=small"])?;
    agent.request("c1", &json!({"subtype": "set_model", "model": "large"}))?;
    agent.request("c2", &json!({"subtype": "set_permission_mode", "mode": "acceptEdits"}))?;
    agent.request("c3", &json!({"subtype": "nonsense"}))?;
    assert_eq!(agent.next("control_response")?["response"]["subtype"], "success");
    assert_eq!(agent.next("control_response")?["response"]["response"]["mode"], "acceptEdits");
    assert_eq!(agent.next("control_response")?["response"]["subtype"], "error");
    agent.prompt("one", "u1")?;
    let lines = agent.until("result")?;
    assert_eq!((&lines[0]["model"], &lines[0]["permissionMode"]), (&json!("large"), &json!("acceptEdits")));
    assert!(lines.iter().all(|line| line["type"] != "control_request"), "this mode asks nothing");
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
    Ok(())
}

#[test]
fn a_prompt_that_was_sent_before_is_acknowledged_and_not_run_again() -> Result {
    let dir = tempfile::tempdir()?;
    let mut agent =
        Agent::start(dir.path(), &["--permission-mode=acceptEdits", &format!("--resume={SESSION}")])?;
    agent.prompt("one", "u1")?;
    let lines = agent.until("result")?;
    let said: String = lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str()).collect();
    assert!(said.contains("remember nothing"), "a resumed one says what it is");
    agent.prompt("one", "u1")?;
    let (_, rest) = agent.end()?;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["isReplay"], true);
    Ok(())
}

#[test]
fn a_line_that_does_not_read_is_fatal() -> Result {
    let dir = tempfile::tempdir()?;
    for bad in
        ["not json", r#"{"a":1}{"b":2}"#, r#"{"type":"user","message":{"role":"assistant","content":"x"}}"#]
    {
        let mut agent = Agent::start(dir.path(), &[])?;
        writeln!(agent.stdin.as_mut().ok_or("closed")?, "{bad}")?;
        let (status, rest) = agent.end()?;
        assert_eq!(status.code(), Some(1), "{bad}");
        assert!(rest.is_empty());
    }
    Ok(())
}
