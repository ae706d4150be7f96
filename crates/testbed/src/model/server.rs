//! The HTTP side: routes, streams and what happens to a connection.

use super::answer::{Answer, Envelope, Part, fold};
use super::log::{Entry, Log, Progress, Request};
use super::request::Asked;
use super::script::Step;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use futures_util::stream;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    released: watch::Sender<HashSet<String>>,
    /// How often each script of each user failed so far.
    failures: Mutex<HashMap<String, u32>>,
    /// Keeps the ids of this server apart from those of the one before, which a resumed session still knows.
    run: u32,
}

impl Default for Shared {
    fn default() -> Self {
        const LOW: u64 = u32::MAX as u64;
        let random = RandomState::new().build_hasher().finish() & LOW;
        Self {
            log: Arc::default(),
            released: watch::Sender::default(),
            failures: Mutex::default(),
            run: u32::try_from(random).unwrap_or(u32::MAX),
        }
    }
}

impl Shared {
    pub(super) fn release(&self, token: &str) {
        self.released.send_modify(|released| {
            released.insert(token.to_owned());
        });
    }

    /// Waits for a release; one that came before counts too.
    async fn released(&self, token: &str) {
        let mut released = self.released.subscribe();
        if released.wait_for(|released| released.contains(token)).await.is_err() {
            // The sender lives in `self`, so it cannot be gone.
            std::future::pending::<()>().await;
        }
    }

    /// Counts one more failure of a script and returns how many came before.
    fn failed_before(&self, script: String) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(script).or_default();
        *count += 1;
        *count - 1
    }
}

/// Serves until its runtime ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/_control/release/{token}", post(release))
        .route("/_control/log", get(log))
        .fallback(not_found)
        // Prompts of several megabytes are among the cases.
        .layer(DefaultBodyLimit::disable())
        .with_state(shared);
    let listener = listener.tap_io(|socket| {
        // Only latency is lost if the system refuses.
        let _ = socket.set_nodelay(true);
    });
    // It never returns an error: failures to accept are retried.
    let _ = axum::serve(listener, router).await;
}

async fn messages(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> Response {
    let body_value: Value = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => return error_response(400, &format!("body is not JSON: {error}"), None),
    };
    let asked = Asked::read(&body_value, body.len());
    let entry = shared.log.push(Request {
        number: 0,
        path: uri.path().to_owned(),
        model: asked.model.clone(),
        stream: asked.stream,
        script: asked.script.as_ref().map(|script| script.line.clone()),
        step: asked.step,
        last_text: asked.last_text.clone(),
        progress: Progress::Received,
        messages: Arc::new(body_value.get("messages").cloned().unwrap_or_default()),
    });
    let step = match step_for(&asked) {
        Ok(step) => step,
        Err(text) => Step::Error { status: 400, text },
    };
    let failed = if let Step::Flaky { .. } = &step {
        let line = asked.script.as_ref().map_or("", |script| &script.line);
        shared.failed_before(format!("{} {} {line}", asked.user, asked.step))
    } else {
        0
    };
    let envelope = Envelope {
        id: format!("{:08x}{:012}", shared.run, entry.number()),
        model: asked.model.clone(),
        input_tokens: asked.input_tokens,
    };
    respond(shared, entry, Answer::to(&step, &envelope, failed), asked.stream).await
}

