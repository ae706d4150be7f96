//! Events: pages, and streams that begin at a cursor, miss nothing and repeat nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lockkeeper_agents::DeltaKind;
use lockkeeper_api::{
    ErrorCode, EventPage, EventQuery, Frame, Gap, Heartbeat, LiveKind, Ready, Snapshot, Time, headers,
    limits as api_limits,
};
use lockkeeper_core::id::{ItemKey, SessionId};
use lockkeeper_core::session::KINDS;
use lockkeeper_store::{Cursor, EventQuery as StoreQuery, GateFilter, View, ViewFilter};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::answer::{self, Answer, Failure, Path, Query, wire_cursor};
use super::{Peer, convert, resolve, waiting};
use crate::host::Host;
use crate::hub::Told;
use crate::limits;
use crate::session::Live;
use crate::waits::Wait;

/// The tombstone of a removed session, which the store writes.
const REMOVED: &str = "session.removed";

pub(super) async fn of_session(
    State(host): State<Arc<Host>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(session): Path<String>,
    head: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<Response, Failure> {
    let id = resolve::session(&host, &session).await?;
    if query.waits != Some(true) {
        return answer(host, Some(id), None, &head, query).await;
    }
    if !asks_for_stream(&head) {
        return Err(Failure::new(ErrorCode::QueryInvalid, "only who reads a stream waits"));
    }
    let wait = waiting::begin(&host, &peer, &id).await?;
    answer(host, Some(id), wait, &head, query).await
}

pub(super) async fn all(
    State(host): State<Arc<Host>>,
    head: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<Response, Failure> {
    if query.waits == Some(true) {
        return Err(Failure::new(
            ErrorCode::QueryInvalid,
            "only who reads the stream of one session waits for it",
        ));
    }
    answer(host, None, None, &head, query).await
}

fn asks_for_stream(head: &HeaderMap) -> bool {
    let accepts = head.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains(headers::EVENT_STREAM))
}

async fn answer(
    host: Arc<Host>,
    session: Option<SessionId>,
    wait: Option<Wait>,
    head: &HeaderMap,
    query: EventQuery,
) -> Result<Response, Failure> {
    let kinds = kinds(query.kind.as_deref())?;
    let last_seen =
        head.get(headers::LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default().to_owned());
    let after = last_seen.or(query.after).map(|text| position(&text)).transpose()?;
    let bad = |why: &str| Err(Failure::new(ErrorCode::QueryInvalid, why));
    if query.limit == Some(0) {
        bad("a page holds at least one event")
    } else if !asks_for_stream(head) {
        page(host, session, kinds, after.unwrap_or(Cursor::START), query.limit).await
    } else if query.limit.is_some() {
        bad("a stream has no pages, and so no limit")
    } else {
        stream(host, session, wait, kinds, after).await
    }
}

fn position(text: &str) -> Result<Cursor, Failure> {
    let bad = || Failure::new(ErrorCode::CursorInvalid, format!("{text:?} is not a cursor of this daemon"));
    let cursor: lockkeeper_api::Cursor = text.parse().map_err(|_| bad())?;
    cursor.position().map(Cursor).ok_or_else(bad)
}

fn kinds(list: Option<&str>) -> Result<Option<Vec<String>>, Failure> {
    let Some(list) = list else { return Ok(None) };
    let mut kinds = Vec::new();
    for word in list.split(',').map(str::trim) {
        let all = KINDS.iter().copied().chain([REMOVED]);
        let matching: Vec<String> = match word.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('.') => {
                all.filter(|kind| kind.starts_with(prefix)).map(str::to_owned).collect()
            }
            Some(_) => Vec::new(),
            None => all.filter(|kind| *kind == word).map(str::to_owned).collect(),
        };
        if matching.is_empty() {
            return Err(Failure::new(ErrorCode::KindUnknown, format!("there is no kind of event {word:?}")));
        }
        kinds.extend(matching);
    }
    Ok(Some(kinds))
}

async fn page(
    host: Arc<Host>,
    session: Option<SessionId>,
    kinds: Option<Vec<String>>,
    after: Cursor,
    limit: Option<usize>,
) -> Answer {
    let limit = limit.unwrap_or(api_limits::PAGE_EVENTS).min(api_limits::PAGE_EVENTS);
    let query = StoreQuery { after, session, kinds, limit, ..StoreQuery::default() };
    let page = resolve::read(&host, move |store| store.read_raw(&query)).await?;
    let items = page.events.into_iter().map(convert::raw_event).collect::<Result<_, _>>()?;
    let body = EventPage { items, cursor: wire_cursor(page.next), more: page.more };
    answer::json(StatusCode::OK, &body, page.next)
}

