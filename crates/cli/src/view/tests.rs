//! Frames as a daemon sends them, and what one sees.

use lockkeeper_api::id::SessionId;
use lockkeeper_api::{Cursor, Json, Status};
use serde_json::{Value, json};

use unicode_width::UnicodeWidthStr as _;

use super::*;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PLAIN: Style = Style { colour: false, unicode: true };

/// A session as the API tells it.
pub(crate) fn session() -> Result<Session> {
    let text = json!({
        "id": SessionId::from_random(7), "name": "fix-tests", "agent": "claude", "dir": "/code/app",
        "status": Status::Running, "since": "2026-11-20T13:00:00.000Z", "reason": "",
        "cause": {"seq": 1, "kind": "session.created"}, "settled": false, "labels": {}, "lifetime": "one_shot",
        "turns_ended": 0, "queue": 0, "open_gates": 0, "background_tasks": 0, "created": "2026-11-20T13:00:00.000Z",
        "usage": {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "rounds": 0},
    });
    Ok(serde_json::from_value(text)?)
}

/// An event this many seconds after the session began.
pub(crate) fn event(seconds: i64, kind: &str, data: &Value) -> Result<Frame> {
    let event = Event {
        cursor: Cursor::at(u64::try_from(seconds)?),
        session: SessionId::from_random(7),
        seq: u64::try_from(seconds)?,
        at: Time::from_wall_ms(seconds * 1000),
        kind: kind.to_owned(),
        data: Json::parse(&data.to_string())?,
    };
    // What a test writes down must be what the core reads.
    event.body()?;
    Ok(Frame::Event(Box::new(event)))
}

fn live(key: &str, offset: u64, text: &str) -> Result<Frame> {
    let live = json!({"session": SessionId::from_random(7), "key": key, "kind": "message", "offset": offset, "text": text});
    Ok(Frame::Live(serde_json::from_value(live)?))
}

fn message(key: &str, text: &str, extent: &str) -> Value {
    json!({"turn": 1, "item": {"key": key, "body": {"message": {"text": text, "extent": extent}}}})
}

fn call(key: &str, tool: &str, input: &Value) -> Value {
    json!({"turn": 1, "item": {"key": key, "body": {"tool_call": {"tool": tool, "input": input}}}})
}

fn result(key: &str, outcome: &str, text: &str) -> Value {
    json!({"turn": 1, "call": key, "outcome": outcome, "text": text})
}

fn usage(rounds: u32) -> Value {
    json!({
        "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0,
        "attempt_cost_micro_usd": null, "rounds": rounds,
    })
}

/// A gate as the event tells it.
pub(crate) fn gate(no: u32, kind: &str, tool: &str, input: &Value) -> Value {
    let stamp = json!({"wall_ms": 0, "awake": 0, "boot": "b"});
    json!({"gate": {
        "no": no, "attempt": 1, "turn": 1,
        "ask": {"request": "r1", "kind": kind, "tool": tool, "input": input},
        "input_hash": "00", "rule": "agent", "risk": "unrated", "opened": stamp, "state": "open",
    }})
}

