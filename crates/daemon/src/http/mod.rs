//! The HTTP face: routes, and nothing that decides.

mod always;
mod answer;
mod audit;
mod caller;
mod claims;
mod convert;
mod events;
mod folds;
mod gates;
mod history;
mod journal;
mod pause;
mod pieces;
mod prompts;
mod receipts;
mod resolve;
mod rules;
mod serve;
mod sessions;
mod system;
mod taken_over;
mod waiting;
mod webhooks;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use lockkeeper_api::{ErrorCode, headers};

use crate::host::Host;
use answer::Failure;
pub(crate) use caller::Callers;
use caller::Peer;
pub(crate) use serve::{serve, serve_hooks};

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
        .route("/rules", get(rules::list))
        .route("/gates/{gate}/rules", get(always::offer))
        .route("/audit", get(audit::list))
        .route("/webhooks/deliveries", get(webhooks::deliveries))
        .route("/events", get(events::all));
    let plain = Router::new()
        .route("/sessions/{session}", delete(sessions::delete))
        .route("/sessions/{session}/full", get(history::full))
        .route("/sessions/{session}/why", get(why::why))
        .route("/sessions/{session}/turns", get(history::turns))
        .route("/sessions/{session}/attempts", get(history::attempts))
        .route("/sessions/{session}/queue", get(prompts::queue))
        .route("/sessions/{session}/interrupt", post(sessions::interrupt))
        .route("/sessions/{session}/stop", post(sessions::stop))
        .route("/sessions/{session}/kill", post(sessions::kill))
        .route("/sessions/{session}/resume", post(sessions::resume))
        .route("/sessions/{session}/bypass", delete(sessions::end_bypass))
        .route("/sessions/{session}/prompts", post(prompts::prompt))
        .route("/prompts/{prompt}", get(receipts::get).patch(prompts::edit).delete(prompts::drop))
        .route("/prompts/{prompt}/release", post(prompts::release))
        .route("/sessions/{session}/claims", get(claims::list).post(claims::claim))
        .route("/sessions/{session}/claims/{claim}", put(claims::renew).delete(claims::end))
        .route("/rules/test", post(rules::test))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/{webhook}/test", post(webhooks::test))
        .route("/agents", get(system::agents))
        .route("/status", get(system::status))
        .route_layer(middleware::from_fn(without_query));
    let v1 = asked
        .merge(plain)
        .merge(settings())
        .layer(middleware::from_fn_with_state(host.clone(), booted))
        .layer(middleware::from_fn(named));
    let metrics = Router::new()
        .route("/metrics", get(system::metrics))
        .layer(middleware::from_fn_with_state(host.clone(), booted));
    let own = Router::new()
        .nest("/v1", v1)
        .merge(metrics)
        .merge(deliveries(&host))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(system::readyz))
        .route("/version", get(system::version))
        .route("/openapi.json", get(system::openapi));
    finished(own, host).layer(middleware::from_fn(own_user))
}

/// What agents' programs are refused, wholly or in part. It waits until it is known who asks.
fn settings() -> Router<Arc<Host>> {
    let asked = Router::new().route("/rules", post(rules::add)).route("/rules/{rule}", delete(rules::remove));
    let plain = Router::new()
        .route("/sessions", post(sessions::create))
        .route("/sessions/{session}", patch(sessions::patch))
        .route("/sessions/{session}/settings", patch(sessions::settings))
        .route("/sessions/{session}/bypass", post(sessions::bypass))
        .route("/gates/{gate}/decision", post(gates::decide))
        .route("/daemon/stop", post(system::stop))
        .route("/daemon/pause", post(pause::pause))
        .route("/daemon/unpause", post(pause::unpause))
        .route_layer(middleware::from_fn(without_query));
    asked.merge(plain).route_layer(middleware::from_fn(settled))
}

/// What the listener for webhooks serves: deliveries, and nothing else.
fn hooks_router(host: Arc<Host>) -> Router {
    finished(deliveries(&host), host)
}

/// The routes with what every answer needs: an end for every path, and bounds.
fn finished(router: Router<Arc<Host>>, host: Arc<Host>) -> Router {
    router
        .fallback(|request: Request| async move {
            Failure::new(ErrorCode::NotFound, format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let detail = format!("{} does not take {}", request.uri().path(), request.method());
            Failure::new(ErrorCode::MethodNotAllowed, detail)
        })
        .layer(middleware::from_fn(bounded))
        .with_state(host)
}

/// Where deliveries come in. They prove themselves, whoever brings them.
fn deliveries(host: &Arc<Host>) -> Router<Arc<Host>> {
    Router::new()
        .route("/hooks/{webhook}", post(webhooks::receive))
        .layer(middleware::from_fn_with_state(host.clone(), booted))
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

/// Waits until it is known whether an agent runs the caller.
async fn settled(mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions_mut().get_mut::<ConnectInfo<Peer>>() {
        peer.settle().await;
    }
    next.run(request).await
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

/// Serves the daemon's own user alone. Every answer names the version.
async fn own_user(request: Request, next: Next) -> Response {
    // The socket's mode keeps others out already; this is for a socket whose mode somebody widened.
    let own = request.extensions().get::<ConnectInfo<Peer>>().is_some_and(|peer| peer.own);
    let mut response = if own {
        next.run(request).await
    } else {
        Failure::new(ErrorCode::Forbidden, "the daemon serves its own user alone").into_response()
    };
    response.headers_mut().insert(headers::VERSION, HeaderValue::from_static(VERSION));
    response
}

/// Turns away what comes over a connection too many. An answer of ours, which is no page, is never sniffed or kept.
async fn bounded(request: Request, next: Next) -> Response {
    let crowded = request.extensions().get::<Crowd>().is_some_and(|crowd| crowd.0);
    let mut response = if crowded {
        Failure::new(ErrorCode::Busy, "too many connections are open already").into_response()
    } else {
        next.run(request).await
    };
    let head = response.headers_mut();
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A status of an answer.
const OK: StatusCode = StatusCode::OK;

#[cfg(test)]
mod tests;
