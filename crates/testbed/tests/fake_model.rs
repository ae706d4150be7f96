//! The fake model server, asked over plain HTTP.

use lockkeeper_testbed::model::Request;
use lockkeeper_testbed::{Config, FakeModel};
use serde_json::{Value, json};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;

/// Sends one request and leaves the answer on the connection.
fn send(model: &FakeModel, method: &str, path: &str, body: &str) -> io::Result<TcpStream> {
    const LONGEST_SILENCE: Duration = Duration::from_secs(20);
    let mut stream = TcpStream::connect(model.addr)?;
    stream.set_read_timeout(Some(LONGEST_SILENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    Ok(stream)
}

/// Sends one request and reads the whole answer: status line and headers, then the body.
fn ask(model: &FakeModel, method: &str, path: &str, body: &str) -> Result<(String, String), Box<dyn Error>> {
    let mut answer = String::new();
    send(model, method, path, body)?.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no header")?;
    Ok((head.to_lowercase(), body.to_owned()))
}

fn prompt(text: &str, stream: bool) -> String {
    json!({"model": "m", "stream": stream, "max_tokens": 1, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

/// Asks without a stream and returns the status and the body.
fn say(model: &FakeModel, text: &str) -> Result<(String, Value), Box<dyn Error>> {
    let (head, body) = ask(model, "POST", "/v1/messages", &prompt(text, false))?;
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok((status, serde_json::from_str(&body)?))
}

/// Returns the events of a stream by their type.
fn events(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[test]
fn a_message_is_the_same_with_and_without_a_stream() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    let (status, message) = say(&model, "TOOL Bash {\"command\":\"ls\"}")?;
    assert_eq!((status.as_str(), &message["stop_reason"]), ("200", &json!("tool_use")));
    assert_eq!(message["content"][0]["text"], "calling ");
    assert_eq!(message["content"][1]["input"], json!({"command": "ls"}));
    let (_, body) = ask(&model, "POST", "/v1/messages?beta=true", &prompt("SAY x", true))?;
    assert_eq!(
        events(&body),
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    Ok(())
}

#[test]
fn errors_have_the_shape_and_the_headers_of_the_api() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    let (status, body) = say(&model, "ERROR 529 busy")?;
    let expected = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    assert_eq!((status.as_str(), body), ("529", expected));
    let (head, _) = ask(&model, "POST", "/v1/messages", &prompt("RATELIMIT 3", true))?;
    assert!(head.contains("429") && head.contains("retry-after: 3"), "{head}");
    let (head, body) = ask(&model, "GET", "/no/such", "")?;
    assert!(head.contains("404") && body.contains("not_found_error"), "{head}");
    assert_eq!(say(&model, "SLOW many")?.0, "400");
    Ok(())
}

#[test]
fn a_flaky_answer_fails_as_often_as_it_says() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    for expected in ["503", "503", "200"] {
        assert_eq!(say(&model, "FLAKY 503 2")?.0, expected);
    }
    Ok(())
}

#[test]
fn a_cut_stream_has_no_end() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    let mut body = Vec::new();
    // Whether the cut is an end or a reset, the last chunk is missing.
    let _ = send(&model, "POST", "/v1/messages", &prompt("DROP", true))?.read_to_end(&mut body);
    let text = String::from_utf8(body)?;
    assert!(text.contains("about to drop "), "{text}");
    assert!(!text.contains("message_stop") && !text.ends_with("0\r\n\r\n"), "{text}");
    let (_, text) = ask(&model, "POST", "/v1/messages", &prompt("MIDERR", true))?;
    assert_eq!(events(&text).last(), Some(&"error"));
    let mut whole = String::new();
    let ended = send(&model, "POST", "/v1/messages", &prompt("DROP", false))?.read_to_string(&mut whole);
    assert!(ended.is_err() || !whole.ends_with("0\r\n\r\n"), "{whole}");
    assert_eq!(say(&model, "MIDERR")?.1["stop_reason"], "end_turn");
    Ok(())
}

#[test]
fn whoever_leaves_is_noticed() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    for text in ["HANG", "STALL", "WAIT for ever"] {
        let before = model.requests().len();
        let stream = send(&model, "POST", "/v1/messages", &prompt(text, true))?;
        model.wait_for_blocking(|asked| asked.len() > before)?;
        drop(stream);
        let asked = model.wait_for_blocking(|asked| asked.last().is_some_and(Request::client_gone))?;
        assert_eq!(asked.last().and_then(|asked| asked.script.as_deref()), Some(text));
    }
    Ok(())
}

#[test]
fn a_token_is_released_from_here_and_over_http() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    let waiting = send(&model, "POST", "/v1/messages", &prompt("WAIT one", true))?;
    model.wait_for_blocking(|asked| asked.iter().any(|asked| asked.script.as_deref() == Some("WAIT one")))?;
    model.release("one");
    let mut text = String::new();
    { waiting }.read_to_string(&mut text)?;
    assert!(text.contains("released") && text.contains("message_stop"), "{text}");
    ask(&model, "POST", "/_control/release/two", "")?;
    assert_eq!(say(&model, "WAIT two")?.1["content"][0]["text"], "waiting released");
    let (_, log) = ask(&model, "GET", "/_control/log", "")?;
    let log: Value = serde_json::from_str(&log)?;
    assert_eq!((&log[0]["script"], &log[0]["progress"]), (&json!("WAIT one"), &json!("answered")));
    Ok(())
}

#[test]
fn models_and_tokens_are_answered() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    let (_, body) = ask(&model, "POST", "/v1/messages/count_tokens", &prompt("x", false))?;
    assert!(serde_json::from_str::<Value>(&body)?["input_tokens"].is_u64());
    let (_, body) = ask(&model, "GET", "/v1/models/any-id", "")?;
    assert_eq!(serde_json::from_str::<Value>(&body)?["id"], "any-id");
    assert!(ask(&model, "GET", "/v1/models/lab-404", "")?.0.contains("404"));
    Ok(())
}

#[tokio::test]
async fn it_can_be_awaited_and_dropped_within_a_runtime() -> Outcome {
    let model = FakeModel::start(Config::default())?;
    let (_stream, seen) =
        (send(&model, "POST", "/v1/messages", &prompt("HANG", true))?, |asked: &[Request]| !asked.is_empty());
    let asked = model.wait_for(seen).await?;
    assert_eq!(asked[0].last_text, "HANG");
    let addr = model.addr;
    drop(model);
    let refused = async {
        while TcpStream::connect(addr).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await?;
    Ok(())
}
