//! What only a race could show from outside, and a host for other tests.

use lockkeeper_core::admission::Slots as Limits;
use lockkeeper_core::session::Lifetime;
use lockkeeper_store::MemoryStore;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::memory::Gauge;
use crate::paths::Paths;
use crate::rules::Rules;
use crate::slots::Slots;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A host with an empty store.
pub(crate) fn host() -> Result<(TempDir, Arc<Host>), Box<dyn std::error::Error>> {
    host_over(MemoryStore::new(), Slots::new(Limits::default(), None, Gauge::new()))
}

/// One with this store and these slots.
pub(crate) fn host_over(
    store: MemoryStore,
    slots: Slots,
) -> Result<(TempDir, Arc<Host>), Box<dyn std::error::Error>> {
    let home = tempfile::tempdir()?;
    let data = home.path().to_owned();
    let paths =
        Paths { socket: data.join("s"), logs: data.join("l"), config: data.join("c"), data: data.clone() };
    paths.make()?;
    let rules = Rules::open(&paths.config)?;
    let host = Host::new(paths, "lk".into(), &Config::default(), rules, Arc::new(store), slots);
    Ok((home, Arc::new(host)))
}

/// A session that is asked for.
pub(crate) fn new(id: u64) -> Result<NewSession, Box<dyn std::error::Error>> {
    Ok(NewSession {
        id: SessionId::from_random(id),
        name: None,
        agent: "demo".parse()?,
        dir: "/".to_owned(),
        model: None,
        mode: None,
        lifetime: Lifetime::Kept,
        labels: std::collections::BTreeMap::default(),
        environment: None,
        submitter: None,
        turn_ms: None,
        prompt: None,
    })
}

/// Makes a session, which is awake then.
pub(crate) async fn made(host: &Arc<Host>, id: u64) -> Outcome {
    match host.make(new(id)?, "me", Vec::new(), None).await? {
        Made::Now(_) => Ok(()),
        Made::Before { .. } => Err("it was there".into()),
    }
}

fn key(body_hash: &str) -> KeyIntent {
    KeyIntent {
        scope: "session".to_owned(),
        key: "k".to_owned(),
        also: None,
        body_hash: body_hash.to_owned(),
        respond: Box::new(|state, _| state.id.to_string()),
    }
}

#[tokio::test]
async fn a_key_that_is_taken_at_the_commit_gives_the_first_answer_or_a_conflict() -> Outcome {
    let (_home, host) = host()?;
    let make = async |id, body| {
        host.make(new(id).map_err(|_| Refused::Gone)?, "me", Vec::new(), Some(key(body))).await
    };
    assert!(matches!(make(1, "a").await?, Made::Now(_)));
    let Made::Before { answer, .. } = make(2, "a").await? else { return Err("made twice".into()) };
    assert_eq!(answer, SessionId::from_random(1).to_string());
    assert!(matches!(make(3, "b").await, Err(Refused::KeyConflict { .. })));
    assert_eq!(std::fs::read_dir(host.paths.sessions())?.count(), 1, "a directory is left");
    host.ending.cancel();
    Ok(())
}
