//! The client against answers byte by byte.
#![cfg(feature = "client")]

use std::path::Path;

use lockkeeper_api::client::{Client, ClientError};
use lockkeeper_api::{ErrorCode, EventQuery, Frame, Reference};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Answers one connection after the other with these bytes; tells what was asked.
fn serve(socket: &Path, answers: Vec<String>) -> Result<JoinHandle<std::io::Result<Vec<String>>>> {
    let listener = UnixListener::bind(socket)?;
    #[expect(clippy::disallowed_methods, reason = "the test waits for its end")]
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await?;
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await?);
            }
            asked.push(String::from_utf8_lossy(&request).into_owned());
            stream.write_all(answer.as_bytes()).await?;
        }
        Ok(asked)
    });
    Ok(task)
}

fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nlockkeeper-version: 9.9.9\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test(flavor = "current_thread")]
async fn nobody_who_listens_is_told_from_a_socket_that_cannot_be_used() -> Result {
    let dir = tempfile::tempdir()?;
    let client = |name: &str| Client::new(dir.path().join(name));
    assert!(matches!(client("absent").health().await, Err(ClientError::NoDaemon { .. })));
    // Left behind by a daemon that was killed.
    drop(UnixListener::bind(dir.path().join("stale"))?);
    assert!(matches!(client("stale").health().await, Err(ClientError::NoDaemon { .. })));
    std::fs::write(dir.path().join("file"), "")?;
    assert!(matches!(client("file/sock").health().await, Err(ClientError::Unreachable { .. })));
    Ok(())
}

#[tokio::test(flavor = "current_thread")]
async fn a_problem_keeps_its_code_and_the_version_is_known_then() -> Result {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("s");
    let problem = r#"{"code":"session_not_found","title":"t","status":404,"detail":"no x","next":"look"}"#;
    let later = r#"{"code":"of_later","title":"t","status":409,"detail":"d"}"#;
    let server = serve(
        &socket,
        vec![
            answer("404 Not Found", "application/problem+json", problem),
            answer("409 Conflict", "application/problem+json; charset=utf-8", later),
            answer("404 Not Found", "text/plain", "nothing here"),
            answer("200 OK", "application/json", "{\"unexpected\":1}"),
        ],
    )?;
    let client = Client::new(&socket);
    let x: Reference = "x".parse()?;
    assert_eq!(client.daemon_version(), None);
    let Err(ClientError::Problem(first)) = client.session(&x).await else { return Err("no problem".into()) };
    assert_eq!((first.known_code(), first.next.as_deref()), (Some(ErrorCode::SessionNotFound), Some("look")));
    assert_eq!(client.daemon_version().as_deref(), Some("9.9.9"));
    let Err(ClientError::Problem(second)) = client.session(&x).await else { return Err("no problem".into()) };
    assert_eq!((second.known_code(), second.exit()), (None, 3));
    let Err(ClientError::Problem(third)) = client.session(&x).await else { return Err("no problem".into()) };
    assert_eq!(third.known_code(), Some(ErrorCode::NotFound));
    assert!(third.detail.contains("9.9.9"), "an older daemon is named: {}", third.detail);
    assert!(matches!(client.session(&x).await, Err(ClientError::Garbled { .. })));
    assert!(server.await??[0].starts_with("GET /v1/sessions/x HTTP/1.1\r\n"));
    Ok(())
}

#[tokio::test(flavor = "current_thread")]
async fn a_stream_goes_on_where_it_broke() -> Result {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("s");
    let ready = |cursor: u32| {
        format!(
            "event: ready\nid: {cursor}\ndata: {{\"cursor\":\"{cursor}\",\"snapshot\":{{\"cursor\":\"{cursor}\",\"sessions\":[],\"gates\":[]}}}}\n\n"
        )
    };
    let event = |cursor: u32| {
        format!(
            "event: event\nid: {cursor}\ndata: {{\"cursor\":\"{cursor}\",\"session\":\"000000000001\",\"seq\":{cursor},\"at\":\"2026-11-20T13:00:00.000Z\",\"kind\":\"later.kind\",\"data\":{{\"a\": 1}}}}\n\n"
        )
    };
    // The second frame of the first connection is cut in the middle, and a frame of a later version is in between.
    let cut = event(6);
    let first = format!("{}{}event: later\ndata: 1\n\n{}", ready(4), event(5), &cut[..cut.len() / 2]);
    let second = format!("{}{}", ready(5), event(6));
    let server = serve(&socket, vec![stream(&first), stream(&second)])?;
    let client = Client::new(&socket);
    let query = EventQuery { after: Some("4".to_owned()), ..EventQuery::default() };
    let mut stream = client.subscribe(None, &query).await?;
    assert!(matches!(stream.next().await?, Frame::Ready(_)));
    assert!(matches!(stream.next().await?, Frame::Event(event) if event.seq == 5));
    let Err(error) = stream.next().await else { return Err("the stream did not end".into()) };
    assert!(error.is_gone(), "{error}");
    stream.reconnect().await?;
    assert!(matches!(stream.next().await?, Frame::Ready(_)));
    let Frame::Event(event) = stream.next().await? else { return Err("no event".into()) };
    assert_eq!((event.seq, event.data.as_str()), (6, "{\"a\": 1}"));
    let asked = server.await??;
    assert!(asked[0].starts_with("GET /v1/events?after=4 HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(!asked[0].contains("last-event-id"));
    assert!(asked[1].contains("last-event-id: 5\r\n"), "{}", asked[1]);
    Ok(())
}
