//! A session, as a test makes and asks it.

use serde_json::{Map, Value, json};

use super::{Answer, Api, Failure, Fallible, Home, Stream, ensure, wait_until};

/// What a session is made with.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    body: Map<String, Value>,
    env: Map<String, Value>,
}

impl Spec {
    /// A session that stays open.
    pub(crate) fn kept() -> Self {
        Self { body: Map::new(), env: Map::new() }.with("keep", true)
    }

    /// A session that ends as its turn does.
    pub(crate) fn one_shot() -> Self {
        Self { body: Map::new(), env: Map::new() }
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body.insert(field.to_owned(), value.into());
        self
    }

    pub(crate) fn prompt(self, text: &str) -> Self {
        self.with("prompt", text).with("class", "normal")
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// The body of the request, in this home.
    pub(crate) fn body(&self, home: &Home) -> Value {
        let mut env = self.env.clone();
        let path = format!("{}:/usr/bin:/bin", home.bin().display());
        env.entry("PATH").or_insert_with(|| path.into());
        env.entry("HOME").or_insert_with(|| home.agent_home().display().to_string().into());
        let mut body = self.body.clone();
        body.entry("agent").or_insert_with(|| "claude".into());
        body.entry("dir").or_insert_with(|| home.workspace().display().to_string().into());
        body.insert("env".to_owned(), env.into());
        body.into()
    }
}

/// A session of a home's daemon.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    home: &'a Home,
    pub(crate) id: String,
}

impl<'a> Session<'a> {
    pub(crate) fn create(home: &'a Home, spec: &Spec) -> Fallible<Self> {
        let made = home.api().post("/v1/sessions", &spec.body(home))?;
        let id = made["session"]["id"].as_str().ok_or_else(|| Failure::new(format!("no id in {made}")))?;
        Ok(Self { home, id: id.to_owned() })
    }

    fn api(&self) -> Api {
        self.home.api()
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/sessions/{}{rest}", self.id)
    }

    /// Everything that ever happened to it, and then what happens.
    pub(crate) fn watch(&self) -> Fallible<Stream> {
        Stream::open(&self.api(), &self.path("/events?after=start"))
    }

    /// It as it is.
    pub(crate) fn row(&self) -> Fallible<Value> {
        self.api().get(&self.path(""))
    }

    /// It as it is once it is known after a start of the daemon.
    pub(crate) fn known(&self) -> Fallible<Value> {
        wait_until("a session of which is known how it stands", || {
            self.row().is_ok_and(|row| row["status"] != "unknown")
        })?;
        self.row()
    }

    /// The process of its agent, which it must have.
    pub(crate) fn pid(&self) -> Fallible<u32> {
        let row = self.row()?;
        let pid = row["pid"].as_u64().ok_or_else(|| Failure::new(format!("no process: {row}")))?;
        Ok(u32::try_from(pid)?)
    }

    /// Waits for a condition of the API.
    pub(crate) fn wait(&self, condition: &str) -> Fallible<Value> {
        self.api().get(&self.path(&format!("?wait={condition}&timeout=60000")))
    }

    pub(crate) fn list(&self, what: &str) -> Fallible<Vec<Value>> {
        let mut body = self.api().get(&self.path(&format!("/{what}")))?;
        let Value::Array(items) = body["items"].take() else {
            return Err(Failure::new(format!("no list but {body}")));
        };
        Ok(items)
    }

    pub(crate) fn prompt(&self, text: &str) -> Fallible<Value> {
        self.post_prompt(&json!({"text": text, "class": "normal"}))
    }

    /// Sends a prompt with this body, and returns its receipt.
    pub(crate) fn post_prompt(&self, body: &Value) -> Fallible<Value> {
        self.api().post(&self.path("/prompts"), body)
    }

    /// Sends an urgent prompt that cuts a turn of a lower class short.
    pub(crate) fn preempt(&self, text: &str) -> Fallible<Value> {
        self.post_prompt(&json!({"text": text, "class": "urgent", "preempt": true}))
    }

    /// Sends a prompt and waits for the end of its turn, which it returns.
    pub(crate) fn ask(&self, text: &str) -> Fallible<Value> {
        let mut watch = self.watch()?;
        let receipt = self.prompt(text)?;
        let no = number_of(&receipt["prompt"])?;
        let ended = |frame: &super::Frame| frame.is("turn.ended") && frame.event()["prompt"] == no;
        Ok(watch.until("end of the turn", ended)?.event().clone())
    }

    /// Has its agent run a command of the shell within a turn; tells the exit code and what was written.
    pub(crate) fn runs(&self, command: &str) -> Fallible<String> {
        self.ask(&format!("SHELL {command}"))?;
        let said = self.messages()?.pop().unwrap_or_default();
        Ok(said.strip_prefix("running ").unwrap_or_default().to_owned())
    }

    /// `interrupt`, `stop`, `kill` or `resume`.
    pub(crate) fn act(&self, what: &str) -> Fallible<Value> {
        self.try_act(what)?.good()
    }

    pub(crate) fn try_act(&self, what: &str) -> Fallible<Answer> {
        if what == "interrupt" {
            self.api().json("POST", &self.path("/interrupt"), &json!({}))
        } else {
            self.api().send("POST", &self.path(&format!("/{what}")), &[], None)
        }
    }

    pub(crate) fn decide(&self, gate: &str, decision: &Value) -> Fallible<Answer> {
        self.api().json("POST", &format!("/v1/gates/{gate}/decision"), decision)
    }

    /// Allows what its only open gate asks for.
    pub(crate) fn allow(&self) -> Fallible<Value> {
        let gates = self.gates("open")?;
        ensure!(gates.len() == 1, "not one open gate but {gates:?}");
        let id = gates[0]["id"].as_str().unwrap_or_default().to_owned();
        self.decide(&id, &json!({"decision": "allow"}))?.good()
    }

    pub(crate) fn gates(&self, state: &str) -> Fallible<Vec<Value>> {
        let mut body = self.api().get(&format!("/v1/gates?state={state}&session={}", self.id))?;
        Ok(body["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The bytes of its journal.
    pub(crate) fn journal(&self, stream: &str, attempt: u32) -> Fallible<Vec<u8>> {
        let path = self.path(&format!("/journal?stream={stream}&attempt={attempt}"));
        let answer = self.api().send("GET", &path, &[], None)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        Ok(answer.body)
    }

    /// The lines of its journal that are JSON.
    pub(crate) fn lines(&self, stream: &str, attempt: u32) -> Fallible<Vec<Value>> {
        let bytes = self.journal(stream, attempt)?;
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// The prompts that were written to the agent.
    pub(crate) fn prompts_written(&self, attempt: u32) -> Fallible<Vec<String>> {
        let lines = self.lines("stdin", attempt)?;
        let text = |line: &Value| {
            let content = &line["message"]["content"];
            content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or_default().to_owned()
        };
        Ok(lines.iter().filter(|line| line["type"] == "user").map(text).collect())
    }

    /// The texts of its messages, in order.
    pub(crate) fn messages(&self) -> Fallible<Vec<String>> {
        let items = self.list("items")?;
        let texts = items.iter().filter(|item| item["kind"] == "message");
        Ok(texts.map(|item| item["text"].as_str().unwrap_or_default().to_owned()).collect())
    }
}

/// The number in `SESSION.p7`.
pub(crate) fn number_of(name: &Value) -> Fallible<u64> {
    let text = name.as_str().and_then(|text| text.rsplit_once('.')).map(|(_, last)| &last[1..]);
    Ok(text.ok_or_else(|| Failure::new(format!("no name but {name}")))?.parse()?)
}