async fn stream(
    host: Arc<Host>,
    session: Option<SessionId>,
    wait: Option<Wait>,
    kinds: Option<Vec<String>>,
    after: Option<Cursor>,
) -> Result<Response, Failure> {
    // Listening begins before the snapshot is taken, so that nothing falls in between.
    let told = host.hub.listen();
    let view = snapshot(&host, session.clone()).await?;
    let (after, gap) = match after {
        // From another log, or from a copy that was younger than this one.
        Some(after) if after > view.cursor => (view.cursor, Some(after)),
        Some(after) => (after, None),
        None => (view.cursor, None),
    };
    let mut subscriber = Subscriber {
        last_seq: (session.is_some() && after == view.cursor)
            .then(|| view.sessions.first().map_or(0, |row| row.seq)),
        behind: after < view.cursor,
        host,
        session,
        _wait: wait,
        kinds,
        told,
        cursor: after,
        open: BTreeMap::new(),
        missed: BTreeSet::new(),
        taking: None,
        frames: VecDeque::new(),
        beat: heartbeat(),
    };
    subscriber.begin(&view, gap);
    let body = futures_util::stream::unfold(subscriber, |mut subscriber| async move {
        let frame = subscriber.next().await?;
        Some((Ok::<_, Infallible>(bytes::Bytes::from(frame)), subscriber))
    });
    let head = [(header::CONTENT_TYPE, headers::EVENT_STREAM)];
    Ok((StatusCode::OK, head, Body::from_stream(body)).into_response())
}

async fn snapshot(host: &Arc<Host>, session: Option<SessionId>) -> Result<View, Failure> {
    resolve::read(host, move |store| match session {
        None => store.view(&ViewFilter { ended: Some(false), ..ViewFilter::default() }),
        Some(id) => loop {
            let cursor = store.head();
            let row = store.session_row(&id)?;
            let gates = store.gates(&GateFilter {
                open: true,
                session: Some(id.clone()),
                ..GateFilter::default()
            })?;
            // All of it has to be true at one position; try again if something was committed in between.
            if gates.cursor == cursor && store.head() == cursor {
                return Ok(View {
                    cursor,
                    sessions: row.into_iter().collect(),
                    gates: gates.gates,
                    more: false,
                });
            }
        },
    })
    .await
}

fn heartbeat() -> tokio::time::Interval {
    let mut beat = tokio::time::interval(Duration::from_millis(api_limits::HEARTBEAT_MS));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once.
    beat.reset();
    beat
}

/// One reader of a stream.
struct Subscriber {
    host: Arc<Host>,
    session: Option<SessionId>,
    /// That it waits for the session, for as long as it reads.
    _wait: Option<Wait>,
    kinds: Option<Vec<String>>,
    told: broadcast::Receiver<Arc<Told>>,
    /// Everything up to here was sent.
    cursor: Cursor,
    /// The number of the session's last event that was sent, where it is known and only one session is read.
    last_seq: Option<u64>,
    /// The log holds more than was sent.
    behind: bool,
    /// Items of which pieces were sent, and neither the item itself nor that it will not come.
    open: BTreeMap<SessionId, BTreeSet<ItemKey>>,
    /// Sessions whose pieces were left out when it fell behind.
    missed: BTreeSet<SessionId>,
    /// What is being sent of what was told.
    taking: Option<Taking>,
    frames: VecDeque<String>,
    /// Beats when nothing was sent for a while.
    beat: tokio::time::Interval,
}

/// Something that was told, and how much of it was sent. A frame is printed when the one before it is gone: all who do not read
/// share what was told, and have one printed frame each.
struct Taking {
    told: Arc<Told>,
    events: usize,
    live: usize,
    /// The items that streamed when the pieces began, where some of them may belong to an item that came since.
    streaming: Option<BTreeSet<ItemKey>>,
}

