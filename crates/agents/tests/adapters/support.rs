//! Recorded sessions of the real agent, as steps of a journal.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use lockkeeper_agents::framing::{Frame, LineFramer};
use lockkeeper_agents::{Decoded, Wire, WireSeed, registry};
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::id::{AttemptNo, SessionId};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One line of a journal.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Written by us.
    In(Vec<u8>),
    /// Read from the agent, with its `\n`.
    Out(Vec<u8>),
}

#[derive(Deserialize)]
struct Recorded {
    dir: String,
    msg: Box<RawValue>,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(rename = "type")]
    kind: String,
    request_id: Option<String>,
    request: Option<SentRequest>,
}

#[derive(Deserialize)]
struct SentRequest {
    subtype: String,
}

/// The names of all transcripts, without their ending.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/claude")
}

/// A transcript's steps. The recording's ids of requests become ours: `lk-init` for the first `initialize`, numbers
/// in the order of asking for the rest.
pub(crate) fn steps(name: &str) -> Vec<Step> {
    let text = fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in text.lines() {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        let raw = recorded.msg.get();
        let is_object = raw.starts_with('{');
        match recorded.dir.as_str() {
            "in" if is_object => {
                let sent: Sent = serde_json::from_str(raw).unwrap();
                if let ("control_request", Some(id), Some(request)) =
                    (sent.kind.as_str(), &sent.request_id, &sent.request)
                {
                    let first = !ids.values().any(|ours| ours == "lk-init");
                    let ours = if request.subtype == "initialize" && first {
                        "lk-init".to_owned()
                    } else {
                        format!("lk-c{}", ids.len() + 1)
                    };
                    ids.insert(id.clone(), ours);
                }
                steps.push(Step::In(format!("{}\n", renamed(raw, &ids)).into_bytes()));
            }
            // Raw bytes, for input that is not one JSON object on a line.
            "in" if raw != "\"<EOF>\"" => {
                let text: String = serde_json::from_str(raw).unwrap();
                steps.push(Step::In(text.into_bytes()));
            }
            "out" if is_object => steps.push(Step::Out(format!("{}\n", renamed(raw, &ids)).into_bytes())),
            _ => {}
        }
    }
    steps
}

fn renamed(raw: &str, ids: &BTreeMap<String, String>) -> String {
    ids.iter().fold(raw.to_owned(), |raw, (theirs, ours)| {
        raw.replace(&format!("\"request_id\": \"{theirs}\""), &format!("\"request_id\": \"{ours}\""))
    })
}

/// The messages of one kind that a transcript wrote, as they are in the file.
pub(crate) fn sent(name: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["dir"] == "in")
        .map(|line| line["msg"].clone())
        .collect()
}

/// A fresh attempt's seed.
pub(crate) fn seed() -> WireSeed {
    WireSeed::fresh(session(), AttemptNo(1))
}

/// The session of all tests.
pub(crate) fn session() -> SessionId {
    "0123456789ab".parse().unwrap()
}

/// A fresh wire of Claude Code.
pub(crate) fn wire(seed: WireSeed) -> Box<dyn Wire> {
    registry::find("claude").unwrap().wire(seed)
}

/// What a wire says to each step, and last to the end of output.
pub(crate) fn replay(wire: &mut dyn Wire, steps: &[Step]) -> Vec<Vec<Decoded>> {
    let mut framer = LineFramer::default();
    let mut said: Vec<Vec<Decoded>> = steps.iter().map(|step| feed(wire, &mut framer, step)).collect();
    let mut last = Vec::new();
    wire.finish(&mut last);
    said.push(last);
    said
}

/// What a wire says to one step.
pub(crate) fn feed(wire: &mut dyn Wire, framer: &mut LineFramer, step: &Step) -> Vec<Decoded> {
    let mut out = Vec::new();
    match step {
        Step::In(bytes) => wire.written(bytes),
        Step::Out(bytes) => framer.push(bytes, |frame, _| match frame {
            Frame::Line(line) => wire.decode(line, &mut out),
            Frame::Oversized { .. } => panic!("no recorded line is that long"),
        }),
    }
    out
}

/// What a session's state keeps for a wire's seed.
#[derive(Debug, Clone)]
pub(crate) struct Kept(pub(crate) WireSeed);

impl Kept {
    /// Learns what was said.
    pub(crate) fn learn(&mut self, said: &[Decoded]) {
        for decoded in said {
            let Decoded::Says(says) = decoded else { continue };
            match says {
                AgentSays::Conversation { id } => self.0.conversation = Some(id.clone()),
                AgentSays::Using { model, mode } => {
                    self.0.model = model.clone().or(self.0.model.take());
                    self.0.mode = mode.clone().or(self.0.mode.take());
                }
                AgentSays::TaskStarted { task, .. } => self.0.tasks.push(task.clone()),
                AgentSays::TaskEnded { task, .. } => self.0.tasks.retain(|known| known != task),
                _ => {}
            }
        }
    }
}

/// Adoption: a daemon that dies after any step reads again from the last quiet point with a fresh wire, throws away
/// what it says about steps that were ingested, and must go on as if nothing had been.
pub(crate) fn assert_rebuilds(name: &str, steps: &[Step]) {
    let mut old = wire(seed());
    let mut framer = LineFramer::default();
    let mut kept = Kept(seed());
    let (mut quiet, mut cuts, mut said) = (0, vec![(0, kept.0.clone())], Vec::new());
    for (at, step) in steps.iter().enumerate() {
        let out = feed(&mut *old, &mut framer, step);
        kept.learn(&out);
        said.push(out);
        if old.is_quiet() {
            quiet = at + 1;
        }
        cuts.push((quiet, kept.0.clone()));
    }
    let mut last = Vec::new();
    old.finish(&mut last);
    said.push(last);
    for (cut, (from, seed)) in cuts.into_iter().enumerate() {
        let again = replay(&mut *wire(seed), &steps[from..]);
        assert_eq!(again[cut - from..], said[cut..], "{name}: rebuilt after step {cut} from step {from}");
    }
}
