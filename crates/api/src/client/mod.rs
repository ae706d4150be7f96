//! A client over the daemon's Unix socket.
//!
//! One connection per request: on a Unix socket that costs microseconds, and a restart of the daemon needs no care.
//! Nothing is tried again by itself; [`EventStream::reconnect`] continues a stream where it broke.

mod error;
mod http;
mod sse;
mod stream;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use lockkeeper_core::id::{CallerName, ClaimNo, GateNo, PromptNo};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::ClientError;
pub use http::RawBody;
pub use stream::EventStream;

use crate::{
    AgentInfo, Attempt, AuditEntry, AuditListQuery, BypassRequest, Claim, ClaimQuery, ClaimRenewal,
    ClaimRequest, Created, DaemonStatus, DecisionRequest, Delivery, DeliveryQuery, EventPage, EventQuery,
    FullSession, Gate, GateQuery, InnerReference, InterruptReceipt, InterruptRequest, Item, ItemQuery,
    JournalQuery, List, NewSession, PauseRequest, PromptEdit, PromptReceipt, PromptRequest, QueuedPrompt,
    Reference, RuleAdded, RuleList, RuleOffer, RuleOfferQuery, RuleOwner, RuleQuery, RuleScope, RuleSpec,
    RuleTest, Ruling, Session, SessionPatch, SessionQuery, SettingsReceipt, SettingsRequest, StopReceipt,
    StopRequest, Turn, UnpauseReceipt, Version, WaitQuery, Webhook, WebhookTest, WebhookTrial, Why, headers,
    limits,
};
use http::{Call, Deadline};

/// A client of one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: PathBuf,
    caller: Option<CallerName>,
    version: Mutex<Option<String>>,
}

/// What a call answers.
pub type Answer<T> = Result<T, ClientError>;

