//! What is written to the agent, compared with what the recordings wrote.

use crate::support::{replay, seed, sent, session, steps, wire};
use lockkeeper_agents::{Conversation, Decoded, LaunchRequest, Program, registry};
use lockkeeper_core::agent::{Action, AgentSays};
use lockkeeper_core::gate::{Ask, Decision, GateKind};
use lockkeeper_core::id::{AttemptNo, ControlNo, GateNo, PromptNo, TurnNo};
use lockkeeper_core::json::Json;
use lockkeeper_core::manner::Rung;
use lockkeeper_core::session::ExitHint;
use serde_json::{Value, json};

fn encoded(action: &Action, prompt: &str) -> String {
    let bytes = wire(seed()).encode(action, prompt);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text:?} is one line");
    assert_eq!(wire(seed()).encode(action, prompt), text.as_bytes(), "every wire makes the same bytes");
    text
}

fn value(action: &Action) -> Value {
    serde_json::from_str(&encoded(action, "")).unwrap()
}

fn answer(ask: &Ask, decision: Decision) -> Value {
    value(&Action::Answer {
        gate: GateNo(1),
        request: ask.request.clone(),
        input: ask.input.clone(),
        decision,
        kind: ask.kind,
        announced: ask.announced,
    })
}

/// What 2.1.197 asked in `permission-all-answers`, in order.
fn asks() -> Vec<Ask> {
    asks_of("permission-all-answers")
}

fn asks_of(transcript: &str) -> Vec<Ask> {
    let said = replay(&mut *wire(seed()), &steps(transcript));
    said.into_iter()
        .flatten()
        .filter_map(|decoded| match decoded {
            Decoded::Says(AgentSays::Asked { ask, .. }) => Some(ask),
            Decoded::Says(_) | Decoded::Delta { .. } | Decoded::Dropped { .. } => None,
        })
        .collect()
}

