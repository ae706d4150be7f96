//! Nothing on disk: for tests of what stands above a store.
//!
//! It keeps what the other engines keep, printed and read by the same code, and answers from plain maps. There is no
//! limit to what it holds, and it is never full.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockkeeper_core::audit::{AuditRecord, FIRST, link};
use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{GateNo, SessionId};
use lockkeeper_core::session::{State, Status};

use crate::append::{Append, Appended, Done, Epoch, Ingested, KeyEntry, Removal};
use crate::audit::{AuditEntry, AuditPage, AuditQuery, is_of, printed, removed};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::ownership::{Stands, admits, is_last};
use crate::prepare::{Change, Prepared, REMOVED, SNAPSHOT_FORMAT, kept, prepare, read_snapshot, tombstone};
use crate::query::{
    EventQuery, Found, GateFilter, GatePage, GateRow, RawEvent, RawPage, View, ViewFilter, bounded,
    may_begin_id,
};
use crate::row::SessionRow;
use crate::store::{Health, Store};
use crate::writer::{Engine, Writer, lock};

/// A store that is gone with its process.
pub struct MemoryStore {
    writer: Writer,
    data: Arc<Mutex<Data>>,
    epoch: Epoch,
    log_id: String,
}

/// Tells the logs of one process apart.
static LOGS: AtomicU64 = AtomicU64::new(1);

#[derive(Default)]
struct Data {
    log: u64,
    epoch: u64,
    /// Event `n` has position `n + 1`; `None` where one was deleted.
    events: Vec<Option<RawEvent>>,
    sessions: Vec<Session>,
    index: BTreeMap<SessionId, usize>,
    /// In the order in which they opened.
    gates: Vec<StoredGate>,
    keys: BTreeMap<(String, String), StoredKey>,
    /// How many keys there have been.
    keys_stored: u64,
    facts: BTreeMap<&'static str, String>,
    audit: Vec<AuditEntry>,
}

struct Session {
    id: SessionId,
    seq: u64,
    /// `None` once removed.
    row: Option<SessionRow>,
    /// Positions of its events, less one.
    log: Vec<usize>,
    ingested: Option<Ingested>,
    snapshot: Option<String>,
}

struct StoredGate {
    session: SessionId,
    no: GateNo,
    open: bool,
    body: String,
}

struct StoredKey {
    /// Rises with every key that is stored.
    no: u64,
    entry: KeyEntry,
    wall: i64,
}

struct MemoryEngine {
    data: Arc<Mutex<Data>>,
    epoch: Epoch,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Makes an empty store.
    ///
    /// # Panics
    /// If the system gives no thread.
    pub fn new() -> Self {
        let log = LOGS.fetch_add(1, Ordering::Relaxed);
        Self::open(Arc::new(Mutex::new(Data { log, ..Data::default() })))
    }

    /// Opens the same log again, as a restarted daemon would: with a higher epoch, which fences this store off.
    ///
    /// # Panics
    /// If the system gives no thread.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self::open(Arc::clone(&self.data))
    }

    #[expect(
        clippy::expect_used,
        reason = "a system without threads cannot run the tests that this engine is for"
    )]
    fn open(data: Arc<Mutex<Data>>) -> Self {
        let (epoch, log_id) = {
            let mut data = lock(&data);
            data.epoch += 1;
            (Epoch(data.epoch), format!("memory-{}", data.log))
        };
        let engine = MemoryEngine { data: Arc::clone(&data), epoch };
        let writer = Writer::start(engine).expect("the system gives threads");
        Self { writer, data, epoch, log_id }
    }
}

impl Engine for MemoryEngine {
    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Appended>, StoreError> {
        let mut data = lock(&self.data);
        if !is_last(Epoch(data.epoch), self.epoch) {
            return Ok(changes.iter().map(|_| Appended::Fenced).collect());
        }
        let answers = changes.iter().map(|change| match change {
            Change::Refused(why) => Appended::Refused { why: why.clone() },
            Change::Append(append) => data.append(append),
            Change::Remove(removal) => data.remove(removal),
            Change::ForgetKeys { before_wall_ms } => {
                data.keys.retain(|_, key| key.wall >= *before_wall_ms);
                Appended::Ok { last: data.head(), seq: 0 }
            }
            Change::KeepFact { name, value, records } => {
                for record in records {
                    data.record(record);
                }
                match value {
                    Some(value) => data.facts.insert(*name, value.clone()),
                    None => data.facts.remove(*name),
                };
                Appended::Ok { last: data.head(), seq: 0 }
            }
        });
        Ok(answers.collect())
    }

    fn head(&self) -> Cursor {
        lock(&self.data).head()
    }

    fn tidy(&mut self, _idle: bool) -> Option<Duration> {
        None
    }

