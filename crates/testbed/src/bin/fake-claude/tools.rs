//! Tool calls: the lines that they leave, and the little that they do.

use crate::LOOK_EVERY;
use crate::agent::{Agent, Stop};
use crate::directive::Due;
use crate::flags::Kind;
use crate::gate::{By, Verdict};
use crate::hook::{Announced, Hook};
use crate::result::Ending;
use crate::shapes;
use crate::turn::Call;
use crate::wire::timestamp;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;

const REJECTED: &str = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was \
                        a file edit, the new_string was NOT written to the file). STOP what you are doing and wait \
                        for the user to tell you how to proceed.";

/// What became of a tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Ran(By),
    Denied(By),
    /// Refused because nobody can say anything any more.
    Cancelled,
    /// Cut by an interrupt.
    Rejected,
}

impl Agent {
    /// Opens a message with a tool call and returns the call's id; the message stays open.
    pub(crate) fn call_tool(&mut self, name: &str, input: &Value) -> Result<String, Stop> {
        self.begin_message()?;
        self.begin_text()?;
        self.delta("calling ")?;
        self.end_text()?;
        self.add_call(name, input)
    }

    pub(crate) fn add_call(&mut self, name: &str, input: &Value) -> Result<String, Stop> {
        let id = self.wire.id("toolu");
        self.begin_block(&json!({"type": "tool_use", "id": id, "name": name, "input": {}}))?;
        let index = self.turn.as_ref().map_or(0, |turn| turn.block);
        let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
        self.event(&json!({"type": "content_block_delta", "index": index, "delta": delta}), json!({}))?;
        self.block_line(&json!({"type": "tool_use", "id": id, "name": name, "input": input}))?;
        self.end_block()?;
        Ok(id)
    }

    /// Calls a tool in one message so many times.
    pub(crate) fn call_many(&mut self, calls: u32, name: &str, input: &Value) -> Result<Vec<Call>, Stop> {
        let mut ids = vec![self.call_tool(name, input)?];
        for _ in 1..calls {
            ids.push(self.add_call(name, input)?);
        }
        self.message_delta("tool_use")?;
        let call = |id| Call { id, name: name.to_owned(), input: input.clone(), asked: false };
        Ok(ids.into_iter().map(call).collect())
    }

    /// Calls a tool once or several times, asking each time if it has to.
    pub(crate) fn tools(
        &mut self,
        calls: u32,
        asks: bool,
        name: &str,
        input: &Value,
    ) -> Result<Option<Ending>, Stop> {
        let calls = self.call_many(calls, name, input)?;
        let asks = asks && self.has_to_ask(name);
        let mut stopped = false;
        let mut late: Option<(Call, Verdict)> = None;
        for mut call in calls {
            let opened = self.open_call(&call, asks)?;
            if !stopped {
                stopped = true;
                self.message_stop()?;
            }
            // With parallel calls the first result comes after the second request.
            if let Some((call, verdict)) = late.take() {
                self.finish_call(&call, verdict)?;
            }
            let verdict = self.verdict_on(&mut call, &opened, asks)?;
            if matches!(verdict, Verdict::Abort) {
                return Ok(Some(self.abort_calls(&[call])?));
            }
            late = Some((call, verdict));
        }
        if let Some((call, verdict)) = late {
            self.finish_call(&call, verdict)?;
        }
        Ok(None)
    }

    /// Sends the first request about a call, if there is one.
    pub(crate) fn open_call(&mut self, call: &Call, asks: bool) -> io::Result<Opened> {
        self.note_call(call);
        if let Some(hook) = self.hook.clone() {
            self.announce_call(&hook, call)?;
            return Ok(Opened::Hook(hook));
        }
        if asks && self.may_ask() {
            self.ask(call, None)?;
        }
        Ok(Opened::Question)
    }

    /// Notes that a call is not over.
    fn note_call(&mut self, call: &Call) {
        if let Some(turn) = &mut self.turn {
            turn.calls.push(call.clone());
        }
    }

    /// Notes that it is.
    fn forget_call(&mut self, call: &Call) {
        if let Some(turn) = &mut self.turn {
            turn.calls.retain(|open| open.id != call.id);
        }
    }