impl Subscriber {
    fn begin(&mut self, view: &View, gap: Option<Cursor>) {
        let row = |id: &SessionId| view.sessions.iter().find(|row| row.id == *id);
        let deciders = self.host.callers.users();
        let snapshot = Snapshot {
            cursor: wire_cursor(view.cursor),
            sessions: view.sessions.iter().map(|row| convert::session(row, &self.host.slots)).collect(),
            gates: view
                .gates
                .iter()
                .filter_map(|gate| Some(convert::gate(gate, row(&gate.session)?, &deciders)))
                .collect(),
        };
        self.push(&Frame::Ready(Box::new(Ready { cursor: wire_cursor(self.cursor), snapshot })));
        if let Some(after) = gap {
            self.push(&Frame::Gap(Gap {
                after: wire_cursor(after),
                cursor: wire_cursor(self.cursor),
                reason: "the position lies behind the end of this log".to_owned(),
            }));
        }
        if !self.behind {
            let ids: Vec<SessionId> = view.sessions.iter().map(|row| row.id.clone()).collect();
            self.text_so_far(&ids);
        }
    }

    /// The next frame; `None` at the end of the daemon.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                self.beat.reset();
                return Some(frame);
            }
            if self.taking.is_some() {
                self.go_on();
                continue;
            }
            if self.behind {
                self.catch_up().await?;
                continue;
            }
            let ending = self.host.ending.clone();
            tokio::select! {
                told = self.told.recv() => match told {
                    Ok(told) => self.take(told),
                    Err(RecvError::Lagged(_)) => self.behind = true,
                    Err(RecvError::Closed) => return None,
                },
                _ = self.beat.tick() => {
                    let at = Time::from_wall_ms(self.host.clock.now().wall_ms);
                    self.push(&Frame::Heartbeat(Heartbeat { cursor: wire_cursor(self.cursor), at }));
                }
                () = ending.cancelled() => return None,
            }
        }
    }

    /// Reads a page of the log.
    async fn catch_up(&mut self) -> Option<()> {
        // Looked at before the log is: whatever is closed by then, and came to be an item, is in it.
        let streaming: BTreeMap<SessionId, BTreeSet<ItemKey>> =
            self.open.keys().map(|id| (id.clone(), self.streaming(id))).collect();
        let query = StoreQuery {
            after: self.cursor,
            session: self.session.clone(),
            kinds: self.kinds.clone(),
            limit: limits::READ_EVENTS,
            limit_bytes: limits::READ_BYTES,
            ..StoreQuery::default()
        };
        let page = match resolve::read(&self.host, move |store| store.read_raw(&query)).await {
            Ok(page) => page,
            Err(failure) => {
                tracing::error!(detail = %failure.0.detail, "a subscriber could not be served; it may come again");
                return None;
            }
        };
        for raw in page.events {
            self.last_seq = self.session.as_ref().map(|_| raw.seq);
            self.push_event(raw.cursor, convert::raw_event(raw));
        }
        // With a filter the numbers that were sent do not tell where the session stands.
        if self.kinds.is_some() {
            self.last_seq = None;
        }
        self.cursor = self.cursor.max(page.next);
        self.behind = page.more;
        if !self.behind {
            self.take_back(&streaming);
            let mut ids = std::mem::take(&mut self.missed);
            ids.extend(self.session.iter().chain(self.open.keys()).cloned());
            self.text_so_far(&ids.into_iter().collect::<Vec<_>>());
        }
        Some(())
    }

    /// The items of a session that stream.
    fn streaming(&self, id: &SessionId) -> BTreeSet<ItemKey> {
        self.host.text_so_far(id).iter().map(|piece| piece.key().clone()).collect()
    }

    /// Takes back the pieces of items that neither stream any more nor came: that was told while this reader was behind.
    fn take_back(&mut self, streaming: &BTreeMap<SessionId, BTreeSet<ItemKey>>) {
        let mut void = Vec::new();
        for (id, keys) in &self.open {
            let known = streaming.get(id);
            let gone = keys.iter().filter(|key| known.is_some_and(|known| !known.contains(*key)));
            void.extend(gone.map(|key| (id.clone(), key.clone())));
        }
        for (id, key) in void {
            self.push_dropped(&id, &key);
        }
    }

    /// Begins to send what was told, unless something before it is missing.
    fn take(&mut self, told: Arc<Told>) {
        if self.session.as_ref().is_some_and(|session| *session != told.session) {
            return;
        }
        let mut taking = Taking { told, events: 0, live: 0, streaming: None };
        let told = &taking.told;
        match (told.events.first(), told.events.last()) {
            (Some(first), Some(last)) if last.cursor > self.cursor => {
                // What follows directly needs no look into the log: as the next of all events, or of the session's.
                let follows = first.cursor.0 == self.cursor.0 + 1;
                if !follows && self.last_seq != Some(first.envelope.seq - 1) {
                    self.behind = true;
                    if !told.live.is_empty() {
                        self.missed.insert(told.session.clone());
                    }
                    return;
                }
            }
            // They were read from the log.
            (Some(_), Some(_)) => taking.events = told.events.len(),
            (None, _) | (_, None) => {}
        }
        self.taking = Some(taking);
    }

    /// Sends the next of what was told, or has done with it.
    fn go_on(&mut self) {
        let Some(mut taking) = self.taking.take() else { return };
        let told = taking.told.clone();
        if let Some(stored) = told.events.get(taking.events) {
            taking.events += 1;
            let kind = stored.envelope.event.kind();
            if self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|wanted| wanted == kind)) {
                self.push_event(stored.cursor, convert::stored_event(stored));
            }
            self.cursor = stored.cursor;
            self.last_seq = self.session.as_ref().map(|_| stored.envelope.seq);
            self.taking = Some(taking);
            return;
        }
        if self.kinds.is_some() {
            return;
        }
        let Some(piece) = told.live.get(taking.live) else { return };
        if taking.live == 0 && told.at < self.cursor {
            taking.streaming = Some(self.streaming(&told.session));
        }
        taking.live += 1;
        let is_void = taking.streaming.as_ref().is_some_and(|keys| !keys.contains(piece.key()));
        if !is_void || matches!(piece, Live::Dropped { .. }) {
            self.push_live(&told.session, piece);
        }
        self.taking = Some(taking);
    }

    fn text_so_far(&mut self, sessions: &[SessionId]) {
        if self.kinds.is_some() {
            return;
        }
        for id in sessions {
            for piece in self.host.text_so_far(id) {
                self.push_live(id, &piece);
            }
        }
    }

    fn push_live(&mut self, session: &SessionId, piece: &Live) {
        let (key, kind, offset, text) = match piece {
            Live::Text { key, kind, offset, text, .. } => (key, *kind, *offset, text),
            Live::Dropped { key, .. } => return self.push_dropped(session, key),
        };
        self.open.entry(session.clone()).or_default().insert(key.clone());
        self.push(&Frame::Live(lockkeeper_api::Live {
            session: session.clone(),
            key: key.clone(),
            kind: match kind {
                DeltaKind::Message => LiveKind::Message,
                DeltaKind::Reasoning => LiveKind::Reasoning,
                DeltaKind::ToolInput => LiveKind::ToolInput,
            },
            offset,
            text: text.to_string(),
            dropped: false,
        }));
    }

    fn push_dropped(&mut self, session: &SessionId, key: &ItemKey) {
        self.close(session, key);
        self.push(&Frame::Live(lockkeeper_api::Live {
            session: session.clone(),
            key: key.clone(),
            kind: LiveKind::Message,
            offset: 0,
            text: String::new(),
            dropped: true,
        }));
    }

    fn push_event(&mut self, at: Cursor, event: Result<lockkeeper_api::Event, serde_json::Error>) {
        match event {
            Ok(event) => {
                if self.open.contains_key(&event.session)
                    && let Some(key) = item_of(&event)
                {
                    self.close(&event.session, &key);
                }
                self.push(&Frame::Event(Box::new(event)));
            }
            Err(error) => {
                tracing::error!(%error, at = at.0, "an event cannot be printed");
                self.push(&Frame::Gap(Gap {
                    after: wire_cursor(Cursor(at.0.saturating_sub(1))),
                    cursor: wire_cursor(at),
                    reason: "the event that stands here cannot be read".to_owned(),
                }));
            }
        }
    }

    /// An item is there, or will never be.
    fn close(&mut self, session: &SessionId, key: &ItemKey) {
        if let Some(keys) = self.open.get_mut(session) {
            keys.remove(key);
            if keys.is_empty() {
                self.open.remove(session);
            }
        }
    }

    fn push(&mut self, frame: &Frame) {
        match frame.to_wire() {
            Ok(wire) => self.frames.push_back(wire),
            Err(error) => tracing::error!(%error, "a frame cannot be printed"),
        }
    }
}

/// The item that an event brings.
fn item_of(event: &lockkeeper_api::Event) -> Option<ItemKey> {
    #[derive(serde::Deserialize)]
    struct Brings {
        item: Named,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        key: ItemKey,
    }
    if !matches!(event.kind.as_str(), "item.added" | "tool.started") {
        return None;
    }
    serde_json::from_str(event.data.as_str()).ok().map(|brings: Brings| brings.item.key)
}

#[cfg(test)]
mod tests;