/// Chooses the step that answers.
fn step_for(asked: &Asked) -> Result<Step, String> {
    const EXCERPT_CHARACTERS: usize = 60;
    if let Some(wanted) = asked.model.strip_prefix("lab-") {
        if wanted == "hang" {
            return Ok(Step::Hang);
        }
        if let Ok(status) = wanted.parse() {
            return Ok(Step::Error { status, text: format!("lab model {status}") });
        }
    }
    if asked.side {
        return Ok(Step::Say(r#"{"title":"A short title"}"#.to_owned()));
    }
    match &asked.script {
        None => Ok(Step::Say("ok".to_owned())),
        Some(script) => Ok(script.steps.clone()?.get(asked.step).cloned().unwrap_or_else(|| {
            let excerpt: String = asked.last_text.chars().take(EXCERPT_CHARACTERS).collect();
            Step::Say(format!("DONE {excerpt}"))
        })),
    }
}

async fn respond(shared: Arc<Shared>, mut entry: Entry, answer: Answer, streaming: bool) -> Response {
    let parts = match answer {
        Answer::Message(parts) => parts,
        Answer::Error { status, text, retry_after_s } => {
            entry.answered();
            return error_response(status, &text, retry_after_s);
        }
        Answer::Hang => {
            // Holds the entry until the client leaves, which drops this future.
            std::future::pending::<()>().await;
            return StatusCode::GATEWAY_TIMEOUT.into_response();
        }
    };
    let request_id = format!("req_{:016}", entry.number());
    let mut response = if streaming {
        let body = Body::from_stream(events(shared, entry, parts));
        ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")], body)
            .into_response()
    } else {
        let collected = collect(&shared, parts).await;
        entry.answered();
        collected.map_or_else(cut_connection, |message| axum::Json(message).into_response())
    };
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("request-id", value);
    }
    response
}

/// Streams the parts as server-sent events.
fn events(
    shared: Arc<Shared>,
    entry: Entry,
    parts: Vec<Part>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    /// Long enough for the connection to have been flushed before it is cut.
    const BEFORE_THE_CUT: Duration = Duration::from_millis(20);
    entry.streaming();
    stream::unfold(
        (shared, entry, parts.into_iter().peekable()),
        |(shared, mut entry, mut parts)| async move {
            loop {
                match parts.next()? {
                    Part::Event(event) => {
                        if parts.peek().is_none() {
                            entry.answered();
                        }
                        let name = event["type"].as_str().unwrap_or_default();
                        let frame = Bytes::from(format!("event: {name}\ndata: {event}\n\n"));
                        return Some((Ok(frame), (shared, entry, parts)));
                    }
                    Part::Pause(time) => tokio::time::sleep(time).await,
                    Part::Wait(token) => shared.released(&token).await,
                    Part::Silence => std::future::pending().await,
                    Part::Cut => {
                        tokio::time::sleep(BEFORE_THE_CUT).await;
                        entry.answered();
                        let cut = io::Error::new(io::ErrorKind::ConnectionAborted, "scripted cut");
                        return Some((Err(cut), (shared, entry, parts)));
                    }
                }
            }
        },
    )
}

/// Plays the parts and returns the whole message, or nothing if the connection is to be cut.
async fn collect(shared: &Shared, parts: Vec<Part>) -> Option<Value> {
    let mut events = Vec::new();
    for part in parts {
        match part {
            Part::Event(event) => events.push(event),
            Part::Pause(time) => tokio::time::sleep(time).await,
            Part::Wait(token) => shared.released(&token).await,
            Part::Silence => std::future::pending().await,
            Part::Cut => return None,
        }
    }
    Some(fold(&events))
}

/// Answers with a body that breaks before its first byte.
fn cut_connection() -> Response {
    let cut = io::Error::new(io::ErrorKind::ConnectionAborted, "scripted cut");
    Body::from_stream(stream::iter([Err::<Bytes, _>(cut)])).into_response()
}

async fn count_tokens(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> Response {
    let asked = Asked::read(&serde_json::from_slice(&body).unwrap_or(Value::Null), body.len());
    let mut entry = shared.log.push(Request {
        number: 0,
        path: uri.path().to_owned(),
        model: asked.model,
        stream: false,
        script: None,
        step: 0,
        last_text: asked.last_text,
        progress: Progress::Received,
        messages: Arc::default(),
    });
    entry.answered();
    axum::Json(json!({"input_tokens": asked.input_tokens})).into_response()
}

async fn models() -> Response {
    let listed = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"].map(described);
    axum::Json(json!({"data": listed, "has_more": false, "first_id": null, "last_id": null})).into_response()
}

async fn model(Path(id): Path<String>) -> Response {
    match id.strip_prefix("lab-").and_then(|status| status.parse().ok()) {
        Some(status) => error_response(status, &format!("lab model {status}"), None),
        None => axum::Json(described(&id)).into_response(),
    }
}

fn described(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"})
}

async fn release(State(shared): State<Arc<Shared>>, Path(token): Path<String>) -> Response {
    shared.release(&token);
    axum::Json(json!({"released": token})).into_response()
}

async fn log(State(shared): State<Arc<Shared>>) -> Response {
    axum::Json(shared.log.snapshot()).into_response()
}

async fn not_found(method: Method, uri: Uri) -> Response {
    error_response(404, &format!("no such endpoint: {method} {}", uri.path()), None)
}

fn error_response(status: u16, text: &str, retry_after_s: Option<u64>) -> Response {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let body = json!({"type": "error", "error": {"type": kind, "message": text}});
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (code, axum::Json(body)).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