impl Client {
    /// A client of the daemon that listens there. Connects with each request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::with_caller(socket, None)
    }

    /// The same for a caller that gives itself a name, with every request.
    pub fn with_caller(socket: impl Into<PathBuf>, caller: Option<CallerName>) -> Self {
        Self { inner: Arc::new(Inner { socket: socket.into(), caller, version: Mutex::new(None) }) }
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.inner.socket
    }

    /// What the caller calls itself.
    pub fn caller(&self) -> Option<&CallerName> {
        self.inner.caller.as_ref()
    }

    /// The daemon's version, once it has answered anything.
    pub fn daemon_version(&self) -> Option<String> {
        self.inner.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn saw_version(&self, version: &str) {
        *self.inner.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.to_owned());
    }

    /// `GET /healthz`: whether the daemon listens.
    pub async fn health(&self) -> Answer<()> {
        let limit = Duration::from_millis(limits::CONNECT_MS);
        self.text(Call { deadline: Deadline::Within(limit), ..Call::get("/healthz".to_owned()) })
            .await
            .map(drop)
    }

    /// `GET /readyz`: whether it is known what became of every session.
    pub async fn ready(&self) -> Answer<()> {
        self.text(Call::get("/readyz".to_owned())).await.map(drop)
    }

    /// `GET /version`
    pub async fn version(&self) -> Answer<Version> {
        self.get("/version").await
    }

    /// `GET /v1/status`
    pub async fn status(&self) -> Answer<DaemonStatus> {
        self.get("/v1/status").await
    }

    /// `POST /v1/daemon/stop`
    pub async fn stop_daemon(&self, request: StopRequest) -> Answer<DaemonStatus> {
        self.post("/v1/daemon/stop", &request).await
    }

    /// `POST /v1/daemon/pause`
    pub async fn pause_daemon(&self, request: &PauseRequest) -> Answer<DaemonStatus> {
        self.post("/v1/daemon/pause", request).await
    }

    /// `POST /v1/daemon/unpause`
    pub async fn unpause_daemon(&self) -> Answer<UnpauseReceipt> {
        self.json(Call { method: Method::POST, ..Call::get("/v1/daemon/unpause".to_owned()) }).await
    }

    /// `GET /v1/agents`
    pub async fn agents(&self) -> Answer<List<AgentInfo>> {
        self.get("/v1/agents").await
    }

    /// `GET /v1/sessions`
    pub async fn sessions(&self, query: &SessionQuery) -> Answer<List<Session>> {
        self.get(&with_query("/v1/sessions", query)).await
    }

    /// `POST /v1/sessions`
    pub async fn create(&self, session: &NewSession, key: Option<&str>) -> Answer<Created> {
        self.json(Call { key, ..Call::with_body(Method::POST, "/v1/sessions".to_owned(), session)? }).await
    }

    /// `GET /v1/sessions/{session}`
    pub async fn session(&self, session: &Reference) -> Answer<Session> {
        self.get(&path(session, "")).await
    }

    /// `GET /v1/sessions/{session}?wait=`: answers when the condition is met, or with the problem `wait_timeout`.
    pub async fn wait(&self, session: &Reference, query: WaitQuery) -> Answer<Session> {
        let room = Duration::from_millis(limits::ANSWER_MS);
        let deadline = query
            .timeout
            .map_or(Deadline::Never, |ms| Deadline::Within(Duration::from_millis(ms).saturating_add(room)));
        self.json(Call { deadline, ..Call::get(with_query(&path(session, ""), &query)) }).await
    }

    /// `PATCH /v1/sessions/{session}`
    pub async fn patch(&self, session: &Reference, patch: &SessionPatch) -> Answer<Session> {
        self.json(Call::with_body(Method::PATCH, path(session, ""), patch)?).await
    }

    /// `DELETE /v1/sessions/{session}`
    pub async fn remove(&self, session: &Reference) -> Answer<()> {
        self.text(Call { method: Method::DELETE, ..Call::get(path(session, "")) }).await.map(drop)
    }

    /// `GET /v1/sessions/{session}/full`
    pub async fn full(&self, session: &Reference) -> Answer<FullSession> {
        self.get(&path(session, "/full")).await
    }

    /// `GET /v1/sessions/{session}/why`
    pub async fn why(&self, session: &Reference) -> Answer<Why> {
        self.get(&path(session, "/why")).await
    }

    /// `GET /v1/sessions/{session}/turns`
    pub async fn turns(&self, session: &Reference) -> Answer<List<Turn>> {
        self.get(&path(session, "/turns")).await
    }

    /// `GET /v1/sessions/{session}/items`
    pub async fn items(&self, session: &Reference, query: &ItemQuery) -> Answer<List<Item>> {
        self.get(&with_query(&path(session, "/items"), query)).await
    }

    /// `GET /v1/sessions/{session}/attempts`
    pub async fn attempts(&self, session: &Reference) -> Answer<List<Attempt>> {
        self.get(&path(session, "/attempts")).await
    }

    /// `GET /v1/sessions/{session}/journal`: raw bytes, piece by piece.
    pub async fn journal(&self, session: &Reference, query: JournalQuery) -> Answer<RawBody> {
        self.raw(Call::get(with_query(&path(session, "/journal"), &query))).await
    }

    /// `GET /v1/sessions/{session}/queue`
    pub async fn queue(&self, session: &Reference) -> Answer<List<QueuedPrompt>> {
        self.get(&path(session, "/queue")).await
    }

    /// `POST /v1/sessions/{session}/prompts`
    pub async fn prompt(
        &self,
        session: &Reference,
        prompt: &PromptRequest,
        key: Option<&str>,
    ) -> Answer<PromptReceipt> {
        self.json(Call { key, ..Call::with_body(Method::POST, path(session, "/prompts"), prompt)? }).await
    }

    /// `GET /v1/prompts/{prompt}`
    pub async fn prompt_receipt(&self, prompt: &InnerReference<PromptNo>) -> Answer<PromptReceipt> {
        self.get(&format!("/v1/prompts/{prompt}")).await
    }

    /// `PATCH /v1/prompts/{prompt}`
    pub async fn edit_prompt(
        &self,
        prompt: &InnerReference<PromptNo>,
        edit: &PromptEdit,
    ) -> Answer<PromptReceipt> {
        self.json(Call::with_body(Method::PATCH, format!("/v1/prompts/{prompt}"), edit)?).await
    }

    /// `DELETE /v1/prompts/{prompt}`
    pub async fn drop_prompt(&self, prompt: &InnerReference<PromptNo>) -> Answer<PromptReceipt> {
        self.json(Call { method: Method::DELETE, ..Call::get(format!("/v1/prompts/{prompt}")) }).await
    }

    /// `POST /v1/prompts/{prompt}/release`
    pub async fn release_prompt(&self, prompt: &InnerReference<PromptNo>) -> Answer<PromptReceipt> {
        self.json(Call { method: Method::POST, ..Call::get(format!("/v1/prompts/{prompt}/release")) }).await
    }

    /// `GET /v1/sessions/{session}/claims`
    pub async fn claims(&self, session: &Reference) -> Answer<List<Claim>> {
        self.get(&path(session, "/claims")).await
    }

    /// `POST /v1/sessions/{session}/claims`
    pub async fn claim(&self, session: &Reference, request: &ClaimRequest) -> Answer<Claim> {
        self.post(&path(session, "/claims"), request).await
    }

    /// `GET /v1/sessions/{session}/claims/{claim}`: with a wait, answers when its turn has come.
    pub async fn claim_state(&self, claim: &InnerReference<ClaimNo>, query: ClaimQuery) -> Answer<Claim> {
        let room = Duration::from_millis(limits::ANSWER_MS);
        let deadline = match (query.wait, query.timeout) {
            (None, _) => Deadline::Within(room),
            (Some(_), Some(ms)) => Deadline::Within(Duration::from_millis(ms).saturating_add(room)),
            (Some(_), None) => Deadline::Never,
        };
        self.json(Call { deadline, ..Call::get(with_query(&claim_path(claim), &query)) }).await
    }

    /// `PUT /v1/sessions/{session}/claims/{claim}`
    pub async fn renew_claim(&self, claim: &InnerReference<ClaimNo>, renewal: ClaimRenewal) -> Answer<Claim> {
        self.json(Call::with_body(Method::PUT, claim_path(claim), &renewal)?).await
    }

    /// `DELETE /v1/sessions/{session}/claims/{claim}`
    pub async fn end_claim(&self, claim: &InnerReference<ClaimNo>) -> Answer<()> {
        self.text(Call { method: Method::DELETE, ..Call::get(claim_path(claim)) }).await.map(drop)
    }

    /// `GET /v1/rules`
    pub async fn rules(&self, query: &RuleQuery) -> Answer<RuleList> {
        self.get(&with_query("/v1/rules", query)).await
    }

    /// `POST /v1/rules`
    pub async fn add_rule(&self, rule: &RuleSpec, owner: &RuleOwner) -> Answer<RuleAdded> {
        self.post(&with_query("/v1/rules", owner), rule).await
    }

    /// `DELETE /v1/rules/{rule}`
    pub async fn remove_rule(&self, rule: &str, owner: &RuleOwner) -> Answer<()> {
        let rule = percent_encoding::utf8_percent_encode(rule, percent_encoding::NON_ALPHANUMERIC);
        let path = with_query(&format!("/v1/rules/{rule}"), owner);
        self.text(Call { method: Method::DELETE, ..Call::get(path) }).await.map(drop)
    }

    /// `POST /v1/rules/test`
    pub async fn test_rules(&self, test: &RuleTest) -> Answer<Ruling> {
        self.post("/v1/rules/test", test).await
    }

    /// `POST /v1/sessions/{session}/interrupt`
    pub async fn interrupt(
        &self,
        session: &Reference,
        request: &InterruptRequest,
    ) -> Answer<InterruptReceipt> {
        self.post(&path(session, "/interrupt"), request).await
    }

    /// `POST /v1/sessions/{session}/stop`
    pub async fn stop(&self, session: &Reference) -> Answer<StopReceipt> {
        self.json(Call { method: Method::POST, ..Call::get(path(session, "/stop")) }).await
    }

    /// `POST /v1/sessions/{session}/kill`
    pub async fn kill(&self, session: &Reference) -> Answer<StopReceipt> {
        self.json(Call { method: Method::POST, ..Call::get(path(session, "/kill")) }).await
    }

    /// `POST /v1/sessions/{session}/resume`
    pub async fn resume(&self, session: &Reference) -> Answer<Session> {
        self.json(Call { method: Method::POST, ..Call::get(path(session, "/resume")) }).await
    }

    /// `PATCH /v1/sessions/{session}/settings`
    pub async fn set(&self, session: &Reference, settings: &SettingsRequest) -> Answer<SettingsReceipt> {
        self.json(Call::with_body(Method::PATCH, path(session, "/settings"), settings)?).await
    }

    /// `POST /v1/sessions/{session}/bypass`
    pub async fn bypass(&self, session: &Reference, bypass: &BypassRequest) -> Answer<Session> {
        self.post(&path(session, "/bypass"), bypass).await
    }

    /// `DELETE /v1/sessions/{session}/bypass`
    pub async fn end_bypass(&self, session: &Reference) -> Answer<Session> {
        self.json(Call { method: Method::DELETE, ..Call::get(path(session, "/bypass")) }).await
    }

    /// `GET /v1/gates`
    pub async fn gates(&self, query: &GateQuery) -> Answer<List<Gate>> {
        self.get(&with_query("/v1/gates", query)).await
    }

    /// `GET /v1/gates/{gate}/rules`
    pub async fn rules_for(&self, gate: &InnerReference<GateNo>, scope: RuleScope) -> Answer<RuleOffer> {
        let path = format!("/v1/gates/{gate}/rules");
        self.get(&with_query(&path, &RuleOfferQuery { scope })).await
    }

    /// `POST /v1/gates/{gate}/decision`
    pub async fn decide(&self, gate: &InnerReference<GateNo>, decision: &DecisionRequest) -> Answer<Gate> {
        self.post(&format!("/v1/gates/{gate}/decision"), decision).await
    }

    /// `GET /v1/audit`
    pub async fn audit(&self, query: &AuditListQuery) -> Answer<List<AuditEntry>> {
        self.get(&with_query("/v1/audit", query)).await
    }

    /// `GET /v1/webhooks`
    pub async fn webhooks(&self) -> Answer<List<Webhook>> {
        self.get("/v1/webhooks").await
    }

    /// `GET /v1/webhooks/deliveries`
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Answer<List<Delivery>> {
        self.get(&with_query("/v1/webhooks/deliveries", query)).await
    }

    /// `POST /v1/webhooks/{webhook}/test`
    pub async fn test_webhook(&self, webhook: &str, test: &WebhookTest) -> Answer<WebhookTrial> {
        let webhook = percent_encoding::utf8_percent_encode(webhook, percent_encoding::NON_ALPHANUMERIC);
        self.post(&format!("/v1/webhooks/{webhook}/test"), test).await
    }

    /// `GET /v1/events` or `GET /v1/sessions/{session}/events`: one page.
    pub async fn events(&self, session: Option<&Reference>, query: &EventQuery) -> Answer<EventPage> {
        self.get(&with_query(&events_path(session), query)).await
    }

    /// `GET /v1/events` or `GET /v1/sessions/{session}/events`: a stream.
    pub async fn subscribe(&self, session: Option<&Reference>, query: &EventQuery) -> Answer<EventStream> {
        EventStream::open(self.clone(), with_query(&events_path(session), query)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.json(Call::get(path.to_owned())).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        self.json(Call::with_body(Method::POST, path.to_owned(), body)?).await
    }
}

