//! Names, words and texts: what people type and read.

use std::sync::Arc;

use crate::gate::{Ask, Decision, GateKind, Through, Verdict};
use crate::id::{
    AgentName, AgentSessionId, AttemptNo, CallerName, ClaimNo, GateNo, PromptNo, SESSION_ID_CHARS, SessionId,
    SessionName, TurnNo,
};
use crate::json::Json;
use crate::manner::{Rung, Scope, Unasked};
use crate::notice::NoticeKind;
use crate::policy::{Effect, Layer, Risk, RuleScope, ToolKind};
use crate::prompt::Class;
use crate::session::{EndReason, Rejection, Signal, Why};
use crate::time::{AwakeMs, BootId, Stamp};
use crate::turn::{FailureKind, Outcome, Preemptor};

#[test]
fn a_session_id_is_twelve_letters_and_reads_back() {
    for bits in [0, 1, 31, 32, 0x0123_4567_89ab_cdef, u64::MAX] {
        let id = SessionId::from_random(bits);
        assert_eq!(id.as_str().len(), SESSION_ID_CHARS);
        assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
        assert_eq!(serde_json::from_str::<SessionId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
    assert_eq!(SessionId::from_random(0).as_str(), "000000000000");
    assert_eq!(SessionId::from_random(33).as_str(), "110000000000");
    assert_ne!(SessionId::from_random(1), SessionId::from_random(1 << 55), "all sixty bits count");
    assert_eq!(format!("{:?}", SessionId::from_random(0)), "SessionId(000000000000)");
    for bad in ["", "00000000000", "0000000000000", "00000000000i", "00000000000A", "00000000000é"] {
        assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        assert!(serde_json::from_str::<SessionId>(&format!("{bad:?}")).is_err());
    }
}

#[test]
fn numbers_are_named_with_their_session_and_read_with_or_without_their_letter() {
    let session = SessionId::from_random(0);
    assert_eq!(GateNo(3).of(&session), "000000000000.g3");
    assert_eq!(
        (TurnNo(7).to_string(), AttemptNo(1).to_string(), PromptNo(2).to_string()),
        ("t7".into(), "a1".into(), "p2".into())
    );
    assert_eq!("t7".parse::<TurnNo>().unwrap(), TurnNo(7));
    assert_eq!("7".parse::<TurnNo>().unwrap(), TurnNo(7));
    assert_eq!((TurnNo(7).next(), TurnNo(u32::MAX).next()), (TurnNo(8), TurnNo(u32::MAX)));
    for bad in ["", "t", "0", "t0", "g7", "+7", "-1", "7 ", "4294967296", "tt7"] {
        assert!(bad.parse::<TurnNo>().is_err(), "{bad:?}");
    }
}

#[test]
fn names_have_their_alphabets_and_lengths() {
    assert!("claude-2".parse::<AgentName>().is_ok());
    for bad in ["", "Claude", "a b", "a_b", &"a".repeat(41)] {
        assert!(bad.parse::<AgentName>().is_err(), "{bad:?}");
    }
    assert!("a".repeat(40).parse::<AgentName>().is_ok());
    assert!("Fix_tests-2".parse::<SessionName>().is_ok());
    for bad in ["", "a b", "a/b", "é", &"a".repeat(64)] {
        assert!(bad.parse::<SessionName>().is_err(), "{bad:?}");
    }
    for good in ["ci", "Night.watch_2-b", ".", &"a".repeat(64)] {
        assert!(good.parse::<CallerName>().is_ok(), "{good:?}");
    }
    for bad in ["", "a b", "a/b", "session:0", "é", "a\n", &"a".repeat(65)] {
        assert!(bad.parse::<CallerName>().is_err(), "{bad:?}");
    }
    let bad = "\u{7f}".parse::<AgentSessionId>().unwrap_err();
    assert_eq!(
        bad.to_string(),
        "\"\\u{7f}\" is not a valid agent session id: up to 200 visible ASCII characters"
    );
    assert_eq!("x".repeat(300).parse::<AgentSessionId>().unwrap_err().text.len(), 80);
    let name: SessionName = "one".parse().unwrap();
    assert_eq!(
        (name.as_str(), String::from(name.clone()), name.to_string()),
        ("one", "one".into(), "one".into())
    );
    assert!(serde_json::from_str::<SessionName>("\"a b\"").is_err());
}

#[test]
fn json_keeps_its_bytes_and_its_hash_binds_to_them() {
    let text = "{\"b\": 1,  \"a\":[1.0, \"\\u0041\"]}";
    let json = Json::parse(text).unwrap();
    assert_eq!((json.as_str(), json.raw().get()), (text, text));
    assert_eq!(format!("{json:?}"), text);
    assert_eq!(json.value()["a"][1], "A");
    assert_ne!(
        json,
        Json::parse("{\"b\":1,\"a\":[1.0,\"A\"]}").unwrap(),
        "the same value in other bytes is another"
    );
    assert_eq!(
        Json::parse("{}").unwrap().hash(),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    assert_eq!(Json::of(&[1, 2]).unwrap().as_str(), "[1,2]");
    for bad in ["", "{", "1 2", "nope"] {
        assert!(Json::parse(bad).is_err(), "{bad:?}");
    }
    let ask = Ask {
        request: Json::parse("7").unwrap(),
        kind: GateKind::Question,
        tool: "AskUserQuestion".to_owned(),
        input: json.clone(),
        title: None,
        call: None,
        reason: None,
        beside_turn: false,
        announced: false,
        suggestions: None,
    };
    let printed = serde_json::to_string(&ask).unwrap();
    assert!(printed.contains(text), "{printed}");
    assert_eq!(serde_json::from_str::<Ask>(&printed).unwrap(), ask);
}

#[test]
fn moments_compare_within_a_boot_only() {
    let at = |awake, boot: &str| Stamp { wall_ms: 0, awake: AwakeMs(awake), boot: BootId(Arc::from(boot)) };
    assert_eq!(at(7, "a").awake_since(&at(3, "a")), Some(4));
    assert_eq!(at(3, "a").awake_since(&at(7, "a")), Some(0));
    assert_eq!(at(7, "a").awake_since(&at(3, "b")), None);
    assert_eq!(AwakeMs(u64::MAX).plus(1), AwakeMs(u64::MAX));
}

#[test]
fn classes_are_ordered() {
    assert!(Class::Background < Class::Normal && Class::Normal < Class::Urgent);
}

#[test]
fn every_word_is_the_one_that_is_stored() {
    fn stored(value: impl serde::Serialize) -> String {
        let text = serde_json::to_string(&value).unwrap();
        text.trim_matches(['"', '{', '}']).split('"').next().unwrap_or_default().to_owned()
    }
    for why in [
        Why::Spawn,
        Why::Handshake,
        Why::StdinWrite,
        Why::ControlReply,
        Why::Silence,
        Why::Turn,
        Why::Rung,
        Why::Settle,
        Why::Backoff,
        Why::Claim,
        Why::Limit,
        Why::GateWarning,
        Why::Gate,
        Why::Bypass,
    ] {
        assert_eq!(why.word(), stored(why));
    }
    for effect in Effect::ALL {
        assert_eq!((effect.word(), effect.word().parse().ok()), (stored(effect).as_str(), Some(effect)));
    }
    for risk in Risk::ALL {
        assert_eq!((risk.word(), risk.word().parse().ok()), (stored(risk).as_str(), Some(risk)));
    }
    for kind in ToolKind::ALL {
        assert_eq!((kind.word(), kind.word().parse().ok()), (stored(kind).as_str(), Some(kind)));
    }
    for scope in RuleScope::ALL {
        assert_eq!((scope.word(), scope.word().parse().ok()), (stored(scope).as_str(), Some(scope)));
        assert_eq!(scope.to_string(), scope.word());
    }
    for class in Class::ALL {
        assert_eq!(class.word(), stored(class));
    }
    for kind in NoticeKind::ALL {
        assert_eq!(kind.word(), stored(kind));
    }
    for unasked in Unasked::ALL {
        assert_eq!(unasked.word(), stored(unasked));
    }
    for layer in [Layer::Admin, Layer::User, Layer::Project, Layer::Session] {
        assert_eq!(layer.word(), stored(layer));
    }
    for kind in [
        FailureKind::Agent,
        FailureKind::Api,
        FailureKind::RateLimit,
        FailureKind::Login,
        FailureKind::Protocol,
        FailureKind::Exit,
        FailureKind::Deadline,
    ] {
        assert_eq!(kind.word(), stored(kind));
    }
    for reason in [
        EndReason::Turn,
        EndReason::Launch,
        EndReason::Handshake,
        EndReason::ConversationLost,
        EndReason::CrashLoop,
    ] {
        assert_eq!(reason.word(), stored(reason));
    }
    let text = String::new;
    for outcome in [
        Outcome::Completed,
        Outcome::Interrupted { by: text() },
        Outcome::Preempted { by: Preemptor::Prompt(PromptNo(1)) },
        Outcome::Refused,
        Outcome::Limit { which: text() },
        Outcome::Failed { kind: FailureKind::Exit, message: text() },
        Outcome::Unknown { why: text() },
    ] {
        assert_eq!(outcome.word(), stored(&outcome));
    }
    for rung in [
        Rung::Request,
        Rung::CloseStdin,
        Rung::Sigint(Scope::Leader),
        Rung::Sigterm(Scope::Group),
        Rung::Kill,
    ] {
        assert_eq!(rung.word(), stored(rung));
    }
    assert_eq!([Signal::Int, Signal::Term, Signal::Kill].map(Signal::number), [2, 15, 9]);
    let preemptors = [Preemptor::Prompt(PromptNo(3)), Preemptor::Claim(ClaimNo(4))];
    assert_eq!(preemptors.map(|by| by.to_string()), ["p3", "k4"]);
}

#[test]
fn what_an_agent_does_unasked_is_told_in_a_sentence() {
    insta::assert_snapshot!(Unasked::ALL.map(Unasked::told).join("\n"));
}

#[test]
fn a_verdict_says_by_what_right_unless_a_person_looked() {
    let stored = |through| {
        let at = Stamp { wall_ms: 1, awake: AwakeMs(2), boot: BootId("b".into()) };
        let verdict =
            Verdict { decision: Decision::Allow, by: "ann".to_owned(), through, rules: Vec::new(), at };
        let value = serde_json::to_value(&verdict).unwrap();
        assert_eq!(serde_json::from_value::<Verdict>(value.clone()).unwrap(), verdict);
        value.get("through").cloned()
    };
    let all = [Through::Person, Through::Rule, Through::Bypass, Through::Expiry, Through::Agent];
    let word = |word: &str| Some(word.into());
    assert_eq!(all.map(stored), [None, word("rule"), word("bypass"), word("expiry"), word("agent")]);
}

#[test]
fn o46_every_rejection_has_a_code_of_its_own_and_says_what_is_wrong() {
    let (turn, gate, prompt, limit) = (TurnNo(2), GateNo(3), PromptNo(4), 5);
    let all = [
        Rejection::EmptyPrompt,
        Rejection::PromptTooLong { bytes: 9, limit },
        Rejection::QueueFull { limit },
        Rejection::Stopping,
        Rejection::NameTaken { name: "one".to_owned() },
        Rejection::StaleTurn { turn, outcome: Some("completed".to_owned()) },
        Rejection::UnknownTurn { turn },
        Rejection::UnknownGate { gate },
        Rejection::GateDecided { gate, how: "allowed", by: "ann".to_owned() },
        Rejection::DecisionMismatch { gate, why: "no".into() },
        Rejection::DecisionTooLong { limit },
        Rejection::UnknownPrompt { prompt },
        Rejection::NothingToSet,
        Rejection::BadValue { what: "the model", limit },
        Rejection::TooManyLabels { limit },
        Rejection::Unsettled,
        Rejection::ForeignClaim { claim: ClaimNo(6), owner: "ann/ci".to_owned() },
    ];
    let lines: Vec<String> = all
        .iter()
        .map(|r| format!("{} {}: {r}", if r.is_bad_input() { 422 } else { 409 }, r.code()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(Rejection::StaleTurn { turn, outcome: None }.to_string(), "turn t2 has ended");
}