/// A gate about this input, as the API tells it.
pub(crate) fn api_gate(tool: &str, input: &str) -> Result<Gate> {
    let text = gate(1, "permission", tool, &json!({"marker": 1})).to_string();
    let text = text.replace(r#"{"marker":1}"#, input);
    let event = Event {
        cursor: Cursor::at(1),
        session: SessionId::from_random(7),
        seq: 1,
        at: Time::from_wall_ms(0),
        kind: "gate.opened".to_owned(),
        data: Json::parse(&text)?,
    };
    let lockkeeper_api::EventBody::GateOpened { gate } = event.body()? else { return Err("no gate".into()) };
    let session = session()?;
    Ok(Gate::new(&session.id, session.name.as_ref(), &session.agent, &session.dir, &gate))
}

fn seen(messages: Messages, style: Style, frames: &[Frame]) -> Result<String> {
    let mut view = View::new(&session()?, style, Some(72), messages, Prompts::Shown);
    Ok(frames.iter().map(|frame| view.frame(frame)).collect())
}

fn a_turn() -> Result<Vec<Frame>> {
    Ok(vec![
        event(
            1,
            "attempt.launched",
            &json!({"attempt": 1, "manner": manner(), "resume": null, "model": null, "mode": null}),
        )?,
        event(2, "turn.started", &json!({"turn": 1, "prompt": 1, "attempt": 1}))?,
        live("m1", 0, "I'll run the ")?,
        live("m1", 13, "tests.")?,
        event(3, "item.added", &message("m1", "I'll run the tests.", "whole"))?,
        event(4, "tool.started", &call("c1", "Bash", &json!({"command": "npm test", "description": "d"})))?,
        event(
            5,
            "gate.opened",
            &gate(1, "permission", "Bash", &json!({"command": "npm test", "description": "d"})),
        )?,
        event(
            6,
            "gate.decided",
            &json!({
                "gate": 1, "write": 3,
                "verdict": {"decision": "allow", "by": "ada", "at": {"wall_ms": 0, "awake": 0, "boot": "b"}},
            }),
        )?,
        event(9, "tool.ended", &result("c1", "failed", "a\nb\nc\nd\n\n2 failed\n"))?,
        event(10, "tool.started", &call("c2", "Read", &json!({"file_path": "/code/app/src/a.js"})))?,
        event(10, "tool.started", &call("c3", "Grep", &json!({"pattern": "it\\("})))?,
        event(10, "tool.ended", &result("c2", "ok", "1\n2\n3\n"))?,
        event(11, "tool.ended", &result("c3", "ok", ""))?,
        live("m2", 0, "Fixed:\u{1b}[2J it")?,
        event(15, "item.added", &message("m2", "Fixed:\u{1b}[2J it passes.", "whole"))?,
        event(75, "turn.ended", &json!({"turn": 1, "prompt": 1, "outcome": "completed", "usage": usage(3)}))?,
    ])
}

fn manner() -> Value {
    json!({
        "handshake": "initialize", "interrupt": ["request"], "stop": ["close_stdin"], "rung_ms": 1, "settle_ms": 1,
        "spawn_ms": 1, "handshake_ms": 1, "write_ms": 1, "control_ms": 1, "silence_ms": 1, "drain_ms": 1,
        "turn_ms": null, "resumes": "by_id",
    })
}

#[test]
fn a_turn_as_it_streams() -> Result {
    insta::assert_snapshot!(seen(Messages::Streamed, PLAIN, &a_turn()?)?);
    Ok(())
}

#[test]
fn a_turn_as_it_streams_in_ascii() -> Result {
    let text = seen(Messages::Streamed, Style::PLAIN, &a_turn()?)?;
    assert!(text.is_ascii(), "{text}");
    Ok(())
}

#[test]
fn what_streams_and_what_is_listed_reads_the_same() -> Result {
    let streamed = seen(Messages::Streamed, PLAIN, &a_turn()?)?;
    assert_eq!(streamed, seen(Messages::Whole, PLAIN, &a_turn()?)?);
    Ok(())
}

#[test]
fn progress_without_the_answer() -> Result {
    insta::assert_snapshot!(seen(Messages::Hidden, PLAIN, &a_turn()?)?);
    Ok(())
}

#[test]
fn a_piece_that_was_seen_before_is_not_shown_again() -> Result {
    let frames = [
        live("m1", 0, "abc")?,
        live("m1", 0, "abcdef")?,
        live("m1", 3, "def")?,
        // The gap is filled when the message is whole.
        live("m1", 9, "jkl")?,
        event(1, "item.added", &message("m1", "abcdefghijkl", "whole"))?,
        // The middle of a message whose beginning was missed.
        live("m2", 3, "def")?,
        event(2, "item.added", &message("m2", "abcdef", "partial"))?,
    ];
    assert_eq!(seen(Messages::Streamed, PLAIN, &frames)?, "abcdefghijkl\n\nabcdef [cut]\n");
    Ok(())
}

#[test]
fn every_end_of_a_turn_says_what_is_known() -> Result {
    let outcomes = [
        json!("completed"),
        json!({"interrupted": {"by": "ada"}}),
        json!("refused"),
        json!({"limit": {"which": "max_turns"}}),
        json!({"failed": {"kind": "api", "message": "529 overloaded\u{202e}"}}),
        json!({"unknown": {"why": "the holder ended without a record"}}),
    ];
    let frames: Result<Vec<Frame>> = outcomes
        .iter()
        .map(|outcome| {
            event(1, "turn.ended", &json!({"turn": 1, "prompt": null, "outcome": outcome, "usage": usage(1)}))
        })
        .collect();
    insta::assert_snapshot!(seen(Messages::Streamed, PLAIN, &frames?)?);
    Ok(())
}

#[test]
fn troubles_of_the_agent() -> Result {
    let exit = json!({"status": {"code": 3}, "stderr": ["one", "\u{1b}]0;two\u{7}"], "swept": 0, "left": 0});
    let frames = [
        event(
            1,
            "agent.retrying",
            &json!({"attempt": 2, "of": 10, "delay_ms": 3000, "reason": "overloaded"}),
        )?,
        event(2, "attempt.exited", &json!({"attempt": 1, "exit": exit, "verdict": "crashed"}))?,
        event(3, "attempt.backoff", &json!({"crashes": 2, "wait_ms": 2000}))?,
        event(
            4,
            "attempt.launch_failed",
            &json!({"attempt": 2, "error": {"code": "not_found", "message": "claude is not on the PATH"}}),
        )?,
        event(5, "conversation.lost", &json!({"message": "No conversation found"}))?,
        event(
            6,
            "session.ended",
            &json!({"end": {"failed": {"reason": "crash_loop", "message": "5 crashes in 10 minutes"}}}),
        )?,
    ];
    insta::assert_snapshot!(seen(Messages::Streamed, PLAIN, &frames)?);
    Ok(())
}

#[test]
fn a_gate_shows_all_of_its_input_and_nothing_that_a_terminal_obeys() -> Result {
    let input = json!({
        "command": "rm -rf \u{202e}tmp\u{2069}\n\techo hi\u{1b}[A", "timeout": 5000, "background": true,
        "env": {"A": "\u{200b}"}, "why": "first\nsecond",
    });
    let questions = json!({"questions": [
        {"question": "Which?", "options": [{"label": "A", "description": "the first"}, {"label": "B"}]},
    ]});
    let frames = [
        event(1, "gate.opened", &gate(1, "permission", "Bash\u{1b}", &input))?,
        event(2, "gate.opened", &gate(2, "question", "AskUserQuestion", &questions))?,
        event(3, "gate.opened", &gate(3, "plan", "ExitPlanMode", &json!({"plan": "1. a\n2. b"})))?,
        event(4, "gate.opened", &gate(4, "permission", "Empty", &json!({})))?,
        // It is there already.
        event(5, "gate.opened", &gate(4, "permission", "Empty", &json!({})))?,
        event(6, "gate.withdrawn", &json!({"gate": 4, "why": "interrupted"}))?,
    ];
    insta::assert_snapshot!(seen(Messages::Streamed, PLAIN, &frames)?);
    Ok(())
}

#[test]
fn what_a_server_asks_shows_its_fields_and_nothing_that_a_terminal_obeys() -> Result {
    let form = json!({"server": "ask\u{1b}er", "message": "Who\nare you?\u{202e}", "requested_schema": {
        "properties": {
            "age": {"type": "integer", "minimum": 0, "maximum": 150, "title": "Age", "description": "in\nyears"},
            "colour": {"type": "string", "oneOf": [{"const": "0f0", "title": "Gr\u{1b}een"}, {"const": "00f"}], "default": "0f0"},
            "mail": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        },
        "required": ["age"],
    }});
    let page =
        json!({"server": "asker", "message": "Sign in", "url": "https://example.com/\u{202e}?a=\u{1b}[A"});
    let frames = [
        event(1, "gate.opened", &gate(1, "elicitation", "elicitation", &form))?,
        event(2, "gate.opened", &gate(2, "elicitation", "elicitation", &page))?,
    ];
    insta::assert_snapshot!(seen(Messages::Streamed, PLAIN, &frames)?);
    Ok(())
}

/// What one sees of a gate whose input is these bytes.
fn gate_of(input: &str) -> Result<String> {
    let event_data = gate(1, "permission", "Bash", &json!({"marker": 1}));
    let text = event_data.to_string().replace(r#"{"marker":1}"#, input);
    let event = Event {
        cursor: Cursor::at(1),
        session: SessionId::from_random(7),
        seq: 1,
        at: Time::from_wall_ms(0),
        kind: "gate.opened".to_owned(),
        data: Json::parse(&text)?,
    };
    seen(Messages::Streamed, PLAIN, &[Frame::Event(Box::new(event))])
}

#[test]
fn an_input_is_shown_as_it_stands() -> Result {
    let cases = [
        // A name that comes twice is read by some as the first and by others as the last.
        (r#"{"command":"ls","command":"rm -rf /"}"#, "│ command: ls\n│ command: rm -rf /\n"),
        (r#"{"env":{"A":"1","A":"2"}}"#, "│ env: {\"A\":\"1\",\"A\":\"2\"}\n"),
        // Read as a number it would be another one.
        (r#"{"size":100000000000000000000001,"b":1}"#, "│ size: 100000000000000000000001\n│ b: 1\n"),
        ("{\"a\":[1,\n2]}", "│ a: [1,\n│ 2]\n"),
        // Nothing of it stands outside of the box.
        ("[1,\n\n2]", "│ [1,\n│\n│ 2]\n"),
        (r#""alone""#, "│ \"alone\"\n"),
        ("null", "│ null\n"),
    ];
    for (input, expected) in cases {
        let text = gate_of(input)?;
        assert!(text.contains(expected), "{input}: {text}");
    }
    Ok(())
}

#[test]
fn a_line_that_wraps_stays_in_the_box() -> Result {
    let command = format!("echo {}{}", "x".repeat(90), "╰─ 修复".repeat(10));
    let text = gate_of(&json!({ "command": command }).to_string())?;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(['│', '┆'])).collect();
    assert!(lines.iter().all(|line| line.width() <= 72), "{text}");
    assert_eq!(lines.iter().filter(|line| line.starts_with('┆')).count(), 2, "{text}");
    let joined: String = lines.iter().filter_map(|line| line.get("│ ".len()..)).collect();
    assert!(joined.starts_with(&command), "{text}");
    Ok(())
}

#[test]
fn a_tool_whose_gate_closed_did_not_run() -> Result {
    let mut ask = gate(1, "permission", "Bash", &json!({"command": "ls"}));
    ask["gate"]["ask"]["call"] = json!("c1");
    let called = call("c1", "Bash", &json!({"command": "ls"}));
    let after = |kind: &str, data: &Value| {
        let frames = [
            event(1, "tool.started", &called)?,
            event(2, "gate.opened", &ask)?,
            event(3, kind, data)?,
            event(4, "tool.ended", &result("c1", "cut", ""))?,
        ];
        seen(Messages::Streamed, PLAIN, &frames)
    };
    let verdict = |decision: Value| json!({"gate": 1, "write": 3, "verdict": {"decision": decision, "by": "ada", "at": {"wall_ms": 0, "awake": 0, "boot": "b"}}});
    let withdrawn = after("gate.withdrawn", &json!({"gate": 1, "why": "interrupted"}))?;
    assert!(withdrawn.ends_with("Bash cut, it did not run\n"), "{withdrawn}");
    let denied = after("gate.decided", &verdict(json!({"deny": {"message": "no"}})))?;
    assert!(denied.ends_with("Bash cut, it did not run\n"), "{denied}");
    let allowed = after("gate.decided", &verdict(json!("allow")))?;
    assert!(allowed.ends_with("Bash cut, it may have run in part\n"), "{allowed}");
    assert!(allowed.contains("g1 allowed by ada\n"), "{allowed}");
    let mut bypassed = verdict(json!("allow"));
    bypassed["verdict"]["through"] = json!("bypass");
    let allowed = after("gate.decided", &bypassed)?;
    assert!(allowed.contains("g1 allowed by ada (bypass)\n"), "{allowed}");
    Ok(())
}

#[test]
fn nothing_beyond_ascii_is_shown_where_the_terminal_cannot() -> Result {
    let long = "a long line ".repeat(20);
    let frames = [
        event(1, "tool.started", &call("c1", "Bash", &json!({"command": long})))?,
        event(2, "tool.ended", &result("c1", "failed", &long))?,
        event(3, "gate.opened", &gate(1, "permission", "Bash", &json!({"command": long, "why": "w"})))?,
        event(4, "agent.retrying", &json!({"attempt": 1, "of": 2, "delay_ms": 1000, "reason": long}))?,
        event(5, "prompt.edited", &json!({"prompt": 2, "text": long, "by": "ada"}))?,
        event(6, "tool.started", &call("c2", "Bash", &json!({"command": "ls"})))?,
        event(7, "tool.started", &call("c3", "Bash", &json!({"command": "ls"})))?,
        event(8, "tool.ended", &result("c2", "ok", &long))?,
    ];
    let text = seen(Messages::Streamed, Style::PLAIN, &frames)?;
    assert!(text.is_ascii(), "{text}");
    assert!(text.lines().all(|line| line.len() <= 72), "{text}");
    Ok(())
}

#[test]
fn wide_characters_take_their_columns() -> Result {
    let wide = "修复".repeat(60);
    let frames = [
        event(1, "tool.started", &call("c1", "Bash", &json!({"command": wide})))?,
        event(2, "tool.ended", &result("c1", "failed", &wide))?,
        event(3, "agent.retrying", &json!({"attempt": 1, "of": 2, "delay_ms": 1000, "reason": wide}))?,
    ];
    let text = seen(Messages::Streamed, PLAIN, &frames)?;
    assert!(text.lines().all(|line| line.width() <= 72), "{text}");
    Ok(())
}

#[test]
fn a_history_tells_which_prompts_waited_then() -> Result {
    // The session has a turn now; when the story begins it had none.
    let mut session = session()?;
    session.turn = Some(serde_json::from_value(json!({
        "id": "x.t1", "no": 1, "by": "prompt", "started": "2026-11-20T13:00:00.000Z",
    }))?);
    let mut view = View::new(&session, PLAIN, Some(72), Messages::Whole, Prompts::Shown);
    let frames =
        [event(1, "prompt.accepted", &accepted(1, "first"))?, event(2, "turn.started", &started(1, 1))?];
    let text: String = frames.iter().map(|frame| view.frame(frame)).collect();
    assert_eq!(text, "❯ first\n");
    Ok(())
}

fn accepted(no: u32, text: &str) -> Value {
    json!({"prompt": {
        "no": no, "text": text, "class": "normal", "caller": "ada",
        "accepted": {"wall_ms": 0, "awake": 0, "boot": "b"},
    }})
}

fn started(turn: u32, prompt: u32) -> Value {
    json!({"turn": turn, "prompt": prompt, "attempt": 1})
}

#[test]
fn a_long_prompt_is_shortened() -> Result {
    let text: Vec<String> = (1..=20).map(|no| format!("line {no}")).collect();
    let frames = [
        event(1, "prompt.accepted", &accepted(1, &text.join("\n")))?,
        event(2, "turn.started", &started(1, 1))?,
    ];
    let text = seen(Messages::Streamed, PLAIN, &frames)?;
    assert!(text.starts_with("❯ line 1\n  line 2\n") && text.ends_with("  … 8 more lines\n"), "{text}");
    Ok(())
}

#[test]
fn a_prompt_stands_where_its_turn_begins() -> Result {
    let ended = json!({"turn": 1, "prompt": 1, "outcome": "completed", "usage": usage(1)});
    let frames = [
        event(1, "prompt.accepted", &accepted(1, "first"))?,
        event(2, "turn.started", &started(1, 1))?,
        event(3, "prompt.accepted", &accepted(2, "second"))?,
        event(4, "prompt.edited", &json!({"prompt": 2, "text": "other", "by": "ada"}))?,
        event(5, "turn.ended", &ended)?,
        event(6, "turn.started", &started(2, 2))?,
    ];
    let expected = "❯ first\n· prompt p2 of ada waits: second\n· prompt p2 was changed by ada: other\n\n\
                    ✓ completed · 3s\n\n❯ other\n";
    assert_eq!(seen(Messages::Streamed, PLAIN, &frames)?, expected);
    Ok(())
}

#[test]
fn a_message_that_is_told_again_is_not_shown_again() -> Result {
    let frames = [
        live("m1", 0, "Hello.")?,
        event(1, "item.added", &message("m1", "Hello.", "whole"))?,
        // The daemon was started again.
        live("m1", 0, "Hello.")?,
        live("m2", 0, "Next.")?,
        event(2, "item.added", &message("m2", "Next.", "whole"))?,
    ];
    assert_eq!(seen(Messages::Streamed, PLAIN, &frames)?, "Hello.\n\nNext.\n");
    Ok(())
}

#[test]
fn a_message_that_was_cut_says_so_on_a_line_without_a_gap() -> Result {
    let frames = [
        live("m1", 0, "Hello")?,
        event(1, "interrupt.asked", &json!({"turn": 1, "cause": {"asked": {"by": "ada"}}}))?,
        event(2, "item.added", &message("m1", "Hello", "partial"))?,
    ];
    assert_eq!(seen(Messages::Streamed, PLAIN, &frames)?, "Hello\n■ interrupting t1\n[cut]\n");
    Ok(())
}

#[test]
fn a_message_that_something_breaks_off_goes_on_where_it_was() -> Result {
    let frames = [
        live("m1", 0, "There are 3 ")?,
        event(1, "agent.retrying", &json!({"attempt": 1, "of": 2, "delay_ms": 1000, "reason": "busy"}))?,
        live("m1", 12, "files, ")?,
        event(2, "item.added", &message("m1", "There are 3 files, I", "partial"))?,
        live("m2", 0, "Next.")?,
        event(3, "item.added", &message("m2", "Next.", "whole"))?,
    ];
    let expected = "There are 3 \n↻ try 1 of 2 in 1s: busy\nfiles, I [cut]\n\nNext.\n";
    assert_eq!(seen(Messages::Streamed, PLAIN, &frames)?, expected);
    Ok(())
}