    /// Whether the mode leaves calls of this tool to be asked about.
    pub(crate) fn has_to_ask(&self, name: &str) -> bool {
        self.facts.mode != "bypassPermissions" || name == "AskUserQuestion"
    }

    fn may_ask(&self) -> bool {
        self.flags.asks && self.facts.mode != "dontAsk"
    }

    /// Waits for everything that has to be said about a call.
    fn verdict_on(&mut self, call: &mut Call, opened: &Opened, asks: bool) -> Result<Verdict, Stop> {
        match self.verdict_unasked(call, opened, asks)? {
            Some(verdict) => Ok(verdict),
            None => Ok(self.wait_for_answer()?.1),
        }
    }

    /// Waits for what a hook says about a call; none if somebody is asked.
    pub(crate) fn verdict_unasked(
        &mut self,
        call: &mut Call,
        opened: &Opened,
        asks: bool,
    ) -> Result<Option<Verdict>, Stop> {
        let announced = match opened {
            Opened::Hook(hook) => self.wait_for_hook(hook, call)?,
            Opened::Question => Announced::Passed,
        };
        match announced {
            Announced::Passed if !asks => return Ok(Some(Verdict::Run(call.input.clone(), By::Person))),
            Announced::Passed if !self.may_ask() => {
                call.asked = true;
                let text = format!("Permission to use {} has been denied.", call.name);
                return Ok(Some(Verdict::Refused(text, By::Person)));
            }
            Announced::Passed => {
                if let Opened::Hook(_) = opened {
                    self.ask(call, None)?;
                }
            }
            Announced::Asked(_) => self.ask(call, Some(&announced))?,
            // A question is asked whatever a hook allows.
            Announced::Decided(Verdict::Run(..)) if call.name == "AskUserQuestion" => self.ask(call, None)?,
            Announced::Decided(verdict) => {
                call.asked = matches!(verdict, Verdict::Refused(..));
                return Ok(Some(verdict));
            }
        }
        call.asked = true;
        Ok(None)
    }

    /// Announces a call that nobody is asked about, ends its message, and says whether it may run; if not, it is over.
    pub(crate) fn may_run(&mut self, name: &str, input: &Value, id: &str) -> Result<bool, Stop> {
        let mut call = Call { id: id.to_owned(), name: name.to_owned(), input: input.clone(), asked: false };
        let opened = self.open_call(&call, false)?;
        self.end_message("tool_use")?;
        let verdict = self.verdict_on(&mut call, &opened, false)?;
        self.forget_call(&call);
        let runs = matches!(verdict, Verdict::Run(..));
        if !runs {
            self.finish_call(&call, verdict)?;
        }
        Ok(runs)
    }

    /// Runs a shell command that takes its time.
    pub(crate) fn long_tool(&mut self, due: &Due) -> Result<(), Stop> {
        let input = json!({"command": "wait", "description": "d"});
        let id = self.call_tool("Bash", &input)?;
        if !self.may_run("Bash", &input, &id)? {
            return Ok(());
        }
        let call = Call { id, name: "Bash".to_owned(), input: input.clone(), asked: false };
        self.note_call(&call);
        while !due.is_over() {
            self.pause(LOOK_EVERY)?;
        }
        Ok(self.finish_call(&call, Verdict::Run(input, By::Person))?)
    }

    fn deny(&mut self, call: &Call) {
        if let (Some(turn), true) = (&mut self.turn, call.asked) {
            let Call { id, name, input, .. } = call;
            turn.denials.push(json!({"tool_name": name, "tool_use_id": id, "tool_input": input}));
        }
    }

    pub(crate) fn finish_call(&mut self, call: &Call, verdict: Verdict) -> io::Result<()> {
        self.forget_call(call);
        let Call { id, name, .. } = call;
        let refused =
            |text: &str| json!({"type": "tool_result", "content": text, "is_error": true, "tool_use_id": id});
        let (input, by) = match verdict {
            Verdict::Run(input, by) => (input, by),
            Verdict::Refused(text, by) => {
                self.deny(call);
                let result = format!("Error: {text}").into();
                return self.tool_result(&refused(&text), &result, Fate::Denied(by));
            }
            Verdict::Cancelled(text) => {
                return self.tool_result(&refused(&text), &text.as_str().into(), Fate::Cancelled);
            }
            Verdict::Abort => return Ok(()),
        };
        let (content, result) = run_tool(name, &input);
        let mut block = json!({"tool_use_id": id, "type": "tool_result", "content": content});
        if name == "Bash" {
            block["is_error"] = false.into();
        }
        self.tool_result(&block, &result, Fate::Ran(by))
    }

