//! The HTTP face: routes, and nothing that decides.

mod answer;
mod caller;
mod claims;
mod convert;
mod events;
mod folds;
mod gates;
mod history;
mod journal;
mod pieces;
mod prompts;
mod resolve;
mod serve;
mod sessions;
mod system;
mod waiting;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use lockkeeper_api::{ErrorCode, headers};

use crate::host::Host;
use crate::limits;
use answer::Failure;
use caller::Peer;
pub(crate) use serve::serve;

/// The daemon's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether the connection of a request is one too many.
#[derive(Debug, Clone, Copy)]
struct Crowd(bool);

/// All routes.
fn router(host: Arc<Host>) -> Router {
    let asked = Router::new()
        .route("/sessions", get(sessions::list))
        .route("/sessions/{session}", get(sessions::get))
        .route("/sessions/{session}/items", get(history::items))
        .route("/sessions/{session}/journal", get(journal::journal))
        .route("/sessions/{session}/events", get(events::of_session))
        .route("/sessions/{session}/claims/{claim}", get(claims::get))
        .route("/gates", get(gates::list))
        .route("/events", get(events::all));
    let plain = Router::new()
        .route("/sessions", post(sessions::create))
        .route("/sessions/{session}", patch(sessions::patch).delete(sessions::delete))
        .route("/sessions/{session}/full", get(history::full))
        .route("/sessions/{session}/why", get(why::why))
        .route("/sessions/{session}/turns", get(history::turns))
        .route("/sessions/{session}/attempts", get(history::attempts))
        .route("/sessions/{session}/queue", get(prompts::queue))
        .route("/sessions/{session}/interrupt", post(sessions::interrupt))
        .route("/sessions/{session}/stop", post(sessions::stop))
        .route("/sessions/{session}/kill", post(sessions::kill))
        .route("/sessions/{session}/resume", post(sessions::resume))
        .route("/sessions/{session}/settings", patch(sessions::settings))
        .route("/sessions/{session}/prompts", post(prompts::prompt))
        .route("/prompts/{prompt}", patch(prompts::edit).delete(prompts::drop))
        .route("/prompts/{prompt}/release", post(prompts::release))
        .route("/sessions/{session}/claims", get(claims::list).post(claims::claim))
        .route("/sessions/{session}/claims/{claim}", put(claims::renew).delete(claims::end))
        .route("/gates/{gate}/decision", post(gates::decide))
        .route("/agents", get(system::agents))
        .route("/status", get(system::status))
        .route("/daemon/stop", post(system::stop))
        .route_layer(middleware::from_fn(without_query));
    let v1 = asked
        .merge(plain)
        .layer(middleware::from_fn_with_state(host.clone(), booted))
        .layer(middleware::from_fn(named));
    let metrics = Router::new()
        .route("/metrics", get(system::metrics))
        .layer(middleware::from_fn_with_state(host.clone(), booted));
    Router::new()
        .nest("/v1", v1)
        .merge(metrics)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(system::readyz))
        .route("/version", get(system::version))
        .route("/openapi.json", get(system::openapi))
        .fallback(|request: Request| async move {
            Failure::new(ErrorCode::NotFound, format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let detail = format!("{} does not take {}", request.uri().path(), request.method());
            Failure::new(ErrorCode::MethodNotAllowed, detail)
        })
        .layer(middleware::from_fn(versioned))
        .with_state(host)
}

/// Refuses a query where none is read: what is not obeyed is not ignored either.
async fn without_query(request: Request, next: Next) -> Response {
    match request.uri().query() {
        None | Some("") => next.run(request).await,
        Some(query) => {
            let detail = format!("{} takes no query, and {query:?} came", request.uri().path());
            Failure::new(ErrorCode::QueryInvalid, detail).into_response()
        }
    }
}

/// Takes in what the caller calls itself.
async fn named(mut request: Request, next: Next) -> Response {
    match caller::name(request.headers()) {
        Ok(name) => {
            if let Some(ConnectInfo(peer)) = request.extensions_mut().get_mut::<ConnectInfo<Peer>>() {
                peer.name = name;
            }
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

/// Nothing of a session is told before it is settled, or known to be unsettled, since the daemon's start.
async fn booted(State(host): State<Arc<Host>>, request: Request, next: Next) -> Response {
    let mut booted = host.booted.subscribe();
    tokio::select! {
        ready = booted.wait_for(|booted| *booted) => {
            if ready.is_err() {
                return Failure::new(ErrorCode::NotReady, "the daemon is ending").into_response();
            }
        }
        () = host.ending.cancelled() => {
            return Failure::new(ErrorCode::NotReady, "the daemon is ending").into_response();
        }
    }
    next.run(request).await
}

/// Every answer names the version; an answer of ours that is no page is never sniffed.
async fn versioned(request: Request, next: Next) -> Response {
    // The socket's mode keeps others out already; this is for a socket whose mode somebody widened.
    let own = request.extensions().get::<ConnectInfo<Peer>>().is_some_and(|peer| peer.own);
    let crowded = request.extensions().get::<Crowd>().is_some_and(|crowd| crowd.0);
    let mut response = if !own {
        Failure::new(ErrorCode::Forbidden, "the daemon serves its own user alone").into_response()
    } else if crowded {
        let detail = format!("{} connections are open already", limits::CONNECTIONS);
        Failure::new(ErrorCode::Busy, detail).into_response()
    } else {
        next.run(request).await
    };
    let head = response.headers_mut();
    head.insert(headers::VERSION, HeaderValue::from_static(VERSION));
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A status of an answer.
const OK: StatusCode = StatusCode::OK;

#[cfg(test)]
mod tests;
