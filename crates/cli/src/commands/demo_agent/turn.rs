//! One turn, from a prompt to its result.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::input::{Inbox, Input, Prompt};
use super::wire::{self, Wire};
use super::workspace::{self, Draft};

/// What the agent does after a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It waits for the next one.
    Open,
    /// It leaves: its input has ended, or it got SIGINT.
    Leave,
    /// It cannot go on.
    Broken(String),
}

/// Why a turn ends before its end.
#[derive(Debug)]
enum Cut {
    /// Somebody interrupted it.
    Interrupt,
    /// SIGINT.
    Signal,
    /// A line that does not read.
    Broken(String),
    /// Nobody reads any more.
    Io(io::Error),
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A turn that runs.
pub(super) struct Turn<'a> {
    wire: &'a mut Wire,
    inbox: &'a mut Inbox,
    pause: Duration,
    /// Standard input has ended: the turn goes on to its end, and then the agent leaves.
    last: bool,
    /// The message whose text is being written, with the text so far.
    saying: Option<(String, String)>,
    rounds: u32,
    /// A tool call that waits for a decision.
    asking: Option<String>,
}

const NOBODY_ANSWERS: &str = "Tool permission stream closed before response received";
const BY_USER: &str = "[Request interrupted by user]";
const BY_USER_IN_TOOL: &str = "[Request interrupted by user for tool use]";

impl<'a> Turn<'a> {
    pub(super) fn new(wire: &'a mut Wire, inbox: &'a mut Inbox, pause: Duration) -> Self {
        Self { wire, inbox, pause, last: false, saying: None, rounds: 0, asking: None }
    }

    pub(super) fn run(mut self, prompt: &Prompt, resumed: bool) -> io::Result<Ended> {
        match self.play(prompt, resumed) {
            Ok(answer) => {
                self.wire.result(json!({
                    "subtype": "success", "is_error": false, "result": answer, "stop_reason": "end_turn",
                    "num_turns": self.rounds, "terminal_reason": "completed",
                }))?;
                Ok(if self.last { Ended::Leave } else { Ended::Open })
            }
            Err(Cut::Interrupt) => {
                self.cut_short()?;
                Ok(if self.last { Ended::Leave } else { Ended::Open })
            }
            Err(Cut::Signal) => {
                self.cut_short()?;
                Ok(Ended::Leave)
            }
            Err(Cut::Broken(what)) => Ok(Ended::Broken(what)),
            Err(Cut::Io(error)) => Err(error),
        }
    }

    fn play(&mut self, prompt: &Prompt, resumed: bool) -> Result<String, Cut> {
        self.wire.init()?;
        self.wire.line(json!({"type": "system", "subtype": "status", "status": "requesting"}))?;
        if let Some(uuid) = &prompt.uuid {
            self.wire
                .line(json!({"type": "user", "message": prompt.message, "uuid": uuid, "isReplay": true}))?;
        }
        let files = workspace::files(&self.wire.cwd)?;
        let memory = if resumed { "I am a scripted agent and remember nothing of earlier. " } else { "" };
        let listing = if files.is_empty() { "(empty)".to_owned() } else { files.join("\n") };
        self.say_and_call(
            &format!("{memory}I will look around, then write one small test for you."),
            "Glob",
            &json!({"pattern": "*"}),
            |turn, call| turn.look(call, &listing),
        )?;

        let draft = Draft::new(&self.wire.cwd, &prompt.text, &files);
        let seen = match files.len() {
            0 => "The workspace is empty".to_owned(),
            1 => format!("There is one file, {}", files[0]),
            count => format!("There are {count} files, {} among them", files[0]),
        };
        let input = json!({"file_path": draft.path, "content": draft.content});
        let mut written = Err(String::new());
        self.say_and_call(
            &format!(
                "{seen}.\n\nMy plan:\n1. write {}\n2. tell you how to run it\n\nNothing else is touched.",
                draft.name
            ),
            "Write",
            &input,
            |turn, call| {
                written = turn.write(call, &input, &draft.path)?;
                Ok(())
            },
        )?;
        let answer = match written {
            Ok(path) => format!("Done: {path} is there. Run it with `sh {path}`."),
            Err(why) => format!("Then I leave it: nothing was written. ({why})"),
        };
        self.say(&answer)?;
        Ok(answer)
    }

