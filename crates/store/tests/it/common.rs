//! Sessions to store, and waiting for what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

use lockkeeper_core::gate::{Ask, Gate, GateKind, GateState};
use lockkeeper_core::id::{AttemptNo, GateNo, ItemKey, SessionId, SessionName};
use lockkeeper_core::item::{Extent, Item, ItemBody};
use lockkeeper_core::json::Json;
use lockkeeper_core::session::{End, Envelope, Event, Lifetime, Profile, State};
use lockkeeper_core::time::{AwakeMs, BootId, Stamp};
use lockkeeper_store::{Append, Appended, Cursor, EventQuery, KeyEntry, Removal, Store, StoreError, Stored};

/// Long enough for the slowest disk; whoever waits longer waits for ever.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn id(n: u64) -> SessionId {
    SessionId::from_random(n)
}

pub(crate) fn stamp(n: u64) -> Stamp {
    Stamp {
        wall_ms: 1_700_000_000_000 + i64::try_from(n).unwrap(),
        awake: AwakeMs(n),
        boot: BootId(format!("boot-{}", n / 3).into()),
    }
}

pub(crate) fn profile(name: Option<&str>) -> Profile {
    Profile {
        name: name.map(|name| name.parse::<SessionName>().unwrap()),
        agent: "demo".parse().unwrap(),
        dir: "/tmp".to_owned(),
        model: None,
        mode: None,
        lifetime: Lifetime::Kept,
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        environment: None,
        submitter: Some("tester".to_owned()),
        turn_ms: None,
    }
}

/// A session on this side of the store.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) state: State,
    /// What is not stored yet.
    pub(crate) pending: Vec<Envelope>,
    pub(crate) all: Vec<Envelope>,
}

impl Session {
    pub(crate) fn new(n: u64, name: Option<&str>) -> Self {
        let first = Envelope {
            seq: 1,
            at: stamp(n),
            event: Event::SessionCreated { id: id(n), profile: profile(name), by: "tester".to_owned() },
        };
        let state = State::fold(&id(n), [&first]).unwrap();
        Self { state, pending: vec![first.clone()], all: vec![first] }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.state.id.clone()
    }

    pub(crate) fn then(&mut self, event: Event) -> &mut Self {
        let seq = self.state.seq + 1;
        let envelope = Envelope { seq, at: stamp(seq), event };
        self.state.evolve(&envelope);
        self.pending.push(envelope.clone());
        self.all.push(envelope);
        self
    }

    pub(crate) fn says(&mut self, text: &str) -> &mut Self {
        let seq = self.state.seq + 1;
        self.then(message(&format!("m{seq}"), text))
    }

    /// What is pending, as an append.
    pub(crate) fn append(&mut self, store: &dyn Store) -> Append {
        Append::of(store.epoch(), &self.state, std::mem::take(&mut self.pending))
    }

    /// Stores what is pending.
    pub(crate) fn put(&mut self, store: &dyn Store) -> Cursor {
        let append = self.append(store);
        ok(&put(store, vec![append])[0])
    }
}

pub(crate) fn message(key: &str, text: &str) -> Event {
    let key: ItemKey = key.parse().unwrap();
    let body = ItemBody::Message { text: text.into(), extent: Extent::Whole };
    Event::ItemAdded { turn: None, item: Item { key, parent: None, body } }
}

pub(crate) fn labelled(key: &str, value: &str) -> Event {
    Event::SessionLabelled {
        set: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        remove: BTreeSet::new(),
        by: "tester".to_owned(),
    }
}

pub(crate) fn ended() -> Event {
    Event::SessionEnded { end: End::Completed }
}

pub(crate) fn gate(no: u32) -> Gate {
    Gate {
        no: GateNo(no),
        attempt: AttemptNo(1),
        turn: None,
        ask: Ask {
            request: Json::parse("\"r1\"").unwrap(),
            kind: GateKind::Permission,
            tool: "Bash".to_owned(),
            // Spaces and order must survive: the decision binds to these bytes.
            input: Json::parse(r#"{ "z": 1.0,  "a":"\u00e9" }"#).unwrap(),
            title: None,
            call: None,
            reason: None,
            beside_turn: false,
            announced: false,
            suggestions: None,
        },
        input_hash: "hash".to_owned(),
        rule: "agent".to_owned(),
        risk: "unrated".to_owned(),
        rule_reason: None,
        by_rule: false,
        before_turns: false,
        expiry: None,
        opened: stamp(no.into()),
        state: GateState::Open,
    }
}

pub(crate) fn try_put(store: &dyn Store, batch: Vec<Append>) -> Result<Vec<Appended>, StoreError> {
    let (tell, told) = mpsc::channel();
    store.submit(batch, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(PATIENCE).expect("the store answers")
}

pub(crate) fn put(store: &dyn Store, batch: Vec<Append>) -> Vec<Appended> {
    try_put(store, batch).unwrap()
}

pub(crate) fn ok(answer: &Appended) -> Cursor {
    match answer {
        Appended::Ok { last, .. } => *last,
        other @ (Appended::Conflict { .. }
        | Appended::Fenced
        | Appended::NameTaken { .. }
        | Appended::KeyTaken(_)
        | Appended::Refused { .. }
        | Appended::Full
        | Appended::Unknown) => panic!("not stored: {other:?}"),
    }
}

pub(crate) fn remove(store: &dyn Store, session: &Session) -> Appended {
    let (tell, told) = mpsc::channel();
    let removal = Removal {
        session: session.id(),
        epoch: store.epoch(),
        expected: session.state.seq,
        at: stamp(9),
        by: "tester".to_owned(),
    };
    store.remove(removal, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(PATIENCE).expect("the store answers").unwrap().remove(0)
}

/// Everything behind a position that passes, page by page.
pub(crate) fn read_all(store: &dyn Store, query: &EventQuery) -> Vec<Stored> {
    let mut query = query.clone();
    let mut events = Vec::new();
    loop {
        let page = store.read(&query).unwrap();
        assert!(page.next >= query.after);
        events.extend(page.events);
        if !page.more {
            return events;
        }
        assert!(page.next > query.after, "a page without progress says that there is more");
        query.after = page.next;
    }
}

/// Asserts that the log is what the sessions say, in order, once.
pub(crate) fn assert_holds(store: &dyn Store, sessions: &[&Session]) {
    let events = read_all(store, &EventQuery::default());
    assert!(events.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
    for session in sessions {
        let own: Vec<_> =
            events.iter().filter(|event| event.session == session.id()).map(|e| &e.envelope).collect();
        assert_eq!(own, session.all.iter().collect::<Vec<_>>());
        assert_eq!(store.load(&session.id()).unwrap().unwrap(), session.state);
    }
}

pub(crate) fn key(key: &str) -> KeyEntry {
    KeyEntry {
        scope: "me".into(),
        key: key.into(),
        body_hash: format!("hash {key}"),
        response: "{\"ok\": true}".into(),
    }
}
