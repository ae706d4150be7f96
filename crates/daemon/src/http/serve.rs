//! Connections: taken in, served within bounds, and ended with the daemon.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::caller::Callers;
use super::{Crowd, router};
use crate::host::Host;
use crate::limits;

/// Serves until the daemon ends, and those who are connected until they have their answers. Connections end with this.
pub(crate) async fn serve(host: Arc<Host>, listener: UnixListener) {
    let callers = Arc::new(Callers::look_up(host.paths.sessions()));
    let router = router(host.clone());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let crowd = Crowd(connections.len() >= limits::CONNECTIONS);
                    let ending = host.ending.clone();
                    connections.spawn(connection(stream, router.clone(), callers.clone(), crowd, ending));
                }
                Err(error) => {
                    // Too many files are open; some are closed in a while.
                    tracing::warn!(%error, "could not accept a connection; trying again");
                    tokio::time::sleep(Duration::from_millis(limits::RETRY_MS)).await;
                }
            },
            Some(ended) = connections.join_next() => notice(ended),
            () = host.ending.cancelled() => break,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        notice(ended);
    }
}

fn notice(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a defect");
    }
}

/// Serves one connection, which lasts for several requests unless there is a crowd.
async fn connection(
    stream: UnixStream,
    router: Router,
    callers: Arc<Callers>,
    crowd: Crowd,
    ending: CancellationToken,
) {
    let peer = ConnectInfo(callers.peer(&stream).await);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(crowd);
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::HEAD_MS))
        .max_buf_size(limits::CONNECTION_BYTES)
        .keep_alive(!crowd.0)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
