//! Connections: taken in, served within bounds, and ended with the daemon.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::caller::Peer;
use super::{Crowd, hooks_router, router};
use crate::host::Host;
use crate::limits;

/// Serves until the daemon ends, and those who are connected until they have their answers. Connections end with this.
pub(crate) async fn serve(host: Arc<Host>, listener: UnixListener) {
    let router = router(host.clone());
    let ending = host.ending.clone();
    let accept = async move || Ok(listener.accept().await?.0);
    let connect = |stream: UnixStream, crowd: Crowd| {
        let (host, router, ending) = (host.clone(), router.clone(), ending.clone());
        async move {
            let peer = host.callers.peer(&stream).await;
            connection(stream, router, Some(peer), crowd, ending).await;
        }
    };
    take_in(&host, limits::CONNECTIONS, usize::MAX, accept, connect).await;
}

/// Serves the listener for webhooks in the same way.
pub(crate) async fn serve_hooks(host: Arc<Host>, listener: TcpListener) {
    let router = hooks_router(host.clone());
    let ending = host.ending.clone();
    let accept = async move || Ok(listener.accept().await?.0);
    let connect = |stream: TcpStream, crowd: Crowd| {
        let (router, ending) = (router.clone(), ending.clone());
        let longest = Duration::from_millis(limits::WEBHOOK_CONNECTION_MS);
        async move {
            if tokio::time::timeout(longest, connection(stream, router, None, crowd, ending)).await.is_err() {
                tracing::debug!("a sender took too long");
            }
        }
    };
    let (most, at_all) = (limits::WEBHOOK_CONNECTIONS, limits::WEBHOOK_CONNECTIONS_MAX);
    take_in(&host, most, at_all, accept, connect).await;
}

/// Takes connections in until the daemon ends; those beyond `most` are told that there is a crowd, and no more than `at_all`
/// are taken at a time.
async fn take_in<S, C: Future<Output = ()> + Send + 'static>(
    host: &Host,
    most: usize,
    at_all: usize,
    accept: impl AsyncFn() -> io::Result<S>,
    connect: impl Fn(S, Crowd) -> C,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(), if connections.len() < at_all => match accepted {
                Ok(stream) => {
                    let crowd = Crowd(connections.len() >= most);
                    // One that is cut ends a little after whoever cut it, and has the store until then.
                    connections.spawn(host.tasks.track_future(connect(stream, crowd)));
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
    // The listener ends with it.
    drop(accept);
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
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    peer: Option<Peer>,
    crowd: Crowd,
    ending: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(crowd);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(ConnectInfo(peer.clone()));
        }
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