    fn close(&mut self) {}
}

impl Data {
    fn head(&self) -> Cursor {
        Cursor(self.events.len() as u64)
    }

    fn session(&self, id: &SessionId) -> Option<&Session> {
        self.index.get(id).map(|at| &self.sessions[*at])
    }

    fn row(&self, id: &SessionId) -> Option<&SessionRow> {
        self.session(id)?.row.as_ref()
    }

    fn rows(&self) -> impl DoubleEndedIterator<Item = &SessionRow> {
        self.sessions.iter().filter_map(|session| session.row.as_ref())
    }

    fn living(&self, name: &str) -> Option<&SessionRow> {
        self.rows().find(|row| !row.ended() && row.name.as_ref().is_some_and(|own| own.as_str() == name))
    }

    fn stands(&self, id: &SessionId) -> Stands {
        let found = self.session(id);
        Stands {
            epoch: Epoch(self.epoch),
            seq: found.map_or(0, |session| session.seq),
            removed: found.is_some_and(|session| session.row.is_none()),
        }
    }

    fn append(&mut self, append: &Prepared) -> Appended {
        if let Err(refusal) = admits(self.stands(&append.session), append.epoch, append.expected) {
            return refusal.of(&append.session);
        }
        let taken =
            append.keys.iter().find_map(|entry| self.keys.get(&(entry.scope.clone(), entry.key.clone())));
        if let Some(stored) = taken {
            return Appended::KeyTaken(Box::new(stored.entry.clone()));
        }
        if let Some(name) = append.row.name.as_ref().filter(|_| !append.row.ended())
            && let Some(other) = self.living(name.as_str()).filter(|row| row.id != append.session)
        {
            return Appended::NameTaken { by: other.id.clone() };
        }
        self.store(append);
        Appended::Ok { last: self.head(), seq: append.seq() }
    }

    fn record(&mut self, record: &str) {
        let before = self.audit.last().map_or(FIRST, |last| &last.hash);
        let hash = link(before, record);
        let entry = AuditEntry { no: self.audit.len() as u64 + 1, record: record.to_owned(), hash };
        self.audit.push(entry);
    }

    fn store(&mut self, append: &Prepared) {
        for record in &append.audit {
            self.record(record);
        }
        let at = *self.index.entry(append.session.clone()).or_insert(self.sessions.len());
        if at == self.sessions.len() {
            let id = append.session.clone();
            self.sessions.push(Session {
                id,
                seq: 0,
                row: None,
                log: Vec::new(),
                ingested: None,
                snapshot: None,
            });
        }
        for line in &append.events {
            let envelope = &line.envelope;
            self.sessions[at].log.push(self.events.len());
            self.events.push(Some(RawEvent {
                cursor: Cursor(self.events.len() as u64 + 1),
                session: append.session.clone(),
                seq: envelope.seq,
                at: envelope.at.clone(),
                kind: envelope.event.kind().to_owned(),
                data: line.data.clone(),
            }));
        }
        let session = &mut self.sessions[at];
        session.seq = append.seq();
        session.row = Some(append.row.clone());
        session.ingested = append.ingested.or(session.ingested);
        if append.snapshot.is_some() {
            session.snapshot.clone_from(&append.snapshot);
        }
        for line in &append.gates {
            let old = self.gates.iter_mut().find(|gate| gate.session == append.session && gate.no == line.no);
            if let Some(gate) = old {
                (gate.open, gate.body) = (line.open, line.body.clone());
            } else {
                let session = append.session.clone();
                self.gates.push(StoredGate {
                    session,
                    no: line.no,
                    open: line.open,
                    body: line.body.clone(),
                });
            }
        }
        for entry in &append.keys {
            self.keys_stored += 1;
            let stored = StoredKey { no: self.keys_stored, entry: entry.clone(), wall: append.wall_ms() };
            self.keys.insert((entry.scope.clone(), entry.key.clone()), stored);
        }
    }

    fn remove(&mut self, removal: &Removal) -> Appended {
        if let Err(refusal) = admits(self.stands(&removal.session), removal.epoch, removal.expected) {
            return refusal.of_removal(&removal.session);
        }
        let Some(at) = self.index.get(&removal.session).copied() else {
            return Appended::Conflict { found: 0 };
        };
        let session = &mut self.sessions[at];
        session.seq += 1;
        let seq = session.seq;
        (session.row, session.ingested, session.snapshot) = (None, None, None);
        for pos in session.log.drain(..) {
            self.events[pos] = None;
        }
        session.log.push(self.events.len());
        // Nothing that is printed here can fail to be.
        let record = printed(&removed(removal)).unwrap_or_default();
        self.record(&record);
        self.gates.retain(|gate| gate.session != removal.session);
        self.events.push(Some(RawEvent {
            cursor: Cursor(self.events.len() as u64 + 1),
            session: removal.session.clone(),
            seq,
            at: removal.at.clone(),
            kind: REMOVED.to_owned(),
            data: tombstone(&removal.by),
        }));
        Appended::Ok { last: self.head(), seq }
    }

