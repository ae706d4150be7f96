//! What becomes of a pause, and who is told; e2e `host` shows it over kills of the daemon.

use lockkeeper_core::admission::Slots as Limits;
use lockkeeper_store::MemoryStore;

use super::*;
use crate::making::tests::{host, host_over};
use crate::memory::Gauge;
use crate::slots::Slots;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn a_pause_is_kept_until_it_ends_and_a_second_one_changes_its_reason_alone() -> Outcome {
    let (_home, host) = host()?;
    host.pause("ada".to_owned(), Some("upgrade".to_owned())).await?;
    let first = host.slots.pause().ok_or("no pause")?;
    assert_eq!((&*first.by, &first.reason), ("ada", &Some("upgrade".to_owned())));
    assert_eq!(kept(&*host.store)?.as_ref(), Some(&first));
    for reason in [None, Some("upgrade".to_owned())] {
        host.pause("bob".to_owned(), reason).await?;
        assert_eq!(host.slots.pause().as_ref(), Some(&first), "nothing else was said");
    }
    host.pause("bob".to_owned(), Some("backup".to_owned())).await?;
    let second = host.slots.pause().ok_or("no pause")?;
    assert_eq!((&*second.by, &second.reason), ("bob", &Some("backup".to_owned())));
    assert_eq!(host.unpause("ada").await?, Some(second));
    assert_eq!((host.slots.pause(), kept(&*host.store)?), (None, None));
    assert_eq!(host.unpause("ada").await?, None, "it was not paused");
    host.ending.cancel();
    Ok(())
}

#[test]
fn a_pause_that_cannot_be_read_is_damage_and_not_the_absence_of_one() -> Outcome {
    let store = MemoryStore::new();
    store.keep_fact(FACT, Some("{}".to_owned()), &[], Box::new(|_| {}));
    store.flush()?;
    assert!(matches!(kept(&store), Err(StoreError::Damaged { .. })));
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_is_fenced_off_pauses_nothing_and_ends() -> Outcome {
    let store = MemoryStore::new();
    let next = store.reopen();
    let (_home, host) = host_over(store, Slots::new(Limits::default(), None, Gauge::new()))?;
    assert!(matches!(host.pause("ada".to_owned(), None).await, Err(Refused::GoingDown)));
    assert_eq!((host.slots.pause(), kept(&next)?), (None, None));
    assert!(host.ending.is_cancelled());
    Ok(())
}
