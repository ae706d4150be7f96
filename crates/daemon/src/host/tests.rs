//! What becomes of a session whose task ended before its time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use lockkeeper_agents::registry;
use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::{Command, Env, Input, Rename, Request, State, step};
use lockkeeper_store::Append;

use super::Host;
use crate::making::tests::{host, made};
use crate::session::Handle;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn fido_6_a_sessions_task_that_ends_by_a_defect_is_started_again() -> Outcome {
    let (_home, host) = host()?;
    made(&host, 1).await?;
    let id = SessionId::from_random(1);
    host.sessions.forget(&id);
    assert_eq!(host.awake(), []);
    let dead = host.tasks.spawn(async { std::panic::resume_unwind(Box::new("a defect")) });
    host.clone().mourn(id.clone(), dead).await;
    assert!(host.awake().contains(&id));
    assert_eq!(host.look(&id).await.map(|state| state.id.clone()).ok(), Some(id), "it answers");
    host.ending.cancel();
    Ok(())
}

#[tokio::test]
async fn a_session_whose_task_died_is_loaded_behind_what_that_task_had_handed_to_the_store() -> Outcome {
    let (_home, host) = host()?;
    made(&host, 1).await?;
    let id = SessionId::from_random(1);
    // Its task is gone.
    let (mailbox, _) = tokio::sync::mpsc::channel(1);
    let dead = Handle { id: id.clone(), mailbox, live: Arc::default(), troubles: Arc::default() };
    host.sessions.awake.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), dead);
    let before = host.store.load(&id)?.ok_or("no session")?;
    let first = described(&host, &before, "first")?;
    let second = described(&host, &first.0, "second")?;
    // The store's writer is held up behind the first, so that the second waits.
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    host.store.on_commit(Box::new(move |_| {
        // Its other end is dropped when the writer may go on.
        let _ = released.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }));
    let head = host.store.head();
    for (state, events) in [&first, &second] {
        drop(host.append(Append::of(host.epoch, state, events.clone())));
        // It has the first, and would take both at once otherwise.
        tokio::time::timeout(Duration::from_mins(1), async {
            while host.store.head() == head {
                tokio::task::yield_now().await;
            }
        })
        .await?;
    }
    let handle = {
        let mut load = std::pin::pin!(host.session(&id));
        // It should not come to an end by itself; if it does, what it has loaded is looked at all the same.
        let early = tokio::time::timeout(Duration::from_millis(100), &mut load).await;
        drop(release);
        match early {
            Ok(loaded) => loaded,
            Err(_) => load.await,
        }
    };
    assert!(handle.is_ok(), "it can be loaded");
    assert_eq!(host.look(&id).await.map(|state| state.seq).ok(), Some(second.0.seq));
    host.ending.cancel();
    Ok(())
}

/// A session after its label was changed, and the events of that.
fn described(
    host: &Host,
    state: &State,
    label: &str,
) -> Result<(State, Vec<lockkeeper_core::session::Envelope>), Box<dyn std::error::Error>> {
    let adapter = registry::find("demo").ok_or("no such agent")?;
    let env = Env {
        policy: Arc::default(),
        at_launch: Arc::default(),
        now: host.clock.now(),
        manner: host.manner(adapter),
        notices: host.notifier.wants(),
        name_taken: false,
        paused: false,
        admits: false,
    };
    let set = [("label".to_owned(), label.to_owned())].into_iter().collect();
    let command = Command::Describe { name: Rename::Keep, set, remove: BTreeSet::new() };
    let mut after = state.clone();
    let events = step(&mut after, Input::Command(Request { by: "tests".to_owned(), command }), &env)?;
    Ok((after, events))
}