    fn gate_row(gate: &StoredGate) -> Result<GateRow, StoreError> {
        Ok(GateRow { session: gate.session.clone(), gate: parsed(&gate.body)? })
    }

    fn find(&self, reference: &str) -> Found {
        if let Some(row) = reference.parse().ok().and_then(|id| self.row(&id)) {
            return Found::One(row.id.clone());
        }
        let named = |row: &&SessionRow| row.name.as_ref().is_some_and(|name| name.as_str() == reference);
        if let Some(row) = self.living(reference).or_else(|| self.rows().rfind(named)) {
            return Found::One(row.id.clone());
        }
        self.with_id(reference)
    }

    fn with_id(&self, beginning: &str) -> Found {
        if !may_begin_id(beginning) {
            return Found::None;
        }
        let like = |session: &&Session| session.row.is_some() && session.id.as_str().starts_with(beginning);
        let mut ids: Vec<_> = self.sessions.iter().filter(like).map(|session| session.id.clone()).collect();
        ids.sort();
        ids.truncate(limits::CANDIDATES);
        Found::of(ids)
    }

    fn load(&self, id: &SessionId) -> Result<Option<State>, StoreError> {
        let Some(session) = self.session(id).filter(|session| session.row.is_some()) else { return Ok(None) };
        let mut state = session.snapshot.as_deref().and_then(|text| read_snapshot(SNAPSHOT_FORMAT, text));
        let from = state.as_ref().map_or(0, |state| usize::try_from(state.seq).unwrap_or(usize::MAX));
        for pos in session.log.iter().skip(from) {
            let Some(event) = self.events[*pos].clone() else { continue };
            let envelope = event.decode()?.envelope;
            let folded = match &mut state {
                Some(state) => state.fold_on([&envelope]),
                None => State::fold(id, [&envelope]).map(|first| state = Some(first)),
            };
            folded.map_err(|error| StoreError::Damaged {
                what: error.to_string(),
                at: Some((id.clone(), envelope.seq)),
            })?;
        }
        Ok(state)
    }
}

fn parsed(body: &str) -> Result<Gate, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Damaged { what: error.to_string(), at: None })
}

fn passes(row: &SessionRow, filter: &ViewFilter) -> bool {
    let status = filter.statuses.is_empty()
        || filter.statuses.contains(&row.status)
        || (row.open_gates > 0 && filter.statuses.contains(&Status::AwaitingInput));
    status
        && filter.agent.as_ref().is_none_or(|agent| row.agent == *agent)
        && filter.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
        && filter.ended.is_none_or(|ended| row.ended() == ended)
        && filter.name.as_ref().is_none_or(|name| row.name.as_ref() == Some(name))
}

impl Store for MemoryStore {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn log_id(&self) -> &str {
        &self.log_id
    }

    fn submit(&self, batch: Vec<Append>, done: Done) {
        self.writer.submit(batch.into_iter().map(prepare).collect(), done);
    }

    fn remove(&self, removal: Removal, done: Done) {
        self.writer.submit(vec![Change::Remove(removal)], done);
    }

    fn forget_keys(&self, before_wall_ms: i64, done: Done) {
        self.writer.submit(vec![Change::ForgetKeys { before_wall_ms }], done);
    }

    fn keep_fact(&self, name: &'static str, value: Option<String>, records: &[AuditRecord], done: Done) {
        self.writer.submit(vec![kept(name, value, records)], done);
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush()
    }

    fn head(&self) -> Cursor {
        self.writer.head()
    }

    fn on_commit(&self, hint: Box<dyn Fn(Cursor) + Send + Sync>) {
        self.writer.on_commit(hint);
    }

    fn read_raw(&self, query: &EventQuery) -> Result<RawPage, StoreError> {
        let data = lock(&self.data);
        let head = data.head();
        if query.after > head {
            return Err(StoreError::Ahead { cursor: query.after.0, head: head.0 });
        }
        let limit = bounded(query.limit, limits::PAGE_EVENTS);
        let wanted = |event: &&RawEvent| {
            query.session.as_ref().is_none_or(|id| event.session == *id && event.seq > query.above_seq)
                && query.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
        };
        let from = usize::try_from(query.after.0).unwrap_or(usize::MAX);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in data.events.iter().skip(from).flatten().filter(wanted) {
            bytes += event.data.len();
            events.push(event.clone());
            if events.len() == limit || bytes >= bounded(query.limit_bytes, limits::PAGE_BYTES) {
                let next = event.cursor;
                return Ok(RawPage { events, next, more: next < head });
            }
        }
        Ok(RawPage { events, next: head, more: false })
    }

