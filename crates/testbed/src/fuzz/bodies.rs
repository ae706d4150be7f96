//! Bodies and queries of requests, and the names in their paths.

use std::fmt::{Debug, Display, Write as _};
use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;
use lockkeeper_api::id::{CallerName, ClaimNo, GateNo, PromptNo, SessionName, TurnNo};
use lockkeeper_api::{
    AuditListQuery, BypassRequest, ClaimQuery, ClaimRenewal, ClaimRequest, Cursor, DecisionRequest,
    DeliveryQuery, EventQuery, GateQuery, InnerReference, InterruptRequest, ItemQuery, JournalQuery,
    NewSession, PauseRequest, PromptEdit, PromptRequest, RatingSpec, Reference, RuleOfferQuery, RuleOwner,
    RuleQuery, RuleSpec, RuleTest, SessionPatch, SessionQuery, SettingsRequest, StopRequest, Time, WaitQuery,
    WebhookTest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is taken is understood: written again it means the same.
pub fn bodies(bytes: &[u8]) {
    // The daemon refuses lists, which would be taken for the members in their order.
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        body::<NewSession>(bytes);
        body::<SessionPatch>(bytes);
        body::<SettingsRequest>(bytes);
        body::<BypassRequest>(bytes);
        body::<InterruptRequest>(bytes);
        body::<PromptRequest>(bytes);
        body::<PromptEdit>(bytes);
        body::<ClaimRequest>(bytes);
        body::<ClaimRenewal>(bytes);
        body::<RuleSpec>(bytes);
        body::<RatingSpec>(bytes);
        body::<RuleTest>(bytes);
        body::<WebhookTest>(bytes);
        body::<StopRequest>(bytes);
        body::<PauseRequest>(bytes);
        if let Some(request) = body::<DecisionRequest>(bytes) {
            let always = request.always.clone();
            if let Ok(decision) = request.clone().into_decision() {
                let hash = request.input_hash.clone();
                let again = DecisionRequest { input_hash: hash, always, ..DecisionRequest::from(decision) };
                assert_eq!(again, request, "a decision is all that was asked for");
            }
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    query::<SessionQuery>(text);
    query::<WaitQuery>(text);
    query::<EventQuery>(text);
    query::<GateQuery>(text);
    query::<ItemQuery>(text);
    query::<JournalQuery>(text);
    query::<ClaimQuery>(text);
    query::<RuleQuery>(text);
    query::<RuleOwner>(text);
    query::<RuleOfferQuery>(text);
    query::<AuditListQuery>(text);
    query::<DeliveryQuery>(text);
    word::<Reference>(text);
    word::<InnerReference<GateNo>>(text);
    word::<InnerReference<PromptNo>>(text);
    word::<InnerReference<TurnNo>>(text);
    word::<InnerReference<ClaimNo>>(text);
    word::<SessionName>(text);
    word::<CallerName>(text);
    word::<Cursor>(text);
    word::<Time>(text);
}

fn body<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let taken: T = serde_json::from_slice(bytes).ok()?;
    let text = printed(&taken);
    let again: Result<T, _> = serde_json::from_str(&text);
    assert!(again.as_ref().is_ok_and(|again| *again == taken), "{taken:?} is written as {text}: {again:?}");
    Some(taken)
}

fn query<T: DeserializeOwned + Serialize + PartialEq + Debug>(text: &str) {
    let Some(taken) = asked::<T>(text) else { return };
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(&taken) else {
        super::broken(&format!("{taken:?} is no list of members"))
    };
    let pairs: Vec<String> = members.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    let text = pairs.join("&");
    assert_eq!(asked::<T>(&text).as_ref(), Some(&taken), "written as {text}");
}

/// What a query means, read as the daemon reads it.
fn asked<T: DeserializeOwned>(text: &str) -> Option<T> {
    let uri: Uri = format!("/?{text}").parse().ok()?;
    Query::<T>::try_from_uri(&uri).ok().map(|query| query.0)
}

fn plain(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.bytes().fold(String::new(), |mut encoded, byte| {
        // Writing to a text cannot fail.
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}

fn word<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    let Ok(taken) = text.parse::<T>() else { return };
    let again = taken.to_string();
    assert_eq!(again.parse::<T>().ok().as_ref(), Some(&taken), "written as {again:?}");
}

fn printed<T: Serialize + Debug>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| super::broken(&format!("{value:?}: {error}")))
}
