//! Measures the SQLite engine against bare inserts in the same run, and how long a large store takes to open.
//!
//! `cargo run --release -p lockkeeper-store --example measure [DIRECTORY]`. Compare ratios, never times of two runs.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for the developer at the terminal")]
#![expect(clippy::cast_precision_loss, clippy::doc_markdown, reason = "rates and names for people")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lockkeeper_core::id::SessionId;
use lockkeeper_core::item::{Extent, Item, ItemBody};
use lockkeeper_core::session::{Envelope, Event, Lifetime, Profile, State};
use lockkeeper_core::time::{AwakeMs, BootId, Stamp};
use lockkeeper_store::{Append, EventQuery, SqliteStore, Store, ViewFilter};
use rusqlite::{Connection, params};

/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(2);
const PAYLOAD: usize = 1024;
const SESSIONS: u64 = 1000;
const EVENTS: u64 = 1_000_000;

struct Session {
    state: State,
    boot: BootId,
    text: String,
}

impl Session {
    fn new(n: u64, store: &dyn Store) -> Self {
        let boot = BootId("measure".into());
        let profile = Profile {
            name: None,
            agent: "demo".parse().unwrap(),
            dir: "/tmp".to_owned(),
            model: None,
            mode: None,
            lifetime: Lifetime::Kept,
            labels: std::collections::BTreeMap::new(),
            environment: None,
            submitter: None,
            turn_ms: None,
        };
        let id = SessionId::from_random(n);
        let event = Event::SessionCreated { id: id.clone(), profile, by: "measure".to_owned() };
        let first =
            Envelope { seq: 1, at: Stamp { wall_ms: 0, awake: AwakeMs(0), boot: boot.clone() }, event };
        let state = State::fold(&id, [&first]).unwrap();
        wait(store, vec![Append::of(store.epoch(), &state, vec![first])]);
        // What is around it makes a kilobyte of it.
        Self { state, boot, text: "x".repeat(PAYLOAD - 100) }
    }

    fn says(&mut self, count: usize, store: &dyn Store) -> Append {
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let seq = self.state.seq + 1;
            let body = ItemBody::Message { text: self.text.as_str().into(), extent: Extent::Whole };
            let item = Item { key: format!("message-{seq}").parse().unwrap(), parent: None, body };
            let at = Stamp { wall_ms: 0, awake: AwakeMs(seq), boot: self.boot.clone() };
            let envelope = Envelope { seq, at, event: Event::ItemAdded { turn: None, item } };
            self.state.evolve(&envelope);
            events.push(envelope);
        }
        Append::of(store.epoch(), &self.state, events)
    }
}

fn wait(store: &dyn Store, batch: Vec<Append>) {
    let (tell, told) = mpsc::channel();
    store.submit(batch, Box::new(move |result| tell.send(result).unwrap()));
    for answer in told.recv().unwrap().unwrap() {
        assert!(matches!(answer, lockkeeper_store::Appended::Ok { .. }), "{answer:?}");
    }
}

/// Events per second that one caller gets in who waits for each batch.
fn through_submit(path: &Path, batch: usize, sessions: u64, in_flight: usize) -> (f64, f64, f64) {
    let store = SqliteStore::open(path).unwrap();
    let mut sessions: Vec<_> = (1..=sessions).map(|n| Session::new(n, &store)).collect();
    let (tell, told) = mpsc::channel();
    let (start, before, cpu) = (Instant::now(), store.health().commits, cpu_us());
    let (mut sent, mut done) = (0, 0);
    while start.elapsed() < SPAN || done < sent {
        if start.elapsed() < SPAN && sent - done < in_flight {
            let at = sent % sessions.len();
            let append = sessions[at].says(batch, &store);
            let tell = tell.clone();
            store.submit(vec![append], Box::new(move |result| tell.send(result.unwrap().len()).unwrap()));
            sent += 1;
        } else {
            done += told.recv().unwrap();
        }
    }
    let (events, commits) = ((done * batch) as f64, store.health().commits - before);
    (events / start.elapsed().as_secs_f64(), (cpu_us() - cpu) / events, events / commits as f64)
}

/// Microseconds of CPU that this process has used, all its threads; 0 where the system does not tell this way.
fn cpu_us() -> f64 {
    const TICK_US: f64 = 10_000.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.split(' ').skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    fields.iter().sum::<f64>() * TICK_US
}

