//! What only a race could show from outside.

use lockkeeper_core::id::AttemptNo;

use super::*;
use crate::making::tests::{host, new};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn piece(key: &str) -> Result<Live, Box<dyn std::error::Error>> {
    let (attempt, kind, text) = (AttemptNo(1), DeltaKind::Message, "text".into());
    Ok(Live::Text { attempt, key: key.parse()?, kind, offset: 0, text })
}

/// One that has read up to a position.
fn subscriber(host: &Arc<Host>, session: &SessionId, cursor: Cursor) -> Subscriber {
    Subscriber {
        host: host.clone(),
        session: Some(session.clone()),
        _wait: None,
        kinds: None,
        told: host.hub.listen(),
        cursor,
        last_seq: None,
        behind: false,
        open: BTreeMap::new(),
        missed: BTreeSet::new(),
        taking: None,
        frames: VecDeque::new(),
        beat: heartbeat(),
    }
}

/// Has it send all that was told.
fn take(subscriber: &mut Subscriber, told: Told) {
    subscriber.take(Arc::new(told));
    while subscriber.taking.is_some() {
        subscriber.go_on();
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_told_is_an_explicit_gap() -> Outcome {
    let (_home, host) = host()?;
    let mut subscriber = subscriber(&host, &SessionId::from_random(7), Cursor(3));
    let broken = serde_json::from_str("{");
    subscriber.push_event(Cursor(4), broken);
    let [frame] = subscriber.frames.make_contiguous() else { return Err("no frame".into()) };
    assert!(frame.starts_with("event: gap"), "{frame}");
    Ok(())
}

#[tokio::test]
async fn a_piece_that_was_told_before_the_end_of_its_item_was_read_is_left_out() -> Outcome {
    let (_home, host) = host()?;
    let made = host.create(new(7)?, "me".to_owned(), Vec::new(), None).await?;
    let crate::session::Made::Now(made) = made else { return Err("made before".into()) };
    let handle = host.session(&made.state.id).await?;
    let streams = piece("streams")?;
    handle.live.lock().map_err(|_| "poisoned")?.push(streams.clone());
    let told = |at, live| Told { session: made.state.id.clone(), at, events: Vec::new(), live };
    let mut subscriber = subscriber(&host, &made.state.id, Cursor(made.cursor.0 + 1));
    take(&mut subscriber, told(made.cursor, vec![piece("finished")?]));
    assert!(subscriber.frames.is_empty(), "{:?}", subscriber.frames);
    take(&mut subscriber, told(made.cursor, vec![streams]));
    assert_eq!(subscriber.frames.len(), 1);
    let here = subscriber.cursor;
    take(&mut subscriber, told(here, vec![piece("begins")?]));
    assert_eq!(subscriber.frames.len(), 2);
    host.ending.cancel();
    Ok(())
}
