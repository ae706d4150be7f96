//! A stream of server-sent events that checks itself: no frame comes twice, and none is missing.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::Value;

use super::http::{read_chunk, read_head, write_head};
use super::{Api, Failure, Fallible, PATIENCE, ensure};

/// One frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl Frame {
    /// Whether it is an event of this kind.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.name == "event" && self.data["kind"] == kind
    }

    /// The data of the event.
    pub(crate) fn event(&self) -> &Value {
        &self.data["data"]
    }
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Stream {
    api: Api,
    path: String,
    reader: BufReader<UnixStream>,
    buffer: Vec<u8>,
    /// The cursor of the last frame that had one.
    pub(crate) cursor: Option<String>,
    /// The number of the last event of each session.
    seqs: BTreeMap<String, u64>,
    /// Whether all events of a session have to come.
    gapless: bool,
    /// Every frame so far.
    pub(crate) seen: Vec<Frame>,
}

impl Stream {
    /// Subscribes, and reads the first frame, which is `ready`.
    pub(crate) fn open(api: &Api, path: &str) -> Fallible<Self> {
        let reader = subscribe(api, path, None)?;
        let mut stream = Self {
            api: api.clone(),
            path: path.to_owned(),
            reader,
            buffer: Vec::new(),
            cursor: None,
            seqs: BTreeMap::new(),
            gapless: !path.contains("kind="),
            seen: Vec::new(),
        };
        stream.ready()?;
        Ok(stream)
    }

    /// Connects again, as a client does whose connection broke, and goes on behind the last frame.
    pub(crate) fn reconnect(&mut self) -> Fallible {
        self.reader = subscribe(&self.api, &self.path, self.cursor.as_deref())?;
        self.buffer.clear();
        self.ready()
    }

    fn ready(&mut self) -> Fallible {
        let first = self.next()?;
        ensure!(first.name == "ready", "the first frame is {first:?}");
        Ok(())
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Fallible<Frame> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let frame = parse(&text)?;
                self.check(&frame)?;
                self.seen.push(frame.clone());
                return Ok(frame);
            }
            let chunk = read_chunk(&mut self.reader)?.ok_or_else(|| Failure::new("the stream ended"))?;
            self.buffer.extend(chunk);
        }
    }

    fn check(&mut self, frame: &Frame) -> Fallible {
        let position = |text: &str| if text == "start" { Ok(0) } else { text.parse::<u64>() };
        if let (Some(last), Some(id)) = (&self.cursor, &frame.id) {
            let (last, id) = (position(last)?, position(id)?);
            let moves = if frame.name == "event" { id > last } else { id >= last };
            ensure!(moves, "after cursor {last} came {frame:?}");
        }
        self.cursor = frame.id.clone().or(self.cursor.take());
        if frame.name == "event" {
            let session = frame.data["session"].as_str().unwrap_or_default().to_owned();
            let seq = frame.data["seq"].as_u64().unwrap_or_default();
            if let Some(last) = self.seqs.insert(session, seq) {
                let follows = if self.gapless { seq == last + 1 } else { seq > last };
                ensure!(follows, "event {seq} came after {last}: {frame:?}");
            }
        }
        Ok(())
    }

    /// Reads on until a frame fits, and returns that frame.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Fallible<Frame> {
        // Heartbeats come for ever, so that a silent stream does not end by itself. A long history takes as long as it takes.
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            ensure!(Instant::now() < deadline, "no {what} in time; {}", self.told());
            match self.next() {
                Ok(frame) if wanted(&frame) => return Ok(frame),
                Ok(frame) if frame.name == "event" => deadline = Instant::now() + PATIENCE,
                Ok(_) => {}
                Err(failure) => return Err(failure.within(&format!("no {what}; {}", self.told()))),
            }
        }
    }

    /// Reads on until an event of this kind.
    pub(crate) fn event(&mut self, kind: &str) -> Fallible<Value> {
        Ok(self.until(kind, |frame| frame.is(kind))?.event().clone())
    }

    /// Reads on until the status is this one.
    pub(crate) fn status(&mut self, status: &str) -> Fallible<Value> {
        let fits = |frame: &Frame| frame.is("session.status_changed") && frame.event()["to"] == status;
        Ok(self.until(&format!("status {status}"), fits)?.event().clone())
    }

    /// All statuses that were told so far.
    pub(crate) fn statuses(&self) -> Vec<String> {
        self.events("session.status_changed")
            .map(|data| data["to"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The data of all events of a kind that came so far.
    pub(crate) fn events(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.seen.iter().filter(move |frame| frame.is(kind)).map(Frame::event)
    }

    /// How many events of a kind came so far.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events(kind).count()
    }

    /// The last kinds of events, for a message.
    fn told(&self) -> String {
        const LAST: usize = 25;
        let from = self.seen.len().saturating_sub(LAST);
        let words: Vec<String> = self.seen[from..]
            .iter()
            .map(|frame| match frame.data["kind"].as_str() {
                Some("session.status_changed") => format!("→{}", frame.event()["to"]),
                Some(kind) => kind.to_owned(),
                None => frame.name.clone(),
            })
            .collect();
        format!("the last frames are {}", words.join(", "))
    }
}

fn subscribe(api: &Api, path: &str, last: Option<&str>) -> Fallible<BufReader<UnixStream>> {
    let mut stream = api.connect()?;
    let mut head = vec![("Accept", "text/event-stream")];
    head.extend(last.map(|last| ("Last-Event-ID", last)));
    write_head(&mut stream, "GET", path, &head, None)?;
    let mut reader = BufReader::new(stream);
    let (status, _) = read_head(&mut reader)?;
    ensure!(status == 200, "GET {path}: status {status}");
    Ok(reader)
}

fn parse(text: &[u8]) -> Fallible<Frame> {
    let mut frame = Frame { name: String::new(), id: None, data: Value::Null };
    for line in std::str::from_utf8(text)?.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut frame.name),
            Some(("id", id)) => frame.id = Some(id.to_owned()),
            Some(("data", data)) => frame.data = serde_json::from_str(data)?,
            Some(_) | None => ensure!(line.is_empty(), "a stream has the line {line:?}"),
        }
    }
    Ok(frame)
}
