//! The `OpenAPI` document. The handlers live in the daemon, so the paths are described here by functions that are never
//! called; a test of the daemon compares its router with [`routes`].

mod links;

use utoipa::OpenApi;

use crate::{
    AgentInfo, Attempt, AuditEntry, AuditListQuery, BypassRequest, Claim, ClaimQuery, ClaimRenewal,
    ClaimRequest, ClaimWait, Created, DaemonStatus, DecisionRequest, Delivery, DeliveryQuery, Event,
    EventPage, EventQuery, Frame, FullSession, Gap, Gate, GateFilter, GateQuery, Heartbeat, InterruptReceipt,
    InterruptRequest, Item, ItemQuery, JournalQuery, JournalStream, List, Live, NewSession, PauseRequest,
    Problem, PromptEdit, PromptReceipt, PromptRequest, QueuedPrompt, Ready, RuleAdded, RuleList, RuleOffer,
    RuleOfferQuery, RuleOwner, RuleQuery, RuleTest, Ruling, Session, SessionPatch, SessionQuery,
    SettingsReceipt, SettingsRequest, StopReceipt, StopRequest, Turn, UnpauseReceipt, Version, WaitFor,
    WaitQuery, Webhook, WebhookTest, WebhookTrial, Why,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockkeeper",
        description = "Supervises coding-agent sessions. Errors are problem documents (RFC 9457) with a stable `code`. \
                       Every answer carries `lockkeeper-version`, and under /v1 `lockkeeper-cursor`: the cursor that it \
                       is true at. `{session}` is an id, a name or a unique prefix of an id; `{gate}`, `{prompt}` and \
                       `{claim}` are `SESSION.g1`, `SESSION.p1` and `SESSION.k1`. A caller is told as `USER`; with the header \
                       `lockkeeper-caller: NAME` (letters, digits, `.`, `_`, `-`; at most 64) as `USER/NAME`, and a program \
                       that an agent runs as `USER/session:SESSION[/NAME]`. Streams send the frames `ready`, `event`, `live`, \
                       `heartbeat` and `gap`, whose data are the schemas of these names.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        list_sessions,
        create_session,
        get_session,
        patch_session,
        delete_session,
        full,
        why,
        turns,
        items,
        attempts,
        journal,
        queue,
        session_events,
        interrupt,
        stop,
        kill,
        resume,
        bypass,
        end_bypass,
        settings,
        prompt,
        get_prompt,
        edit_prompt,
        drop_prompt,
        release_prompt,
        claims,
        claim,
        get_claim,
        renew_claim,
        end_claim,
        gates,
        gate_rules,
        decide,
        rules,
        add_rule,
        remove_rule,
        test_rules,
        audit,
        webhooks,
        deliveries,
        test_webhook,
        deliver,
        events,
        agents,
        status,
        stop_daemon,
        pause_daemon,
        unpause_daemon,
        healthz,
        readyz,
        metrics,
        version,
        document
    ),
    components(schemas(
        Problem,
        Ready,
        Event,
        Live,
        Heartbeat,
        Gap,
        WaitFor,
        GateFilter,
        JournalStream,
        ClaimWait
    ))
)]
struct Document;

/// The document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
            .into_iter()
            .flatten();
        for operation in operations {
            links::add(operation);
            operation.responses.responses.entry("default".to_owned()).or_insert_with(problem);
        }
    }
    document
}

/// The document as it is committed: JSON for people, with a line end.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    openapi().to_pretty_json().map(|json| json + "\n")
}

/// All routes as (method, path), in the order of the document.
pub fn routes() -> Vec<(&'static str, String)> {
    let mut routes = Vec::new();
    for (path, item) in openapi().paths.paths {
        let methods = [
            ("GET", item.get.is_some()),
            ("POST", item.post.is_some()),
            ("PUT", item.put.is_some()),
            ("PATCH", item.patch.is_some()),
            ("DELETE", item.delete.is_some()),
        ];
        routes.extend(
            methods.into_iter().filter(|(_, there)| *there).map(|(method, _)| (method, path.clone())),
        );
    }
    routes
}