    /// Looks around, unless it may not.
    fn look(&mut self, call: &str, listing: &str) -> Result<(), Cut> {
        let (text, is_error) = match self.announce(call, "Glob", &json!({"pattern": "*"}))? {
            Announced::Pass | Announced::Allowed(_) => (listing.to_owned(), false),
            Announced::Denied(why) => (why, true),
        };
        Ok(self.wire.tool_result(call, &text, is_error)?)
    }

    /// Asks for permission and writes the file. Tells its path, or why it was not written.
    fn write(&mut self, call: &str, input: &Value, path: &str) -> Result<Result<String, String>, Cut> {
        let free = matches!(self.wire.mode.as_str(), "acceptEdits" | "bypassPermissions");
        let decided = match self.announce(call, "Write", input)? {
            Announced::Denied(why) => Err(why),
            Announced::Allowed(other) => Ok(other.unwrap_or_else(|| input.clone())),
            Announced::Pass if free => Ok(input.clone()),
            Announced::Pass => self.ask(call, input, path)?,
        };
        let written = decided.and_then(|input| workspace::write(&self.wire.cwd, &input));
        let (text, is_error) = match &written {
            Ok(path) => (format!("File created successfully at: {path}"), false),
            Err(why) => (why.clone(), true),
        };
        self.wire.tool_result(call, &text, is_error)?;
        Ok(written)
    }

    /// Announces a tool to whoever wants that, and waits for what they say.
    fn announce(&mut self, call: &str, tool: &str, input: &Value) -> Result<Announced, Cut> {
        let Some(id) = self.wire.announce(call, tool, input)? else { return Ok(Announced::Pass) };
        let response = match self.answer(&id)? {
            Ok(response) => response,
            Err(nobody) => return Ok(Announced::Denied(nobody)),
        };
        let output = response.as_ref().and_then(|response| response.get("hookSpecificOutput"));
        let text = |name: &str| output.and_then(|output| output.get(name)).and_then(Value::as_str);
        Ok(match text("permissionDecision") {
            Some("deny") => {
                Announced::Denied(text("permissionDecisionReason").unwrap_or("denied").to_owned())
            }
            Some("allow") => {
                Announced::Allowed(output.and_then(|output| output.get("updatedInput")).cloned())
            }
            Some(_) | None => Announced::Pass,
        })
    }

    /// Puts the step to whoever decides. Tells the input to use, or why not.
    fn ask(&mut self, call: &str, input: &Value, path: &str) -> Result<Result<Value, String>, Cut> {
        let id = self.wire.ask(call, "Write", input, path)?;
        Ok(self.answer(&id)?.and_then(read_decision))
    }

    /// Waits for the answer to a request, or says that nobody can answer any more.
    fn answer(&mut self, id: &str) -> Result<Result<Option<Value>, String>, Cut> {
        if self.last {
            return Ok(Err(NOBODY_ANSWERS.to_owned()));
        }
        self.asking = Some(id.to_owned());
        let answer = loop {
            match self.inbox.wait() {
                Input::Answer { id: of, response } if of == id => break Ok(response),
                Input::End => {
                    self.last = true;
                    break Err(NOBODY_ANSWERS.to_owned());
                }
                other @ (Input::Prompt(_)
                | Input::Control { .. }
                | Input::Answer { .. }
                | Input::Other
                | Input::Broken(_)
                | Input::Interrupted) => self.take(other)?,
            }
        };
        self.asking = None;
        Ok(answer)
    }

