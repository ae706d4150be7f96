//! One request on one connection.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use lockkeeper_core::id::CallerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{Answer, Client, ClientError, headers, limits};
use crate::{ErrorCode, Problem};

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deadline {
    /// This long.
    Within(Duration),
    /// As long as it takes: the caller waits for something to happen, and can leave.
    Never,
}

impl Deadline {
    /// That of a request that waits for nothing.
    pub(super) const ANSWER: Self = Self::Within(Duration::from_millis(limits::ANSWER_MS));
}

/// A request to be made.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Bytes,
    pub(super) key: Option<&'a str>,
    pub(super) last_event_id: Option<&'a str>,
    pub(super) accept: &'static str,
    pub(super) deadline: Deadline,
}

impl Call<'_> {
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: Bytes::new(),
            key: None,
            last_event_id: None,
            accept: "application/json",
            deadline: Deadline::ANSWER,
        }
    }

    pub(super) fn with_body(method: Method, path: String, body: &impl Serialize) -> Answer<Self> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Broken { source: error.into() })?;
        Ok(Self { method, body: body.into(), ..Self::get(path) })
    }

    fn request(self, caller: Option<&CallerName>) -> Answer<Request<Full<Bytes>>> {
        // The host is for HTTP's sake: a Unix socket has none.
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(header::HOST, "lockkeeper")
            .header(header::ACCEPT, self.accept);
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = self.key {
            request = request.header(headers::IDEMPOTENCY_KEY, key);
        }
        if let Some(caller) = caller {
            request = request.header(headers::CALLER, caller.as_str());
        }
        if let Some(id) = self.last_event_id {
            request = request.header(headers::LAST_EVENT_ID, id);
        }
        request.body(Full::new(self.body)).map_err(|error| ClientError::Broken { source: error.into() })
    }
}

/// The body of an answer with its connection, which ends with it.
#[derive(Debug)]
pub struct RawBody {
    body: Incoming,
    /// Moves the bytes of the body; ends with it.
    _connection: Connection,
}

/// The task that moves the bytes of a connection.
#[derive(Debug)]
struct Connection(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RawBody {
    /// The next piece; `None` at the end. Each piece has the deadline of an answer.
    pub async fn next(&mut self) -> Answer<Option<Bytes>> {
        within(Deadline::ANSWER, async {
            while let Some(frame) = self.body.frame().await {
                // What is no data is a trailer, which nothing here uses.
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(None)
        })
        .await
    }

    async fn all(mut self) -> Answer<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

impl Client {
    /// Makes a request whose answer is JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Answer<T> {
        let text = self.text(call).await?;
        serde_json::from_slice(&text)
            .map_err(|error| ClientError::Garbled { what: error.to_string(), version: self.daemon_version() })
    }

    /// Makes a request and reads the whole answer.
    pub(super) async fn text(&self, call: Call<'_>) -> Answer<Vec<u8>> {
        let deadline = call.deadline;
        within(deadline, async { self.open(call).await?.all().await }).await
    }

    /// Makes a request; the deadline is for the beginning of the answer.
    pub(super) async fn raw(&self, call: Call<'_>) -> Answer<RawBody> {
        let deadline = call.deadline;
        within(deadline, self.open(call)).await
    }

    async fn open(&self, call: Call<'_>) -> Answer<RawBody> {
        let request = call.request(self.caller())?;
        let (mut sender, connection) = self.connect().await?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if let Some(version) = response.headers().get(headers::VERSION).and_then(|value| value.to_str().ok())
        {
            self.saw_version(version);
        }
        let status = response.status();
        let is_problem = is_problem(&response);
        let body = RawBody { body: response.into_body(), _connection: connection };
        if status.is_success() {
            return Ok(body);
        }
        let text = body.all().await?;
        Err(ClientError::Problem(Box::new(self.read_problem(status.as_u16(), is_problem, &text))))
    }

    async fn connect(&self) -> Answer<(SendRequest<Full<Bytes>>, Connection)> {
        let limit = Duration::from_millis(limits::CONNECT_MS);
        let stream = within(Deadline::Within(limit), async {
            UnixStream::connect(self.socket()).await.map_err(|error| self.no_connection(error))
        })
        .await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        #[expect(clippy::disallowed_methods, reason = "the task ends with the `Connection` that owns it")]
        let task = tokio::spawn(connection);
        Ok((sender, Connection(task)))
    }

    fn no_connection(&self, source: io::Error) -> ClientError {
        let socket = self.socket().to_owned();
        if matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
        ) {
            return ClientError::NoDaemon { socket };
        }
        ClientError::Unreachable { socket, source }
    }

    fn read_problem(&self, status: u16, is_problem: bool, text: &[u8]) -> Problem {
        if is_problem && let Ok(problem) = serde_json::from_slice(text) {
            return problem;
        }
        let text: String = String::from_utf8_lossy(text).chars().take(200).collect();
        let version = self.daemon_version().map(|version| format!(" {version}")).unwrap_or_default();
        let code = if status == 404 { ErrorCode::NotFound } else { ErrorCode::Internal };
        let detail = format!("the daemon{version} answered {status}: {}", text.trim());
        Problem { status, ..Problem::new(code, detail) }
    }
}

fn is_problem(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with(headers::PROBLEM_JSON))
}

fn broken(error: hyper::Error) -> ClientError {
    ClientError::Broken { source: error.into() }
}

async fn within<T>(deadline: Deadline, work: impl Future<Output = Answer<T>>) -> Answer<T> {
    match deadline {
        Deadline::Never => work.await,
        Deadline::Within(limit) => match tokio::time::timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout { seconds: limit.as_secs() }),
        },
    }
}