    fn view(&self, filter: &ViewFilter) -> Result<View, StoreError> {
        let data = lock(&self.data);
        let limit = bounded(filter.limit, limits::VIEW_ROWS);
        let before = filter.before.as_ref().map(|id| data.index.get(id).copied().unwrap_or(0));
        let older = &data.sessions[..before.unwrap_or(data.sessions.len())];
        let passing =
            older.iter().rev().filter_map(|session| session.row.as_ref()).filter(|row| passes(row, filter));
        let mut sessions: Vec<_> = passing.take(limit + 1).cloned().collect();
        let more = sessions.len() > limit;
        sessions.truncate(limit);
        let shown = |gate: &&StoredGate| gate.open && sessions.iter().any(|row| row.id == gate.session);
        let gates = data.gates.iter().filter(shown).map(Data::gate_row).collect::<Result<_, _>>()?;
        Ok(View { cursor: data.head(), sessions, gates, more })
    }

    fn session_row(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        Ok(lock(&self.data).row(id).cloned())
    }

    fn find(&self, reference: &str) -> Result<Found, StoreError> {
        Ok(lock(&self.data).find(reference))
    }

    fn with_id(&self, beginning: &str) -> Result<Found, StoreError> {
        Ok(lock(&self.data).with_id(beginning))
    }

    fn load(&self, id: &SessionId) -> Result<Option<State>, StoreError> {
        lock(&self.data).load(id)
    }

    fn gate(&self, session: &SessionId, no: GateNo) -> Result<Option<Gate>, StoreError> {
        let data = lock(&self.data);
        let gate = data.gates.iter().find(|gate| gate.session == *session && gate.no == no);
        gate.map(|gate| parsed(&gate.body)).transpose()
    }

    fn gates(&self, filter: &GateFilter) -> Result<GatePage, StoreError> {
        let data = lock(&self.data);
        let limit = bounded(filter.limit, limits::VIEW_ROWS);
        let mut order: Vec<&StoredGate> = data.gates.iter().collect();
        if !filter.open {
            order.reverse();
        }
        let after = filter.after.as_ref().map(|(session, no)| {
            order
                .iter()
                .position(|gate| gate.session == *session && gate.no == *no)
                .map_or(order.len(), |at| at + 1)
        });
        let passes = |gate: &&&StoredGate| {
            (gate.open || !filter.open) && filter.session.as_ref().is_none_or(|id| gate.session == *id)
        };
        let behind = order.iter().skip(after.unwrap_or(0)).filter(passes).take(limit + 1);
        let mut gates = behind.map(|gate| Data::gate_row(gate)).collect::<Result<Vec<_>, _>>()?;
        let more = gates.len() > limit;
        gates.truncate(limit);
        Ok(GatePage { cursor: data.head(), gates, more })
    }

    fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let data = lock(&self.data);
        let limit = bounded(query.limit, limits::PAGE_RECORDS);
        let meant = |entry: &&AuditEntry| {
            entry.no > query.after && query.session.as_ref().is_none_or(|id| is_of(&entry.record, id))
        };
        let found = data.audit.iter().filter(meant).take(limit + 1);
        let mut entries: Vec<AuditEntry> = found.cloned().collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(AuditPage { entries, more })
    }

    fn ingested(&self, id: &SessionId) -> Result<Option<Ingested>, StoreError> {
        Ok(lock(&self.data).session(id).and_then(|session| session.ingested))
    }

    fn key(&self, scope: &str, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        let data = lock(&self.data);
        Ok(data.keys.get(&(scope.to_owned(), key.to_owned())).map(|stored| stored.entry.clone()))
    }

    fn keys(&self, scope: &str, limit: usize) -> Result<Vec<KeyEntry>, StoreError> {
        let data = lock(&self.data);
        let mut those: Vec<_> = data.keys.values().filter(|stored| stored.entry.scope == scope).collect();
        those.sort_by_key(|stored| Reverse(stored.no));
        Ok(those.into_iter().take(limit).map(|stored| stored.entry.clone()).collect())
    }

    fn fact(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        Ok(lock(&self.data).facts.get(name).cloned())
    }

    fn live(&self) -> Result<Vec<SessionId>, StoreError> {
        Ok(lock(&self.data).rows().filter(|row| row.live).map(|row| row.id.clone()).collect())
    }

    fn health(&self) -> Health {
        let (commits, events, waiting) = self.writer.counts();
        let fenced = lock(&self.data).epoch != self.epoch.0;
        Health { fenced, reserve: true, commits, events, waiting, ..Health::default() }
    }
}
