//! Lines of agents.

use lockkeeper_agents::{Adapter, Decoded, Wire, WireSeed, registry};
use lockkeeper_core::agent::{Action, AgentSays};
use lockkeeper_core::gate::Decision;
use lockkeeper_core::id::{AttemptNo, GateNo, SessionId};

/// So many lines are read; a fuzzer finds nothing in more that it does not find in these.
const LINES: usize = 48;

/// So many of them get an answer.
const ANSWERS: usize = 8;

/// Lines of an agent; one that begins with `<` was written to it, and one that begins with `^` is the start of one that is too
/// long. Each leads to something, the same lines always mean the same, and a wire that reads again from the last quiet point
/// goes on as the first one did.
pub fn wire(bytes: &[u8]) {
    for adapter in registry::all() {
        beside(*adapter, bytes);
        let steps: Vec<Step<'_>> = bytes.split(|byte| *byte == b'\n').take(LINES).map(Step::read).collect();
        let steps = answered(*adapter, steps);
        rebuilt(*adapter, &steps);
    }
}

/// What happens to a wire.
#[derive(Debug)]
enum Step<'a> {
    Written(Vec<u8>),
    Oversized(&'a [u8]),
    Line(&'a [u8]),
}

impl<'a> Step<'a> {
    fn read(line: &'a [u8]) -> Self {
        match line.split_first() {
            Some((b'<', written)) => Self::Written([written, b"\n"].concat()),
            Some((b'^', start)) => Self::Oversized(start),
            _ => Self::Line(line),
        }
    }

    fn feed(&self, wire: &mut dyn Wire) -> Vec<Decoded> {
        let mut out = Vec::new();
        match self {
            Self::Written(bytes) => wire.written(bytes),
            Self::Oversized(start) => wire.oversized(start, &mut out),
            Self::Line(line) => {
                wire.decode(line, &mut out);
                assert!(!out.is_empty(), "a line leads to nothing");
            }
        }
        out
    }
}

/// The same steps with an answer behind what asks for one: the bytes of an answer are a line that a wire can learn of.
fn answered<'a>(adapter: &dyn Adapter, steps: Vec<Step<'a>>) -> Vec<Step<'a>> {
    let mut wire = adapter.wire(seed());
    let (mut all, mut answers) = (Vec::new(), ANSWERS);
    for step in steps {
        let said = step.feed(&mut *wire);
        all.push(step);
        for action in said.iter().filter_map(answer) {
            let bytes = wire.encode(&action, "");
            assert!(bytes.ends_with(b"\n"), "an answer is a line");
            let line = &bytes[..bytes.len() - 1];
            assert!(!line.contains(&b'\n'), "an answer is one line");
            assert!(
                serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok(),
                "an answer is JSON: {}",
                line.escape_ascii()
            );
            if answers > 0 {
                answers -= 1;
                wire.written(&bytes);
                all.push(Step::Written(bytes));
            }
        }
    }
    all
}

/// What a person, or the daemon, would answer.
fn answer(said: &Decoded) -> Option<Action> {
    let Decoded::Says(said) = said else { return None };
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else asks")]
    match said {
        AgentSays::Asked { ask, .. } if ask.announced => Some(Action::Pass { request: ask.request.clone() }),
        AgentSays::Asked { ask, .. } => Some(Action::Answer {
            gate: GateNo(1),
            request: ask.request.clone(),
            input: ask.input.clone(),
            decision: Decision::Allow,
            kind: ask.kind,
            announced: false,
        }),
        AgentSays::UnknownRequest { request, .. } | AgentSays::AskedTooMuch { request, .. } => {
            Some(Action::Refuse { request: request.clone(), message: "no".to_owned() })
        }
        _ => None,
    }
}

/// A daemon that dies after any step reads again from the last quiet point with a fresh wire, throws away what that says about
/// what was read before, and goes on as if nothing had been.
fn rebuilt(adapter: &dyn Adapter, steps: &[Step<'_>]) {
    let mut wire = adapter.wire(seed());
    let mut kept = seed();
    let (mut quiet, mut cuts, mut said) = (0, vec![(0, seed())], Vec::new());
    for (at, step) in steps.iter().enumerate() {
        let out = step.feed(&mut *wire);
        learn(&mut kept, &out);
        said.push(out);
        if wire.is_quiet() {
            quiet = at + 1;
        }
        cuts.push((quiet, kept.clone()));
    }
    said.push(end(&mut *wire));
    for (cut, (from, seed)) in cuts.into_iter().enumerate() {
        let mut wire = adapter.wire(seed);
        let mut again: Vec<Vec<Decoded>> = steps[from..].iter().map(|step| step.feed(&mut *wire)).collect();
        again.push(end(&mut *wire));
        assert_eq!(again[cut - from..], said[cut..], "rebuilt after step {cut} from step {from}");
    }
}

fn end(wire: &mut dyn Wire) -> Vec<Decoded> {
    let mut last = Vec::new();
    wire.finish(&mut last);
    last
}

/// What a session's state keeps for the seed of the next wire.
fn learn(kept: &mut WireSeed, said: &[Decoded]) {
    for decoded in said {
        let Decoded::Says(says) = decoded else { continue };
        #[expect(clippy::wildcard_enum_match_arm, reason = "a seed has nothing else")]
        match says {
            AgentSays::Conversation { id } => kept.conversation = Some(id.clone()),
            AgentSays::Using { model, mode } => {
                kept.model = model.clone().or(kept.model.take());
                kept.mode = mode.clone().or(kept.mode.take());
            }
            AgentSays::TaskStarted { task, .. } => kept.tasks.push(task.clone()),
            AgentSays::TaskEnded { task, .. } => kept.tasks.retain(|known| known != task),
            _ => {}
        }
    }
}

/// What else an adapter reads of its program.
fn beside(adapter: &dyn Adapter, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let tail: Vec<String> = text.lines().take(LINES).map(str::to_owned).collect();
    // Any answer will do.
    let _ = (adapter.parse_version(&text), adapter.classify_exit(&tail), adapter.unasked(&text));
    let (tool, input) = text.split_once('\n').unwrap_or((&text, ""));
    if let Some(made) = adapter.input_of(tool, input) {
        assert!(
            !adapter.tool_use(tool, &made).untold,
            "what was made for {tool:?} does not say what it has to"
        );
    }
}

/// A fresh attempt's seed.
fn seed() -> WireSeed {
    WireSeed::fresh(SessionId::from_random(7), AttemptNo(1))
}