#[test]
fn answers_are_those_that_the_real_agent_took() {
    let sent = sent("permission-all-answers");
    let recorded: Vec<&Value> = sent.iter().filter(|line| line["type"] == "control_response").collect();
    let asks = asks();
    let json = |text: &str| Json::parse(text).unwrap();
    assert_eq!(&answer(&asks[0], Decision::Allow), recorded[0]);
    let denied = answer(&asks[1], Decision::Deny { message: "NO because policy".to_owned() });
    let mut want = recorded[1].clone();
    want["response"]["response"]["interrupt"] = json!(false);
    assert_eq!(denied, want);
    let edited =
        answer(&asks[3], Decision::Edit { input: json(r#"{"command":"touch /workspace/f4-edited"}"#) });
    assert_eq!(&edited, recorded[3]);
    let question = asks.iter().find(|ask| ask.kind == GateKind::Question).unwrap();
    let answered = answer(question, Decision::Answer { answers: json(r#"{"Which?":"B"}"#) });
    let want =
        recorded.iter().find(|line| line["response"]["request_id"] == question.request.value()).unwrap();
    assert_eq!(&&answered, want);
    let write = asks.iter().find(|ask| ask.tool == "Write").unwrap();
    let want = recorded.iter().find(|line| line["response"]["request_id"] == write.request.value()).unwrap();
    assert_eq!(&&answer(write, Decision::Allow), want);
}

#[test]
fn servers_are_answered_as_the_real_agent_took_it() {
    let content = r#"{"name":"Ada","age":36,"colour":"blue","news":true}"#;
    let filled_in = || Decision::Answer { answers: Json::parse(content).unwrap() };
    let no = || Decision::Deny { message: "not said to the server".to_owned() };
    let form = Some("Who are you?");
    for (transcript, decisions) in [
        ("elicitation", vec![(form, filled_in()), (form, no())]),
        (
            "newer-elicitation",
            vec![(form, filled_in()), (form, no()), (None, Decision::Allow), (None, Decision::Allow)],
        ),
    ] {
        let sent = sent(transcript);
        let asks = asks_of(transcript);
        let answer_to = |ask: &Ask| {
            let to = |line: &&Value| line["response"]["request_id"] == ask.request.value();
            sent.iter().find(to).unwrap().clone()
        };
        for (ask, (message, decision)) in asks.iter().zip(decisions) {
            let input = ask.input.value();
            assert_eq!((ask.kind, &input["server"]), (GateKind::Elicitation, &json!("asker")));
            assert_eq!(input["requested_schema"]["required"].is_array(), message.is_some(), "{input}");
            assert_eq!(input["url"].is_string(), message.is_none(), "{input}");
            assert_eq!(answer(ask, decision), answer_to(ask));
        }
        let cancelled = asks.last().unwrap();
        let dismissed = value(&Action::Dismiss { request: cancelled.request.clone() });
        assert_eq!(dismissed, answer_to(cancelled));
    }
}

#[test]
fn an_input_keeps_its_bytes_and_never_breaks_the_line() {
    let ask = Ask { input: Json::parse("{\"b\":1.50,\n \"a\":[1,\r\n2]}").unwrap(), ..asks()[0].clone() };
    let line = encoded(
        &Action::Answer {
            gate: GateNo(1),
            request: ask.request,
            input: ask.input,
            decision: Decision::Allow,
            kind: GateKind::Permission,
            announced: false,
        },
        "",
    );
    assert!(line.contains("\"updatedInput\":{\"b\":1.50,  \"a\":[1,  2]}"), "{line}");
}

#[test]
fn answers_replace_those_that_the_input_brought_along() {
    let input = Json::parse(r#"{"questions":[],"answers":{"Which?":"A"},"z":1}"#).unwrap();
    let ask = Ask { input, ..asks()[0].clone() };
    let line = answer(&ask, Decision::Answer { answers: Json::parse(r#"{"Which?":"B"}"#).unwrap() });
    assert_eq!(
        line["response"]["response"]["updatedInput"],
        json!({ "questions": [], "z": 1, "answers": { "Which?": "B" } })
    );
}

#[test]
fn a_denial_without_a_word_still_carries_a_message() {
    let line = answer(&asks()[0], Decision::Deny { message: String::new() });
    assert_eq!(
        line["response"]["response"],
        json!({ "behavior": "deny", "message": "Denied.", "interrupt": false })
    );
}

#[test]
fn the_type_of_a_request_id_is_echoed_unchanged() {
    for id in ["7", "\"7\"", "null", "\"a\\u00e4\""] {
        let request = Json::parse(id).unwrap();
        let line = encoded(&Action::Refuse { request, message: "no".to_owned() }, "");
        let want = format!(
            "{{\"type\":\"control_response\",\"response\":{{\"subtype\":\"error\",\"request_id\":{id},\"error\":\"no\"}}}}\n"
        );
        assert_eq!(line, want);
    }
}

#[test]
fn requests_have_the_recorded_shape_and_carry_our_numbers() {
    let control = ControlNo(7);
    assert_eq!(
        encoded(&Action::Initialize, ""),
        "{\"type\":\"control_request\",\"request_id\":\"lk-init\",\"request\":{\"subtype\":\"initialize\"}}\n"
    );
    let mut recorded = sent("control-requests-and-end-session");
    recorded.extend(sent("newer-message-lifecycle-and-cancel-queued"));
    for (action, id) in [
        (Action::Interrupt { control }, "i2"),
        (Action::SetModel { control, model: "claude-fake-1".to_owned() }, "r-set_model"),
        (Action::SetMode { control, mode: "acceptEdits".to_owned() }, "r-set_permission_mode"),
    ] {
        let mut want = recorded.iter().find(|line| line["request_id"] == id).unwrap().clone();
        want["request_id"] = json!("lk-c7");
        assert_eq!(value(&action), want);
    }
}

#[test]
fn a_prompt_has_a_uuid_of_its_own_for_each_turn_and_attempt() {
    let prompt = |turn| Action::Prompt { turn: TurnNo(turn), prompt: PromptNo(1) };
    let recorded = sent("queueing-priority-later-and-no-query");
    let mut want = recorded.iter().find(|line| line["priority"] == "later").unwrap().clone();
    let line = encoded(&prompt(1), "SAY later-msg");
    let got: Value = serde_json::from_str(&line).unwrap();
    want["uuid"] = got["uuid"].clone();
    assert_eq!(got, want);
    assert_eq!(
        got["uuid"], "d0cee81a-654f-5b4b-a04d-02b2c7a77135",
        "must never change: the agent remembers it"
    );
    assert_ne!(encoded(&prompt(2), "SAY later-msg"), line);
    let mut other = seed();
    other.attempt = AttemptNo(2);
    assert_ne!(wire(other).encode(&prompt(1), "SAY later-msg"), line.as_bytes());
}

#[test]
fn a_prompt_of_several_lines_is_one_line() {
    let line = encoded(&Action::Prompt { turn: TurnNo(1), prompt: PromptNo(1) }, "a\r\nb\u{2028}c\u{0}");
    let got: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(got["message"]["content"], "a\r\nb\u{2028}c\u{0}");
}

fn request(conversation: Conversation) -> LaunchRequest {
    LaunchRequest {
        session: session(),
        attempt: AttemptNo(1),
        model: Some("-opus".to_owned()),
        mode: Some("plan".to_owned()),
        conversation,
        extra_args: vec!["--add-dir".to_owned(), "/x y".to_owned()],
    }
}

#[test]
fn a_launch_names_its_conversation() {
    let claude = registry::find("claude").unwrap();
    let new = claude.launch(&request(Conversation::New));
    assert_eq!(new.program, Program::OnPath(&["claude"]));
    let id = new.conversation.clone().unwrap();
    assert_eq!(
        id.as_str(),
        "0389590b-5039-5c65-b17a-6733768402d5",
        "must never change: sessions are resumed by it"
    );
    let text = new.args.join(" ");
    assert_eq!(
        text,
        format!(
            "-p --input-format stream-json --output-format stream-json --verbose --include-partial-messages \
             --permission-prompt-tool stdio --replay-user-messages --session-id={id} --model=-opus \
             --permission-mode=plan --add-dir /x y"
        )
    );
    assert!(new.env_remove.contains(&"CLAUDECODE".to_owned()));
    let resumed = claude.launch(&request(Conversation::Resume(id.clone())));
    assert!(
        resumed.args.contains(&format!("--resume={id}")) && !resumed.args.join(" ").contains("--session-id")
    );
    assert_eq!(resumed.conversation, Some(id));
}

#[test]
fn the_demonstration_agent_is_our_own_binary_with_the_same_dialect() {
    let demo = registry::find("demo").unwrap();
    let launch = demo.launch(&request(Conversation::New));
    assert_eq!(launch.program, Program::OwnBinary);
    assert_eq!(launch.args[0], "demo-agent");
    assert_eq!(
        demo.wire(seed()).encode(&Action::Initialize, ""),
        wire(seed()).encode(&Action::Initialize, "")
    );
}

#[test]
fn names_in_the_registry_are_unique_and_found() {
    for adapter in registry::all() {
        assert_eq!(
            registry::find(adapter.name()).map(lockkeeper_agents::Adapter::name),
            Some(adapter.name())
        );
        assert!(adapter.name().parse::<lockkeeper_core::id::AgentName>().is_ok());
        let manner = adapter.manner();
        assert!(manner.interrupt.iter().chain(&manner.stop).all(|rung| !matches!(rung, Rung::Sigterm(_))));
        assert!(manner.silence_ms > 360_000, "the first retry of a silent model comes after 360 s");
    }
    assert!(registry::find("nobody").is_none());
}

#[test]
fn versions_are_read() {
    let claude = registry::find("claude").unwrap();
    assert_eq!(claude.parse_version("2.1.329 (Claude Code)\n").as_deref(), Some("2.1.329"));
    assert_eq!(claude.parse_version("claude v2.1.197").as_deref(), Some("2.1.197"));
    assert_eq!(claude.parse_version("command not found"), None);
}

#[test]
fn last_words_on_standard_error_tell_why_it_ended() {
    let claude = registry::find("claude").unwrap();
    let hint = |line: &str| {
        claude.classify_exit(&["Ignoring 1 permissions.allow entry".to_owned(), line.to_owned()])
    };
    for (line, want) in [
        (
            "Error: Session ID 2a577d45-bb4d-4d00-be5b-f69337550471 is already in use.\n",
            Some(ExitHint::ConversationInUse),
        ),
        (
            "No conversation found with session ID: 68610853-ebe1-49a1-9a8b-fb7ba3dd0b3b\n",
            Some(ExitHint::ConversationLost),
        ),
        (
            "Error: --resume requires a valid session ID or session title when used with --print.",
            Some(ExitHint::ConversationLost),
        ),
        ("error: unknown option '--no-such-flag'\n", Some(ExitHint::BadFlag)),
        (
            "Error: --session-id can only be used with --continue or --resume if --fork-session is also specified.",
            Some(ExitHint::BadFlag),
        ),
        ("Not logged in · Please run /login", Some(ExitHint::NotLoggedIn)),
        ("Error parsing streaming input line: {", None),
        // Of a server of the agent's, not of the agent.
        ("gh: you are not logged in to any host", None),
    ] {
        assert_eq!(hint(line), want, "{line}");
    }
    assert_eq!(claude.classify_exit(&[]), None);
}

#[test]
fn an_agent_that_is_guarded_announces_every_step_and_is_answered_as_hooks_are() {
    let initialize = value(&Action::InitializeGuarded);
    let hook = &initialize["request"]["hooks"]["PreToolUse"][0];
    assert_eq!(
        hook,
        &json!({"matcher": "*", "hookCallbackIds": ["lk"], "timeout": 2_147_483, "onFailure": "block"})
    );
    assert_eq!(value(&Action::Initialize)["request"], json!({"subtype": "initialize"}));
    let line = json!({"type": "control_request", "request_id": "r9", "request": {
        "subtype": "hook_callback", "callback_id": "lk", "tool_use_id": "toolu_1",
        "input": {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "rm x"},
                  "tool_use_id": "toolu_1"}}});
    let mut wire = wire(seed());
    let mut said = Vec::new();
    wire.decode(line.to_string().as_bytes(), &mut said);
    let [Decoded::Says(AgentSays::Asked { ask, tool_use })] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((ask.announced, ask.tool.as_str(), tool_use.command.as_deref()), (true, "Bash", Some("rm x")));
    let says =
        |decision: Decision| answer(ask, decision)["response"]["response"]["hookSpecificOutput"].clone();
    let output = |more: Value| {
        let mut output = json!({"hookEventName": "PreToolUse"});
        output.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        output
    };
    assert_eq!(says(Decision::Allow), output(json!({"permissionDecision": "allow"})));
    let no = Decision::Deny { message: "no".to_owned() };
    let denied = output(json!({"permissionDecision": "deny", "permissionDecisionReason": "no"}));
    assert_eq!(says(no), denied);
    let edit = Decision::Edit { input: Json::parse(r#"{"command":"ls"}"#).unwrap() };
    let edited = output(json!({"permissionDecision": "allow", "updatedInput": {"command": "ls"}}));
    assert_eq!(says(edit), edited);
    let request = ask.request.clone();
    assert_eq!(value(&Action::Pass { request: request.clone() })["response"]["response"], json!({}));
    let stay = value(&Action::Stay { request, message: "no".to_owned() });
    assert_eq!(stay["response"]["response"]["hookSpecificOutput"], denied);
    assert_eq!(stay["response"]["subtype"], "success");
}
