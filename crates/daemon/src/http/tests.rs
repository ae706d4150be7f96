//! The routes, and the answers that are not printed out of their types.

use axum::body::Body;
use axum::http::Method;
use axum::http::request::Builder;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use lockkeeper_api::{Attempt, FullSession, Item, List, Problem, Turn};
use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::NewSession;

use super::caller::Standing;
use super::*;
use crate::making::tests::{host, new};

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn send(host: &Arc<Host>, method: &str, path: &str) -> Result<Response, Box<dyn std::error::Error>> {
    call(host, None, Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(path)).await
}

/// Calls as a program of this session's agent, or of no agent.
async fn call(
    host: &Arc<Host>,
    session: Option<&SessionId>,
    request: Builder,
) -> Result<Response, Box<dyn std::error::Error>> {
    let mut request = request.body(Body::empty())?;
    request.extensions_mut().insert(ConnectInfo(Peer {
        user: "me".to_owned(),
        own: true,
        standing: session.map_or(Standing::Outside, |session| Standing::Inside(session.clone())),
        name: None,
        look: None,
    }));
    Ok(TowerToHyperService::new(router(host.clone())).call(request).await?)
}

async fn read<T: serde::de::DeserializeOwned>(
    host: &Arc<Host>,
    path: &str,
) -> Result<T, Box<dyn std::error::Error>> {
    let body = axum::body::to_bytes(send(host, "GET", path).await?.into_body(), usize::MAX).await?;
    Ok(serde_json::from_slice(&body)?)
}

#[tokio::test]
async fn every_route_of_the_document_is_served() -> Outcome {
    let (_home, host) = host()?;
    host.booted.send_replace(true);
    let routes = lockkeeper_api::routes();
    assert!(routes.len() > 30, "{routes:?}");
    for (method, path) in routes {
        let path = path
            .replace("{session}", "nobody")
            .replace("{gate}", "nobody.g1")
            .replace("{prompt}", "nobody.p1")
            .replace("{webhook}", "nobody");
        let response = send(&host, method, &path).await?;
        if response.headers().get(header::CONTENT_TYPE).is_some_and(|media| media == headers::PROBLEM_JSON) {
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
            let code = serde_json::from_slice::<Problem>(&body)?.code;
            assert!(code != "not_found" && code != "method_not_allowed", "{method} {path}: {code}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_path_that_is_no_text_is_a_problem_as_any_other() -> Outcome {
    let (_home, host) = host()?;
    host.booted.send_replace(true);
    for (method, path) in lockkeeper_api::routes() {
        let Some((before, behind)) = path.split_once('{') else { continue };
        let behind = behind.split_once('}').map_or("", |(_, behind)| behind).replace("{claim}", "k1");
        let response = send(&host, method, &format!("{before}%FF{behind}")).await?;
        let media = response.headers().get(header::CONTENT_TYPE).cloned();
        assert!(media.is_some_and(|media| media == headers::PROBLEM_JSON), "{method} {path}");
        assert!(response.status().is_client_error(), "{method} {path}: {}", response.status());
    }
    Ok(())
}

#[tokio::test]
async fn lists_that_are_written_piece_by_piece_are_what_their_types_say() -> Outcome {
    let (_home, host) = host()?;
    host.booted.send_replace(true);
    let new = new(7)?;
    let at = |rest: &str| format!("/v1/sessions/{}{rest}", new.id);
    host.create(new.clone(), "me".to_owned(), Vec::new(), None).await?;
    let full: FullSession = read(&host, &at("/full")).await?;
    assert_eq!(full.session.id, new.id);
    assert_eq!(full.events.first().map(|event| event.kind.as_str()), Some("session.created"));
    assert_eq!(full.events.last().map(|event| &event.cursor), Some(&full.cursor));
    assert!(full.turns.is_empty() && full.gates.is_empty() && full.attempts.is_empty());
    assert_eq!(read::<List<Turn>>(&host, &at("/turns")).await?.cursor, full.cursor);
    assert_eq!(read::<List<Item>>(&host, &at("/items")).await?.cursor, full.cursor);
    assert_eq!(read::<List<Attempt>>(&host, &at("/attempts")).await?.cursor, full.cursor);
    host.ending.cancel();
    Ok(())
}

#[tokio::test]
async fn an_answer_that_cannot_be_told_to_its_end_breaks_off_and_does_not_look_whole() -> Outcome {
    let (_home, host) = host()?;
    let failing = pieces::answer(&host, answer::JSON, async |mut out| {
        out.text("{");
        Err(Failure::new(ErrorCode::StoreUnavailable, "the disk failed").into())
    });
    assert!(axum::body::to_bytes(failing.into_body(), usize::MAX).await.is_err());
    let whole = pieces::answer(&host, answer::JSON, async |mut out| {
        out.text("{}");
        out.finish().await
    });
    assert_eq!(axum::body::to_bytes(whole.into_body(), usize::MAX).await?, "{}");
    Ok(())
}

#[tokio::test]
async fn a_wait_that_would_close_a_cycle_is_refused_until_the_other_ones_stream_ends() -> Outcome {
    let (_home, host) = host()?;
    host.booted.send_replace(true);
    let (a, b) = (new(7)?.id, new(8)?.id);
    for (no, name) in [(7, "builder"), (8, "tester")] {
        let new = NewSession { name: Some(name.parse()?), ..new(no)? };
        host.create(new, "me".to_owned(), Vec::new(), None).await?;
    }
    let stream = |of: &SessionId, query: &str| {
        let uri = format!("/v1/sessions/{of}/events{query}");
        Request::builder().uri(uri).header(header::ACCEPT, headers::EVENT_STREAM)
    };
    let waits = call(&host, Some(&a), stream(&b, "?waits=true")).await?;
    assert_eq!(waits.status(), 200);
    let wait = || Request::builder().uri(format!("/v1/sessions/{a}?wait=end"));
    for request in [stream(&a, "?waits=true"), wait()] {
        let refused = call(&host, Some(&b), request).await?;
        let body = axum::body::to_bytes(refused.into_body(), usize::MAX).await?;
        let problem: Problem = serde_json::from_slice(&body)?;
        assert_eq!((problem.code.as_str(), problem.status), ("waiting_cycle", 409));
        let cycle = "tester waits for builder, builder waits for tester";
        assert!(problem.detail.ends_with(cycle), "{}", problem.detail);
    }
    // Who only looks does not wait, and nobody waits for a user.
    for (session, query) in [(Some(&b), ""), (Some(&b), "?waits=false"), (None, "?waits=true")] {
        assert_eq!(call(&host, session, stream(&a, query)).await?.status(), 200);
    }
    drop(waits);
    assert_eq!(call(&host, Some(&b), stream(&a, "?waits=true")).await?.status(), 200);
    host.ending.cancel();
    Ok(())
}
