//! A small client for HTTP/1.1 over the daemon's socket: one request per connection, so that a test can also send
//! what no good client sends.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Failure, Fallible, PATIENCE, ensure};

/// The way to one daemon.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    socket: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Api {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Fallible<Value> {
        self.send("GET", path, &[], None)?.good()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Fallible<Value> {
        self.json("POST", path, body)?.good()
    }

    /// A request with a JSON body.
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Fallible<Answer> {
        self.send(method, path, &[("Content-Type", "application/json")], Some(body.to_string().as_bytes()))
    }

    /// The same under an idempotency key.
    pub(crate) fn keyed(&self, path: &str, key: &str, body: &Value) -> Fallible<Answer> {
        let head = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        self.send("POST", path, &head, Some(body.to_string().as_bytes()))
    }

    /// Any request.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        head: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Fallible<Answer> {
        send_over(self.connect()?, method, path, head, body)
    }

    /// Sends bytes as they are and reads what comes back.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Fallible<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(bytes)?;
        read_answer(stream)
    }

    pub(crate) fn connect(&self) -> Fallible<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// Sends a request and reads what comes back.
pub(crate) fn send_over(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    head: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Fallible<Answer> {
    let length = body.map_or(0, <[u8]>::len);
    write_head(&mut stream, method, path, head, Some(length))?;
    // A daemon that refuses a body may answer, and close, before it has read all of it.
    let sent = stream.write_all(body.unwrap_or_default());
    match (read_answer(stream), sent) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(error)) => Err(error.into()),
        (Err(failure), Ok(())) => Err(failure.within(&format!("{method} {path}"))),
    }
}

pub(super) fn write_head(
    stream: &mut impl Write,
    method: &str,
    path: &str,
    head: &[(&str, &str)],
    length: Option<usize>,
) -> Fallible {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: lk\r\nConnection: close\r\n");
    for (name, value) in head {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if let Some(length) = length {
        text.extend(["Content-Length: ", &length.to_string(), "\r\n"]);
    }
    text.push_str("\r\n");
    Ok(stream.write_all(text.as_bytes())?)
}

/// Reads the status and the head, and leaves the body.
pub(super) fn read_head(reader: &mut impl BufRead) -> Fallible<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| Failure::new(format!("no status line but {line:?}")))?;
    let mut head = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => head.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok((status, head)),
        }
    }
}

fn read_answer(stream: impl Read) -> Fallible<Answer> {
    let mut reader = BufReader::new(stream);
    let (status, head) = read_head(&mut reader)?;
    let mut answer = Answer { status, head, body: Vec::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = read_chunk(&mut reader)? {
            answer.body.extend(chunk);
        }
    } else {
        let length: u64 = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        reader.take(length).read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

/// Reads one chunk of a body; none at its end.
pub(super) fn read_chunk(reader: &mut impl BufRead) -> Fallible<Option<Vec<u8>>> {
    let mut line = String::new();
    ensure!(reader.read_line(&mut line)? > 0, "the connection ended within a body");
    let length = usize::from_str_radix(line.trim(), 16)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer that is no error.
    pub(crate) fn good(self) -> Fallible<Value> {
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.text());
        if self.body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&self.body)?) }
    }

    /// Makes sure that it is a problem document with this status and code, and a sentence for people.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Fallible {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let whole = self.status == status
            && problem["code"] == code
            && problem["status"] == status
            && problem["detail"].as_str().is_some_and(|detail| !detail.is_empty())
            && self.header("content-type") == Some("application/problem+json");
        ensure!(whole, "wanted {status} {code}, got {}: {}", self.status, self.text());
        Ok(())
    }
}
