//! The HTTP face: routes, and nothing that decides.

mod answer;
mod caller;
mod convert;
mod events;
mod gates;
mod history;
mod prompts;
mod resolve;
mod sessions;
mod system;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use lockkeeper_api::{ErrorCode, headers};
use tokio::net::UnixListener;

use crate::host::Host;
use answer::Failure;
pub(crate) use caller::Peer;

/// The daemon's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All routes.
pub(crate) fn router(host: Arc<Host>) -> Router {
    let v1 = Router::new()
        .route("/sessions", get(sessions::list).post(sessions::create))
        .route("/sessions/{session}", get(sessions::get).patch(sessions::patch).delete(sessions::delete))
        .route("/sessions/{session}/full", get(history::full))
        .route("/sessions/{session}/why", get(why::why))
        .route("/sessions/{session}/turns", get(history::turns))
        .route("/sessions/{session}/items", get(history::items))
        .route("/sessions/{session}/attempts", get(history::attempts))
        .route("/sessions/{session}/journal", get(history::journal))
        .route("/sessions/{session}/queue", get(prompts::queue))
        .route("/sessions/{session}/events", get(events::of_session))
        .route("/sessions/{session}/interrupt", post(sessions::interrupt))
        .route("/sessions/{session}/stop", post(sessions::stop))
        .route("/sessions/{session}/kill", post(sessions::kill))
        .route("/sessions/{session}/resume", post(sessions::resume))
        .route("/sessions/{session}/settings", patch(sessions::settings))
        .route("/sessions/{session}/prompts", post(prompts::prompt))
        .route("/prompts/{prompt}", patch(prompts::edit).delete(prompts::drop))
        .route("/gates", get(gates::list))
        .route("/gates/{gate}/decision", post(gates::decide))
        .route("/events", get(events::all))
        .route("/agents", get(system::agents))
        .route("/status", get(system::status))
        .route("/daemon/stop", post(system::stop))
        .layer(middleware::from_fn_with_state(host.clone(), booted));
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

/// Serves until the daemon ends.
pub(crate) async fn serve(host: Arc<Host>, listener: UnixListener) -> std::io::Result<()> {
    let ending = host.ending.clone();
    let service = router(host).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(async move { ending.cancelled().await }).await
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
    let mut response = if own {
        next.run(request).await
    } else {
        Failure::new(ErrorCode::Forbidden, "the daemon serves its own user alone").into_response()
    };
    let head = response.headers_mut();
    head.insert(headers::VERSION, HeaderValue::from_static(VERSION));
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A status of an answer.
const OK: StatusCode = StatusCode::OK;
