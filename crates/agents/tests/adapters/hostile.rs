//! Lines that no agent should write.

use crate::support::{Step, names, seed, steps, wire};
use lockkeeper_agents::limits::PARTIAL_BYTES;
use lockkeeper_agents::{Decoded, Wire};
use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::item::{Extent, ItemBody};
use lockkeeper_core::json::Json;
use proptest::prelude::*;

fn says(lines: &[&[u8]]) -> Vec<AgentSays> {
    let mut wire = wire(seed());
    let mut out = Vec::new();
    for line in lines {
        wire.decode(line, &mut out);
    }
    out.into_iter()
        .filter_map(|decoded| match decoded {
            Decoded::Says(says) => Some(says),
            Decoded::Delta { .. } | Decoded::Dropped { .. } => None,
        })
        .collect()
}

#[test]
fn what_asks_too_much_is_known_by_its_start_so_that_it_gets_an_answer() {
    let asks = |start: &str| {
        let mut out = Vec::new();
        wire(seed()).oversized(start.as_bytes(), &mut out);
        out
    };
    let request = |id: &str, subtype: &str| {
        format!(
            r#"{{"type":"control_request","request_id":{id},"request":{{"subtype":"{subtype}","tool_name":"B"#
        )
    };
    for (id, subtype, announced) in [(r#""r-1""#, "can_use_tool", false), ("7", "hook_callback", true)] {
        let says = AgentSays::AskedTooMuch { request: Json::parse(id).unwrap(), announced };
        assert_eq!(asks(&request(id, subtype)), [Decoded::Says(says)], "{id}");
    }
    for start in [
        r#"{"type":"assistant","message":{"#,
        r#"{"type":"control_request","request_id":"cut"#,
        "",
        "\u{fffd}",
    ] {
        assert_eq!(asks(start), [], "{start}");
    }
}

#[test]
fn what_is_no_json_is_malformed_and_what_is_unknown_is_unrecognized() {
    for line in ["Debugger attached.", "[1,2]", "null", "{\"type\":\"user\"", "{\"a\":\u{1}}", "{}{}"] {
        assert!(matches!(says(&[line.as_bytes()])[..], [AgentSays::Malformed { .. }]), "{line}");
    }
    for (line, want) in [
        (r#"{"type":"frobnicate"}"#, "frobnicate"),
        (r#"{"type":"system","subtype":"x"}"#, "system/x"),
        (r#"{"type":7}"#, "without a type"),
        ("{}", "without a type"),
        (
            r#"{"type":"control_request","request_id":"a","request":{"subtype":"request_user_dialog"}}"#,
            "control_request/request_user_dialog",
        ),
    ] {
        assert_eq!(says(&[line.as_bytes()]), [AgentSays::Unrecognized { kind: want.to_owned() }], "{line}");
    }
    for line in
        [r#"{"type":"keep_alive"}"#, r#"{"type":"stream_event"}"#, r#"{"type":"assistant","message":"x"}"#]
    {
        assert_eq!(says(&[line.as_bytes()]), [AgentSays::Alive], "{line}");
    }
}

#[test]
fn members_of_another_type_than_known_do_not_cost_the_line() {
    let line = br#"{"usage":"many","num_turns":[1],"type":"result","subtype":"success","is_error":false,"result":{"a":1},"total_cost_usd":"free","origin":7,"errors":null}"#;
    assert!(matches!(says(&[line])[..], [AgentSays::TurnBegan { .. }, AgentSays::TurnEnded { .. }]));
}

/// The deltas of a block that never ended are kept up to a limit; what is kept has no holes.
#[test]
fn a_cut_text_beyond_the_limit_is_its_beginning() {
    let event = |event: serde_json::Value| {
        serde_json::json!({ "type": "stream_event", "event": event }).to_string().into_bytes()
    };
    let delta = |text: &str| {
        let delta = serde_json::json!({ "type": "text_delta", "text": text });
        event(serde_json::json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
    };
    let mut wire = wire(seed());
    let mut out = Vec::new();
    wire.decode(&event(serde_json::json!({ "type": "message_start", "message": { "id": "m" } })), &mut out);
    let block = serde_json::json!({ "type": "text" });
    wire.decode(
        &event(serde_json::json!({ "type": "content_block_start", "content_block": block })),
        &mut out,
    );
    let deltas = ["x".repeat(PARTIAL_BYTES - 10), "a long delta".to_owned(), "short".to_owned()];
    for text in &deltas {
        wire.decode(&delta(text), &mut out);
    }
    out.clear();
    wire.finish(&mut out);
    let [Decoded::Says(AgentSays::Item { item })] = &out[..] else { panic!("{out:?}") };
    let ItemBody::Message { text, extent: Extent::Partial } = &item.body else { panic!("{item:?}") };
    assert!(deltas.concat().starts_with(&**text) && text.len() >= PARTIAL_BYTES - 10, "{} bytes", text.len());
}

#[test]
fn a_limit_of_the_account_is_told_only_if_it_is_reached_and_has_an_end() {
    let line = |info: &str| format!(r#"{{"type":"rate_limit_event","rate_limit_info":{info}}}"#);
    let reached = line(r#"{"status":"rejected","resetsAt":1800000000,"rateLimitType":"five_hour"}"#);
    let limited = AgentSays::Limited { until_ms: 1_800_000_000_000, what: "five_hour".to_owned() };
    assert_eq!(says(&[reached.as_bytes()]), [limited]);
    for info in [
        r#"{"status":"allowed_warning","resetsAt":1800000000}"#,
        r#"{"status":"rejected"}"#,
        r#"{"status":"rejected","resetsAt":"soon"}"#,
        r#"{"status":"rejected","resetsAt":18446744073709551615}"#,
        "[]",
    ] {
        assert_eq!(says(&[line(info).as_bytes()]), [AgentSays::Alive], "{info}");
    }
}

#[test]
fn a_refused_handshake_is_told_with_the_length_of_its_line() {
    let line =
        br#"{"type":"control_response","response":{"subtype":"error","request_id":"lk-init","error":"no"}}"#;
    let why = "the opening request was refused: no".to_owned();
    assert_eq!(says(&[line]), [AgentSays::Malformed { why, bytes: line.len() as u64 }]);
}

#[test]
fn invalid_utf8_and_halves_of_characters_are_replaced_and_the_line_is_read() {
    let text = |line: &[u8]| match &says(&[line])[..] {
        [AgentSays::ToolEnded { text, .. }] => text.to_string(),
        said => panic!("{said:?}"),
    };
    let line = |text: &[u8]| {
        let before =
            br#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":""#;
        [before.as_slice(), text, br#""}]}}"#].concat()
    };
    assert_eq!(text(&line(b"a\xffb")), "a\u{fffd}b");
    assert_eq!(text(&line(br"cut \ud83d")), "cut \u{fffd}");
    assert_eq!(text(&line(br"whole \ud83d\ude00")), "whole \u{1f600}");
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let objects = |n: usize| format!("{}1{}", "{\"content\":[".repeat(n), "]}".repeat(n));
    for n in [100, 100_000] {
        let skipped = format!(r#"{{"type":"keep_alive","x":{}}}"#, deep(n));
        assert_eq!(says(&[skipped.as_bytes()]), [AgentSays::Alive]);
        let input = format!(
            r#"{{"type":"assistant","message":{{"id":"m","content":[{{"type":"tool_use","id":"t","name":"Bash","input":{{"a":{}}}}}]}}}}"#,
            deep(n)
        );
        let said = says(&[input.as_bytes()]);
        let [_, AgentSays::ToolStarted { item }] = &said[..] else { panic!("{n}: {said:?}") };
        assert!(matches!(&item.body, ItemBody::ToolCall { input, .. } if input.as_str().len() > 2 * n));
        says(&[format!(r#"{{"type":"user","message":{}}}"#, objects(n)).as_bytes()]);
        says(&[format!(r#"{{"type":{}}}"#, deep(n)).as_bytes()]);
        says(&[deep(n).as_bytes()]);
    }
}

/// Lines of the recordings, to be damaged.
fn real_lines() -> Vec<Vec<u8>> {
    names()
        .iter()
        .filter(|name| name.starts_with("newer") || name.starts_with("permission"))
        .flat_map(|name| steps(name))
        .map(|step| match step {
            Step::In(bytes) | Step::Out(bytes) => bytes,
        })
        .filter(|line| line.len() < 3000)
        .collect()
}

/// Each line says at least one thing, and the wire lives.
fn survives(wire: &mut dyn Wire, line: &[u8]) {
    let mut out = Vec::new();
    wire.decode(line, &mut out);
    assert!(!out.is_empty());
    wire.written(line);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut wire = wire(seed());
        for line in lines {
            survives(&mut *wire, &line);
        }
        wire.finish(&mut Vec::new());
    }

    #[test]
    fn no_json_makes_it_panic(value in json_value(), kind in "[a-z_]{0,12}") {
        let mut wire = wire(seed());
        for kind in [kind.as_str(), "assistant", "user", "system", "result", "stream_event", "control_request", "control_response", "command_lifecycle"] {
            let line = serde_json::json!({
                "type": kind, "subtype": value, "message": value, "event": value, "request": value, "response": value,
                "request_id": value, "tasks": value, "patch": value, "usage": value, "uuid": value, "tool_result_meta": value,
            });
            survives(&mut *wire, line.to_string().as_bytes());
        }
        wire.finish(&mut Vec::new());
    }

    /// Real lines in any order, each perhaps with a few bytes changed or its end cut off.
    #[test]
    fn no_damage_to_real_lines_makes_it_panic(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..60),
    ) {
        thread_local!(static LINES: Vec<Vec<u8>> = real_lines());
        LINES.with(|lines| {
            let mut wire = wire(seed());
            for (line, at, byte, damage) in picks {
                let mut line = lines[line.index(lines.len())].clone();
                let at = at.index(line.len());
                match damage {
                    0 => line[at] = byte,
                    1 => line.truncate(at),
                    _ => {}
                }
                survives(&mut *wire, &line);
            }
            wire.finish(&mut Vec::new());
        });
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        prop_oneof![
            "[a-z_]{0,8}",
            Just("text".to_owned()),
            Just("tool_use".to_owned()),
            Just("can_use_tool".to_owned())
        ]
        .prop_map(serde_json::Value::from),
    ];
    let name = prop_oneof![
        Just("type"),
        Just("subtype"),
        Just("content"),
        Just("id"),
        Just("index"),
        Just("delta"),
        Just("text"),
        Just("tool_use_id"),
        Just("input"),
        Just("message"),
        Just("model"),
        Just("status"),
        Just("task_id"),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