    /// Says something and calls a tool, as one message.
    fn say_and_call(
        &mut self,
        text: &str,
        tool: &str,
        input: &Value,
        run: impl FnOnce(&mut Self, &str) -> Result<(), Cut>,
    ) -> Result<(), Cut> {
        let message = self.begin_message()?;
        self.stream_text(&message, text)?;
        let call = self.wire.id("toolu");
        let block = json!({"type": "tool_use", "id": call, "name": tool, "input": input});
        self.wire.stream(&json!({
            "type": "content_block_start", "index": 1,
            "content_block": {"type": "tool_use", "id": call, "name": tool, "input": {}},
        }))?;
        self.wire.stream(&json!({
            "type": "content_block_delta", "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": input.to_string()},
        }))?;
        self.wire.assistant(&message, &block)?;
        self.wire.stream(&json!({"type": "content_block_stop", "index": 1}))?;
        self.end_message("tool_use")?;
        run(self, &call)
    }

    fn say(&mut self, text: &str) -> Result<(), Cut> {
        let message = self.begin_message()?;
        self.stream_text(&message, text)?;
        self.end_message("end_turn")
    }

    fn begin_message(&mut self) -> Result<String, Cut> {
        self.rounds += 1;
        let message = self.wire.id("msg");
        self.wire.stream(&json!({
            "type": "message_start",
            "message": {"id": message, "type": "message", "role": "assistant", "model": self.wire.model, "content": []},
        }))?;
        Ok(message)
    }

    fn end_message(&mut self, reason: &str) -> Result<(), Cut> {
        self.wire.stream(&json!({"type": "message_delta", "delta": {"stop_reason": reason}}))?;
        Ok(self.wire.stream(&json!({"type": "message_stop"}))?)
    }

    fn stream_text(&mut self, message: &str, text: &str) -> Result<(), Cut> {
        self.wire.stream(&json!({
            "type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""},
        }))?;
        self.saying = Some((message.to_owned(), String::new()));
        for word in text.split_inclusive(' ') {
            self.wire.stream(&json!({
                "type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word},
            }))?;
            if let Some((_, said)) = &mut self.saying {
                said.push_str(word);
            }
            self.breathe()?;
        }
        self.saying = None;
        self.wire.assistant(message, &json!({"type": "text", "text": text}))?;
        Ok(self.wire.stream(&json!({"type": "content_block_stop", "index": 0}))?)
    }

    /// Pauses, and takes in what came meanwhile.
    fn breathe(&mut self) -> Result<(), Cut> {
        if self.last {
            // Nothing comes any more.
            std::thread::sleep(self.pause);
            return Ok(());
        }
        while let Some(input) = self.inbox.next_within(self.pause) {
            if matches!(input, Input::End) {
                self.last = true;
                return Ok(());
            }
            self.take(input)?;
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> Result<(), Cut> {
        match input {
            Input::Control { id, request } => {
                let interrupts = request.get("subtype").and_then(Value::as_str) == Some("interrupt");
                if interrupts && let Some(asked) = self.asking.clone() {
                    wire::cancel(&asked)?;
                }
                self.wire.control(&id, &request)?;
                if interrupts { Err(Cut::Interrupt) } else { Ok(()) }
            }
            Input::Prompt(_) => {
                self.inbox.keep(input);
                Ok(())
            }
            Input::Interrupted => Err(Cut::Signal),
            Input::Broken(what) => Err(Cut::Broken(what)),
            Input::Answer { .. } | Input::Other | Input::End => Ok(()),
        }
    }

    /// What is said of a turn that was cut.
    fn cut_short(&mut self) -> io::Result<()> {
        if let Some((message, said)) = self.saying.take()
            && !said.is_empty()
        {
            self.wire.assistant(&message, &json!({"type": "text", "text": said}))?;
        }
        let in_tool = self.asking.is_some();
        let (text, reason) =
            if in_tool { (BY_USER_IN_TOOL, "aborted_tools") } else { (BY_USER, "aborted_streaming") };
        self.wire.line(json!({
            "type": "user", "message": {"role": "user", "content": [{"type": "text", "text": text}]},
            "parent_tool_use_id": null,
        }))?;
        self.wire.result(json!({
            "subtype": "error_during_execution", "is_error": true, "num_turns": self.rounds, "stop_reason": null,
            "terminal_reason": reason, "errors": ["the turn was interrupted"],
        }))
    }
}

/// What is said of a tool that was announced.
enum Announced {
    /// Nothing: it goes its own way.
    Pass,
    /// It may run, with this input if there is one.
    Allowed(Option<Value>),
    /// It must not.
    Denied(String),
}

fn read_decision(response: Option<Value>) -> Result<Value, String> {
    let Some(response) = response else { return Err("the permission request failed".to_owned()) };
    let text = |name: &str| response.get(name).and_then(Value::as_str);
    match (text("behavior"), response.get("updatedInput")) {
        (Some("allow"), Some(input)) => Ok(input.clone()),
        (Some("allow"), None) => Err("the permission came without updatedInput".to_owned()),
        (Some("deny"), _) => Err(text("message").unwrap_or("denied").to_owned()),
        (Some(_) | None, _) => Err("the answer to the permission request does not read".to_owned()),
    }
}