    /// Writes the `user` line with the result of a tool call.
    pub(crate) fn tool_result(&mut self, block: &Value, result: &Value, fate: Fate) -> io::Result<()> {
        let uuid = self.wire.uuid();
        let mut line = json!({
            "type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": null,
            "session_id": self.session.id, "uuid": uuid, "timestamp": timestamp(), "tool_use_result": result,
        });
        if self.facts.kind == Kind::Newer {
            let meta = match fate {
                Fate::Ran(by) => json!({"permission_decision": decision("accept", by)}),
                Fate::Denied(by) => json!({
                    "non_execution_kind": "permission-rule", "permission_decision": decision("reject", by),
                }),
                Fate::Cancelled => json!({"non_execution_kind": "cancelled"}),
                Fate::Rejected => json!({"non_execution_kind": "user-rejected"}),
            };
            line["tool_result_meta"] = json!([shapes::with(json!({"id": block["tool_use_id"]}), meta)]);
        }
        self.wire.line(&line)
    }

    /// Rejects calls, which ends their turn.
    pub(crate) fn abort_calls(&mut self, calls: &[Call]) -> io::Result<Ending> {
        for call in calls {
            self.deny(call);
            let block =
                json!({"type": "tool_result", "content": REJECTED, "is_error": true, "tool_use_id": call.id});
            self.tool_result(&block, &"User rejected tool use".into(), Fate::Rejected)?;
        }
        self.interrupted_line("[Request interrupted by user for tool use]")?;
        Ok(Ending::AbortedTools)
    }

    pub(crate) fn interrupted_line(&mut self, text: &str) -> io::Result<()> {
        let uuid = self.wire.uuid();
        self.wire.line(&json!({
            "type": "user", "message": {"role": "user", "content": [{"type": "text", "text": text}]},
            "parent_tool_use_id": null, "session_id": self.session.id, "uuid": uuid, "timestamp": timestamp(),
        }))
    }
}

/// What has been sent about a call.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Its announcement.
    Hook(Hook),
    /// The question about it, if there is one.
    Question,
}

/// Who decided, as the newer version tells it.
fn decision(word: &str, by: By) -> Value {
    match (by, word) {
        (By::Hook, word) => json!({"decision": word, "source": "hook", "reason_type": "hook"}),
        (By::Person, "accept") => json!({"decision": word, "source": "user_temporary"}),
        (By::Person, word) => json!({"decision": word, "source": "user_reject"}),
    }
}

/// Does what a tool does, which is next to nothing, and returns its text and its structured result.
fn run_tool(name: &str, input: &Value) -> (String, Value) {
    match name {
        "Write" => {
            let (path, content) = (
                input["file_path"].as_str().unwrap_or_default(),
                input["content"].as_str().unwrap_or_default(),
            );
            let written = fs::write(Path::new(path), content);
            let text = match written {
                Ok(()) => format!("File created successfully at: {path}"),
                Err(error) => format!("failed to write {path}: {error}"),
            };
            let result = json!({
                "type": "create", "filePath": path, "content": content, "structuredPatch": [],
                "originalFile": null, "userModified": false,
            });
            (text, result)
        }
        "AskUserQuestion" => {
            let answers: Vec<String> = input["answers"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(question, answer)| format!("{question:?}={answer}"))
                .collect();
            let text = format!(
                "Your questions have been answered: {}. You can now continue with these answers in mind.",
                answers.join(", ")
            );
            (text, input.clone())
        }
        _ => {
            let result = json!({
                "stdout": "", "stderr": "", "interrupted": false, "isImage": false, "noOutputExpected": true,
            });
            (format!("({name} completed with no output)"), result)
        }
    }
}
