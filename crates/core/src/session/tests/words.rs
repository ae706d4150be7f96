//! Words that people, clients and the store all use.

use serde::Serialize;
use serde_json::Value;

use super::world::World;
use crate::gate::{Decision, Through, Verdict};
use crate::id::{ClaimNo, PromptNo, SESSION_ID_CHARS, SessionId};
use crate::json::Json;
use crate::manner::{Rung, Scope, Unasked};
use crate::notice::NoticeKind;
use crate::policy::{Effect, Layer, Risk, RuleScope, ToolKind};
use crate::prompt::Class;
use crate::session::{EndReason as End, Why};
use crate::turn::{FailureKind as Kind, Outcome, Preemptor};

/// How it is stored: the name of the variant, whatever it holds.
fn stored(value: &impl Serialize) -> String {
    match serde_json::to_value(value).unwrap() {
        Value::String(name) => name,
        Value::Object(members) => members.keys().next().unwrap().clone(),
        other => panic!("{other}"),
    }
}

fn told_as_stored<T: Serialize>(values: impl IntoIterator<Item = T>, word: impl Fn(&T) -> &'static str) {
    for value in values {
        assert_eq!(word(&value), stored(&value));
    }
}

#[test]
fn what_people_read_is_what_is_stored() {
    let (leader, tree) = (Scope::Leader, Scope::Tree);
    let rungs = [Rung::Request, Rung::CloseStdin, Rung::Sigint(leader), Rung::Sigterm(tree), Rung::Kill];
    told_as_stored(rungs, |rung| rung.word());
    told_as_stored(Unasked::ALL, |unasked| unasked.word());
    told_as_stored(NoticeKind::ALL, |kind| kind.word());
    told_as_stored(Class::ALL, |class| class.word());
    told_as_stored(Effect::ALL, |effect| effect.word());
    told_as_stored(Risk::ALL, |risk| risk.word());
    told_as_stored(RuleScope::ALL, |scope| scope.word());
    told_as_stored(ToolKind::ALL, |kind| kind.word());
    told_as_stored([Layer::Admin, Layer::User, Layer::Project, Layer::Session], |layer| layer.word());
    told_as_stored(
        [End::Turn, End::Launch, End::Handshake, End::ConversationLost, End::CrashLoop],
        |reason| reason.word(),
    );
    told_as_stored(
        [Kind::Agent, Kind::Api, Kind::RateLimit, Kind::Login, Kind::Protocol, Kind::Exit, Kind::Deadline],
        |kind| kind.word(),
    );
    told_as_stored(
        [
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
        ],
        |why| why.word(),
    );
    let text = String::new;
    told_as_stored(
        [
            Outcome::Completed,
            Outcome::Interrupted { by: text() },
            Outcome::Preempted { by: Preemptor::Prompt(PromptNo(1)) },
            Outcome::Refused,
            Outcome::Limit { which: text() },
            Outcome::Failed { kind: Kind::Api, message: text() },
            Outcome::Unknown { why: text() },
        ],
        Outcome::word,
    );
    assert_eq!(Preemptor::Prompt(PromptNo(3)).to_string(), "p3");
    assert_eq!(Preemptor::Claim(ClaimNo(4)).to_string(), ClaimNo(4).to_string());
}

#[test]
fn what_an_agent_does_unasked_is_told_in_a_sentence() {
    insta::assert_snapshot!(Unasked::ALL.map(Unasked::told).join("\n"));
}

#[test]
fn a_session_id_is_twelve_characters_of_its_alphabet() {
    let id = SessionId::from_random(u64::MAX);
    let text = "z".repeat(SESSION_ID_CHARS);
    assert_eq!((id.as_str(), id.to_string()), (text.as_str(), text.clone()));
    assert_eq!(format!("{id:?}"), format!("SessionId({text})"));
    assert_eq!("0123456789ab".parse::<SessionId>().unwrap().as_str(), "0123456789ab");
    for bad in ["", "0123456789a", "0123456789abc", "0123456789ai", "0123456789aB", "0123456789a "] {
        let refused = bad.parse::<SessionId>().unwrap_err().to_string();
        assert!(refused.contains("12 characters"), "{bad:?}: {refused}");
    }
}

#[test]
fn json_shows_itself_where_it_is_looked_at() {
    let json = Json::parse(r#"{"b": 1,  "a":[]}"#).unwrap();
    assert_eq!(format!("{json:?}"), r#"{"b": 1,  "a":[]}"#);
}

#[test]
fn a_verdict_says_through_what_it_came_unless_somebody_looked_at_it() {
    let verdict = |through| {
        let (by, at) = ("ann".to_owned(), World::idle().env.now);
        let verdict = Verdict { decision: Decision::Allow, by, through, rules: Vec::new(), at };
        serde_json::to_value(verdict).unwrap().get("through").cloned()
    };
    assert_eq!(verdict(Through::Person), None);
    for (through, name) in [
        (Through::Rule, "rule"),
        (Through::Bypass, "bypass"),
        (Through::Expiry, "expiry"),
        (Through::Agent, "agent"),
    ] {
        assert_eq!(verdict(through), Some(Value::from(name)));
    }
}