fn problem() -> utoipa::openapi::RefOr<utoipa::openapi::Response> {
    use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description("An error.")
        .content(crate::headers::PROBLEM_JSON, content)
        .build();
    response.into()
}

/// Ties the frames to the document: a new one must be described above.
const _: fn(&Frame) = |frame| match frame {
    Frame::Ready(_) | Frame::Event(_) | Frame::Live(_) | Frame::Heartbeat(_) | Frame::Gap(_) => {}
};

macro_rules! paths {
    ($( $(#[$attribute:meta])* $name:ident; )*) => {
        $( $(#[$attribute])* #[expect(dead_code, reason = "a description, not a handler")] fn $name() {} )*
    };
}

paths! {
    /// Lists sessions: those that are open, unless the query says otherwise. Newest first.
    #[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(SessionQuery),
        responses((status = 200, body = List<Session>)))]
    list_sessions;

    /// Makes a session, and queues its first prompt if it has one. With a prompt, `class` is required.
    /// For a program that an agent runs, labels, environment and submitter are those of that agent's session; others are
    /// refused, and so is a `mode`.
    #[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = NewSession,
        params(("idempotency-key" = Option<String>, Header, description = "The same key and body give the same answer; the environment may differ.")),
        responses((status = 201, body = Created)))]
    create_session;

    /// Tells a session, at once or when it meets a condition. A program of an agent whose session is waited for in turn is
    /// refused with the problem `waiting_cycle`.
    #[utoipa::path(get, path = "/v1/sessions/{session}", tag = "sessions", params(("session" = String, Path), WaitQuery),
        responses((status = 200, body = Session)))]
    get_session;

    /// Changes the name or the labels. Refused to programs that agents run.
    #[utoipa::path(patch, path = "/v1/sessions/{session}", tag = "sessions", params(("session" = String, Path)),
        request_body = SessionPatch, responses((status = 200, body = Session)))]
    patch_session;

    /// Removes an ended session with its history and its journals.
    #[utoipa::path(delete, path = "/v1/sessions/{session}", tag = "sessions", params(("session" = String, Path)),
        responses((status = 204)))]
    delete_session;

    /// Tells a session with its turns, gates, launches and events, true at one cursor.
    #[utoipa::path(get, path = "/v1/sessions/{session}/full", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = FullSession)))]
    full;

    /// Explains the status, with the evidence.
    #[utoipa::path(get, path = "/v1/sessions/{session}/why", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = Why)))]
    why;

    /// Lists the turns, oldest first.
    #[utoipa::path(get, path = "/v1/sessions/{session}/turns", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = List<Turn>)))]
    turns;

    /// Lists the content, oldest first.
    #[utoipa::path(get, path = "/v1/sessions/{session}/items", tag = "sessions",
        params(("session" = String, Path), ItemQuery), responses((status = 200, body = List<Item>)))]
    items;

    /// Lists the launches, oldest first.
    #[utoipa::path(get, path = "/v1/sessions/{session}/attempts", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = List<Attempt>)))]
    attempts;

    /// Tells the raw bytes that the agent wrote or was written, as far as they are kept.
    #[utoipa::path(get, path = "/v1/sessions/{session}/journal", tag = "sessions",
        params(("session" = String, Path), JournalQuery),
        responses((status = 200, body = String, content_type = "application/octet-stream")))]
    journal;

    /// Lists the prompts that wait, in the order in which they will be served.
    #[utoipa::path(get, path = "/v1/sessions/{session}/queue", tag = "prompts", params(("session" = String, Path)),
        responses((status = 200, body = List<QueuedPrompt>)))]
    queue;

    /// Tells the events of a session: a stream if `Accept: text/event-stream` asks for one, else a page.
    #[utoipa::path(get, path = "/v1/sessions/{session}/events", tag = "events",
        params(("session" = String, Path), EventQuery,
            ("last-event-id" = Option<String>, Header, description = "The cursor to continue after.")),
        responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream")))))]
    session_events;

    /// Cancels the turn that runs, and holds the queue until somebody prompts or resumes.
    #[utoipa::path(post, path = "/v1/sessions/{session}/interrupt", tag = "sessions",
        params(("session" = String, Path)), request_body = InterruptRequest,
        responses((status = 200, body = InterruptReceipt)))]
    interrupt;

    /// Ends the session in order. An ended session stays as it is.
    #[utoipa::path(post, path = "/v1/sessions/{session}/stop", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = StopReceipt)))]
    stop;

    /// Ends the session's processes by force.
    #[utoipa::path(post, path = "/v1/sessions/{session}/kill", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = StopReceipt)))]
    kill;

    /// Opens the session if it has ended, starts its agent if none runs, and lets its queue go on.
    #[utoipa::path(post, path = "/v1/sessions/{session}/resume", tag = "sessions", params(("session" = String, Path)),
        responses((status = 200, body = Session)))]
    resume;

    /// For a while lets steps go on that would wait for a decision, except what a rule denies and what a rule of the
    /// administrator asks about. Takes the place of a bypass that is there; gates that are open stay open.
    #[utoipa::path(post, path = "/v1/sessions/{session}/bypass", tag = "gates",
        params(("session" = String, Path)), request_body = BypassRequest, responses((status = 200, body = Session)))]
    bypass;

    /// Ends a bypass, if there is one.
    #[utoipa::path(delete, path = "/v1/sessions/{session}/bypass", tag = "gates",
        params(("session" = String, Path)), responses((status = 200, body = Session)))]
    end_bypass;

    /// Changes the model or the permission mode from the next turn on.
    #[utoipa::path(patch, path = "/v1/sessions/{session}/settings", tag = "sessions",
        params(("session" = String, Path)), request_body = SettingsRequest, responses((status = 200, body = SettingsReceipt)))]
    settings;

    /// Queues a prompt. Opens an ended session again, and ends a hold of the same caller.
    #[utoipa::path(post, path = "/v1/sessions/{session}/prompts", tag = "prompts", request_body = PromptRequest,
        params(("session" = String, Path),
            ("idempotency-key" = Option<String>, Header, description = "The same key and body give the same receipt.")),
        responses((status = 202, body = PromptReceipt)))]
    prompt;

    /// Tells how far a prompt came, also when its turn is long over.
    #[utoipa::path(get, path = "/v1/prompts/{prompt}", tag = "prompts", params(("prompt" = String, Path)),
        responses((status = 200, body = PromptReceipt)))]
    get_prompt;

    /// Changes the text or the place of a prompt that still waits.
    #[utoipa::path(patch, path = "/v1/prompts/{prompt}", tag = "prompts", params(("prompt" = String, Path)),
        request_body = PromptEdit, responses((status = 200, body = PromptReceipt)))]
    edit_prompt;

    /// Takes a waiting prompt out of the queue.
    #[utoipa::path(delete, path = "/v1/prompts/{prompt}", tag = "prompts", params(("prompt" = String, Path)),
        responses((status = 200, body = PromptReceipt)))]
    drop_prompt;

    /// Lets a prompt go that waits for that: work that was cut short, and held.
    #[utoipa::path(post, path = "/v1/prompts/{prompt}/release", tag = "prompts", params(("prompt" = String, Path)),
        responses((status = 200, body = PromptReceipt)))]
    release_prompt;

    /// Lists the claims of a session, the next one first.
    #[utoipa::path(get, path = "/v1/sessions/{session}/claims", tag = "claims", params(("session" = String, Path)),
        responses((status = 200, body = List<Claim>)))]
    claims;

    /// Claims the next turns of a session. The claim waits for them as a prompt of its class does.
    #[utoipa::path(post, path = "/v1/sessions/{session}/claims", tag = "claims", params(("session" = String, Path)),
        request_body = ClaimRequest, responses((status = 201, body = Claim)))]
    claim;

    /// Tells how a claim stands, at once or when its turn has come. A program of an agent whose session is waited for in
    /// turn is refused with the problem `waiting_cycle`; the claim stays.
    #[utoipa::path(get, path = "/v1/sessions/{session}/claims/{claim}", tag = "claims",
        params(("session" = String, Path), ("claim" = String, Path), ClaimQuery),
        responses((status = 200, body = Claim)))]
    get_claim;

    /// Lets a claim last longer.
    #[utoipa::path(put, path = "/v1/sessions/{session}/claims/{claim}", tag = "claims",
        params(("session" = String, Path), ("claim" = String, Path)),
        request_body = ClaimRenewal, responses((status = 200, body = Claim)))]
    renew_claim;

    /// Ends a claim: its owner gives it back, anybody else evicts. What it had queued keeps its place.
    #[utoipa::path(delete, path = "/v1/sessions/{session}/claims/{claim}", tag = "claims",
        params(("session" = String, Path), ("claim" = String, Path)), responses((status = 204)))]
    end_claim;

    /// Lists gates: those that are open, oldest first, or with `state=all` the closed ones too, latest first.
    #[utoipa::path(get, path = "/v1/gates", tag = "gates", params(GateQuery),
        responses((status = 200, body = List<Gate>)))]
    gates;

    /// Decides at a gate.
    #[utoipa::path(post, path = "/v1/gates/{gate}/decision", tag = "gates", params(("gate" = String, Path)),
        request_body = DecisionRequest, responses((status = 200, body = Gate)))]
    decide;

    /// Tells the narrowest rules with which such steps go on from now on. Nothing is written: they are part of a decision.
    #[utoipa::path(get, path = "/v1/gates/{gate}/rules", tag = "gates",
        params(("gate" = String, Path), RuleOfferQuery), responses((status = 200, body = RuleOffer)))]
    gate_rules;

    /// Lists the rules that hold.
    #[utoipa::path(get, path = "/v1/rules", tag = "rules", params(RuleQuery), responses((status = 200, body = RuleList)))]
    rules;

    /// Writes a rule below those of the user, or gives one to a session. Refused to programs that agents run.
    #[utoipa::path(post, path = "/v1/rules", tag = "rules", params(RuleOwner), request_body = Value,
        responses((status = 201, body = RuleAdded)))]
    add_rule;

    /// Takes a rule of the user out of their file, or away from a session. Refused to programs that agents run.
    #[utoipa::path(delete, path = "/v1/rules/{rule}", tag = "rules", params(("rule" = String, Path), RuleOwner),
        responses((status = 204)))]
    remove_rule;

    /// Tells what the rules say of a step, and why.
    #[utoipa::path(post, path = "/v1/rules/test", tag = "rules", request_body = RuleTest,
        responses((status = 200, body = Ruling)))]
    test_rules;

    /// Lists the audit from its beginning, of any length.
    #[utoipa::path(get, path = "/v1/audit", tag = "gates", params(AuditListQuery),
        responses((status = 200, body = List<AuditEntry>)))]
    audit;

    /// Lists the webhooks of the configuration, by name.
    #[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses((status = 200, body = List<Webhook>)))]
    webhooks;

    /// Lists what came by webhooks, the newest first: what was queued in the last week, and what was ignored or refused
    /// since the daemon's start.
    #[utoipa::path(get, path = "/v1/webhooks/deliveries", tag = "webhooks", params(DeliveryQuery),
        responses((status = 200, body = List<Delivery>)))]
    deliveries;

    /// Tells what a delivery would lead to, and does nothing.
    #[utoipa::path(post, path = "/v1/webhooks/{webhook}/test", tag = "webhooks", params(("webhook" = String, Path)),
        request_body = WebhookTest, responses((status = 200, body = WebhookTrial)))]
    test_webhook;

    /// Takes a delivery of a webhook in, which is any JSON. It is answered with 202 once its prompt is stored, and with 200
    /// if it is ignored. One that came before gets the answer that it got then. Served on the listener for webhooks too,
    /// which serves nothing else.
    #[utoipa::path(post, path = "/hooks/{webhook}", tag = "webhooks", params(("webhook" = String, Path)),
        request_body = Value, responses((status = 202, body = Delivery), (status = 200, body = Delivery)))]
    deliver;

    /// Tells the events of all sessions: a stream if `Accept: text/event-stream` asks for one, else a page.
    #[utoipa::path(get, path = "/v1/events", tag = "events",
        params(EventQuery, ("last-event-id" = Option<String>, Header, description = "The cursor to continue after.")),
        responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream")))))]
    events;

    /// Lists the agents, as the daemon finds them.
    #[utoipa::path(get, path = "/v1/agents", tag = "daemon", responses((status = 200, body = List<AgentInfo>)))]
    agents;

    /// Tells how the daemon is.
    #[utoipa::path(get, path = "/v1/status", tag = "daemon", responses((status = 200, body = DaemonStatus)))]
    status;

    /// Ends the daemon. The answer comes before the end. Refused to programs that agents run.
    #[utoipa::path(post, path = "/v1/daemon/stop", tag = "daemon", request_body = StopRequest,
        responses((status = 202, body = DaemonStatus)))]
    stop_daemon;

    /// Pauses the host: what runs goes on to its end, no other turn and no process begins, prompts wait. Lasts until it is
    /// unpaused, over restarts too. A paused host stays as it is, unless another reason comes. Refused to programs that agents
    /// run.
    #[utoipa::path(post, path = "/v1/daemon/pause", tag = "daemon", request_body = PauseRequest,
        responses((status = 200, body = DaemonStatus)))]
    pause_daemon;

    /// Lets a paused host go on. One that is not paused stays as it is. Refused to programs that agents run.
    #[utoipa::path(post, path = "/v1/daemon/unpause", tag = "daemon", responses((status = 200, body = UnpauseReceipt)))]
    unpause_daemon;

    /// Answers as soon as the daemon listens.
    #[utoipa::path(get, path = "/healthz", tag = "daemon", responses((status = 200, body = String, content_type = "text/plain")))]
    healthz;

    /// Answers 200 once it is known what became of every session, 503 before.
    #[utoipa::path(get, path = "/readyz", tag = "daemon", responses((status = 200, body = String, content_type = "text/plain")))]
    readyz;

    /// Tells numbers in the text format of Prometheus.
    #[utoipa::path(get, path = "/metrics", tag = "daemon", responses((status = 200, body = String, content_type = "text/plain")))]
    metrics;

    /// Tells the versions of the daemon and of the API.
    #[utoipa::path(get, path = "/version", tag = "daemon", responses((status = 200, body = Version)))]
    version;

    /// Tells this document.
    #[utoipa::path(get, path = "/openapi.json", tag = "daemon", responses((status = 200, body = Value, content_type = "application/json")))]
    document;
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

    #[test]
    fn the_committed_document_is_the_generated_one() -> Result<(), Box<dyn std::error::Error>> {
        let generated = openapi_json()?;
        if std::env::var_os("LK_UPDATE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, &generated)?;
        }
        let committed = std::fs::read_to_string(COMMITTED)?;
        assert!(
            committed == generated,
            "run LK_UPDATE_OPENAPI=1 cargo test -p lockkeeper-api, and look at the change"
        );
        Ok(())
    }

    #[test]
    fn a_member_that_may_be_null_is_told_so() -> Result<(), Box<dyn std::error::Error>> {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()?)?;
        for (schema, member) in [
            ("Session", "unasked"),
            ("TurnNow", "class"),
            ("TurnNow", "stage"),
            ("Turn", "class"),
            ("Item", "extent"),
            ("Item", "outcome"),
            ("QueuedPrompt", "parked"),
            ("Ruling", "effect"),
            ("RulingPart", "effect"),
            ("NewSession", "class"),
            ("PromptEdit", "class"),
        ] {
            let member = document.pointer(&format!("/components/schemas/{schema}/properties/{member}"));
            let words = member.and_then(|member| member["enum"].as_array());
            assert!(
                words.is_some_and(|words| words.contains(&serde_json::Value::Null)),
                "{schema}: {member:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() -> Result<(), Box<dyn std::error::Error>> {
        let text = openapi_json()?;
        let document: serde_json::Value = serde_json::from_str(&text)?;
        for piece in text.split("\"#").skip(1) {
            let pointer = piece.split('"').next().unwrap_or_default();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        Ok(())
    }
}