/// The same events into the same columns, with nothing around them.
fn bare(path: &Path, batch: usize) -> (f64, f64) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE events(pos INTEGER PRIMARY KEY, session INTEGER, seq INTEGER, wall INTEGER, awake INTEGER,
            boot INTEGER, kind TEXT, data TEXT, blob INTEGER);
         CREATE UNIQUE INDEX i ON events(session, seq);",
    )
    .unwrap();
    let data = format!(
        "{{\"turn\":null,\"item\":{{\"key\":\"message-1\",\"body\":{{\"message\":{{\"text\":\"{}\",\"extent\":\"whole\"}}}}}}}}",
        "x".repeat(PAYLOAD - 100)
    );
    let sql = "INSERT INTO events VALUES (?1, 1, ?1, 0, ?1, 1, 'item.added', ?2, NULL)";
    let (start, cpu, mut pos) = (Instant::now(), cpu_us(), 0i64);
    while start.elapsed() < SPAN {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..batch {
            pos += 1;
            conn.prepare_cached(sql).unwrap().execute(params![pos, data]).unwrap();
        }
        conn.execute_batch("COMMIT").unwrap();
    }
    (pos as f64 / start.elapsed().as_secs_f64(), (cpu_us() - cpu) / pos as f64)
}

fn fill(path: &Path) {
    let store = SqliteStore::open(path).unwrap();
    let mut sessions: Vec<_> = (1..=SESSIONS).map(|n| Session::new(n, &store)).collect();
    let each = usize::try_from(EVENTS / SESSIONS / 5).unwrap();
    for _ in 0..5 {
        for session in &mut sessions {
            let append = session.says(each, &store);
            wait(&store, vec![append]);
        }
    }
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = run();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    value
}

fn main() {
    let dir = match std::env::args().nth(1) {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    println!("events per second (µs of CPU per event, events per commit)");
    for batch in [1, 10, 100, 1000] {
        let path = |name: &str| dir.path().join(format!("{name}-{batch}.db"));
        let (floor, floor_cpu) = bare(&path("bare"), batch);
        let (one, one_cpu, _) = through_submit(&path("one"), batch, 1, 1);
        let (many, many_cpu, shared) = through_submit(&path("many"), batch, 64, 64);
        println!(
            "batch {batch}: bare {floor:.0} ({floor_cpu:.1}); one caller {one:.0} ({one_cpu:.1}), ratio {:.2}; \
             64 callers {many:.0} ({many_cpu:.1}, {shared:.0})",
            one / floor
        );
        for name in ["bare", "one", "many"] {
            std::fs::remove_file(path(name)).unwrap();
        }
    }
    let path = dir.path().join("large.db");
    timed("filling with a million events", || fill(&path));
    println!("{} MB", std::fs::metadata(&path).unwrap().len() / 1_000_000);
    drop(timed("opening after a clean stop", || SqliteStore::open(&path).unwrap()));
    Connection::open(&path).unwrap().execute("UPDATE meta SET value = 0 WHERE key = 'clean'", []).unwrap();
    let store = timed("opening after an unclean stop", || SqliteStore::open(&path).unwrap());
    timed("live sessions", || store.live().unwrap());
    timed("a view of a thousand sessions", || store.view(&ViewFilter::default()).unwrap());
    timed("loading one session of a thousand events", || store.load(&SessionId::from_random(7)).unwrap());
    timed("loading all", || {
        for n in 1..=SESSIONS {
            store.load(&SessionId::from_random(n)).unwrap();
        }
    });
    for decoded in [false, true] {
        let mut query = EventQuery::default();
        timed(if decoded { "reading all, decoded" } else { "reading all" }, || {
            loop {
                let (next, more) = if decoded {
                    store.read(&query).map(|page| (page.next, page.more)).unwrap()
                } else {
                    store.read_raw(&query).map(|page| (page.next, page.more)).unwrap()
                };
                query.after = next;
                if !more {
                    break;
                }
            }
        });
    }
    timed("the check of the whole file, since the start", || {
        while store.health().integrity == lockkeeper_store::Integrity::Checking {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    println!("{:?}", store.health().integrity);
}