fn path(session: &Reference, rest: &str) -> String {
    format!("/v1/sessions/{session}{rest}")
}

fn claim_path(claim: &InnerReference<ClaimNo>) -> String {
    format!("{}/{}", path(&claim.session, "/claims"), claim.no)
}

fn events_path(session: Option<&Reference>) -> String {
    session.map_or_else(|| "/v1/events".to_owned(), |session| path(session, "/events"))
}

/// Puts the fields of a flat query behind a path.
fn with_query(path: &str, query: &impl Serialize) -> String {
    use serde_json::Value;
    // Queries are structs of this crate, so they are always objects.
    let Ok(Value::Object(fields)) = serde_json::to_value(query) else { return path.to_owned() };
    let pair = |(name, value): (String, Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC))
    };
    let pairs: Vec<String> = fields.into_iter().map(pair).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped_and_absent_fields_stay_absent() {
        assert_eq!(with_query("/x", &SessionQuery::default()), "/x");
        let query =
            SessionQuery { all: Some(true), label: Some("a=b&c d".to_owned()), ..SessionQuery::default() };
        assert_eq!(with_query("/x", &query), "/x?all=true&label=a%3Db%26c%20d");
        let wait = WaitQuery { wait: Some(crate::WaitFor::End), timeout: Some(5) };
        assert_eq!(with_query("/x", &wait), "/x?timeout=5&wait=end");
    }
}
