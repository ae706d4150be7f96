//! Answers: JSON with its cursor, and problems.

use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequest;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use lockkeeper_api::{ErrorCode, Problem, headers, limits as api_limits};
use lockkeeper_core::id::BadName;
use lockkeeper_store::{Cursor, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;
use crate::session::Refused;

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Problem);

/// The media type of answers.
pub(super) const JSON: &str = "application/json";

pub(super) type Answer = Result<Response, Failure>;

impl Failure {
    pub(super) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(store_problem(&error))
    }
}

impl From<serde_json::Error> for Failure {
    /// What is printed is made of strings, numbers and lists of them, so this is a defect.
    fn from(error: serde_json::Error) -> Self {
        Self::new(ErrorCode::Internal, error.to_string())
    }
}

impl From<BadName> for Failure {
    fn from(error: BadName) -> Self {
        Self::new(ErrorCode::ReferenceInvalid, error.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::Rejected(rejection) => Self(Problem::from(&rejection)),
            Refused::KeyConflict { .. } => Self::new(ErrorCode::KeyConflict, text),
            Refused::Store(error) => Self(store_problem(&error)),
            Refused::Gone => Self::new(ErrorCode::SessionNotFound, "the session is not there any more"),
            Refused::Living => Self::new(ErrorCode::SessionOpen, text),
            Refused::GoingDown => Self::new(ErrorCode::NotReady, text),
        }
    }
}

fn store_problem(error: &StoreError) -> Problem {
    let code = match error {
        StoreError::Full => ErrorCode::DiskFull,
        StoreError::Ahead { .. } => ErrorCode::CursorInvalid,
        StoreError::Busy
        | StoreError::Overloaded
        | StoreError::Poisoned { .. }
        | StoreError::Io { .. }
        | StoreError::Damaged { .. }
        | StoreError::Newer { .. }
        | StoreError::Foreign { .. }
        | StoreError::Denied { .. }
        | StoreError::Closed => ErrorCode::StoreUnavailable,
    };
    Problem::new(code, error.to_string())
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is made of strings and a number.
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, headers::PROBLEM_JSON)], body).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer with the cursor that it is true at.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T, cursor: Cursor) -> Answer {
    Ok(text(status, serde_json::to_string(value)?, cursor))
}

/// The same for a text that is JSON already.
pub(super) fn text(status: StatusCode, body: String, cursor: Cursor) -> Response {
    at(cursor, (status, [(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// The same answer with the cursor that it is true at.
pub(super) fn at(cursor: Cursor, mut response: Response) -> Response {
    if let Ok(value) = HeaderValue::from_str(&wire_cursor(cursor).to_string()) {
        response.headers_mut().insert(headers::CURSOR, value);
    }
    response
}

/// A position as it goes over the wire.
pub(super) fn wire_cursor(cursor: Cursor) -> lockkeeper_api::Cursor {
    if cursor == Cursor::START {
        lockkeeper_api::Cursor::start()
    } else {
        lockkeeper_api::Cursor::at(cursor.0)
    }
}

/// A JSON body, or the problem with it.
#[derive(Debug)]
pub(super) struct Json<T> {
    pub(super) value: T,
    /// The bytes, for the hash under an idempotency key.
    pub(super) bytes: bytes::Bytes,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Failure> {
        let declared = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != JSON {
            return Err(Failure::new(ErrorCode::MediaType, format!("the body is declared as {declared:?}")));
        }
        let read = axum::body::to_bytes(request.into_body(), api_limits::REQUEST_BYTES);
        let bytes = tokio::time::timeout(Duration::from_millis(limits::BODY_MS), read)
            .await
            .map_err(|_| {
                let detail = format!("the body did not come within {} ms", limits::BODY_MS);
                Failure::new(ErrorCode::BodyTimeout, detail)
            })?
            .map_err(|_| {
                let limit = api_limits::REQUEST_BYTES;
                let detail = format!("the body is longer than {limit} bytes, or was cut off");
                Failure::new(ErrorCode::BodyTooLarge, detail)
            })?;
        // A list would be taken for the members in their order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(Failure::new(ErrorCode::BodyInvalid, "the body has to be an object"));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self { value, bytes }),
            Err(error) if error.is_data() => Err(Failure::new(ErrorCode::BodyInvalid, error.to_string())),
            Err(error) => Err(Failure::new(ErrorCode::JsonInvalid, error.to_string())),
        }
    }
}

/// The names in a path, or the problem with them.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> axum::extract::FromRequestParts<S> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|error| Failure::new(ErrorCode::ReferenceInvalid, error.body_text()))
    }
}

/// A query, or the problem with it.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> axum::extract::FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|query| Self(query.0))
            .map_err(|error| Failure::new(ErrorCode::QueryInvalid, error.body_text()))
    }
}
