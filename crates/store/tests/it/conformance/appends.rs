//! What is stored, what is refused, and who is told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use lockkeeper_core::session::Event;
use lockkeeper_store::{Append, Appended, Cursor, EventQuery, KeyEntry, Store, ViewFilter};

use super::Place;
use crate::common::{PATIENCE, Session, assert_holds, ended, id, key, message, ok, put, remove, try_put};

pub(super) fn events_come_back_in_order_and_gapless(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b) = (Session::new(1, Some("a")), Session::new(2, None));
    for round in 0..20 {
        a.says(&format!("a {round}")).says("again");
        b.says(&format!("b {round}"));
        a.put(&*store);
        b.put(&*store);
    }
    assert_holds(&*store, &[&a, &b]);
    assert_eq!(store.head(), Cursor(store.health().events));
}

pub(super) fn a_stale_append_conflicts_and_its_neighbours_are_stored(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b, mut c) = (Session::new(1, None), Session::new(2, None), Session::new(3, None));
    b.put(&*store);
    let mut stale = b.clone();
    b.says("first");
    stale.says("late").says("later");
    let batch = vec![a.append(&*store), b.append(&*store), stale.append(&*store), c.append(&*store)];
    let answers = put(&*store, batch);
    assert_eq!(answers[2], Appended::Conflict { found: 2 });
    assert!([0, 1, 3].iter().all(|at| matches!(answers[*at], Appended::Ok { .. })));
    assert_holds(&*store, &[&a, &b, &c]);
    // One from the future, and one for a session that does not exist.
    b.says("x").says("y");
    b.pending.remove(0);
    let early = b.append(&*store);
    assert_eq!(put(&*store, vec![early]), [Appended::Conflict { found: 2 }]);
    let mut nobody = Session::new(4, None);
    nobody.says("x");
    nobody.pending.remove(0);
    let nobody = nobody.append(&*store);
    assert_eq!(put(&*store, vec![nobody]), [Appended::Conflict { found: 0 }]);
}

pub(super) fn each_submission_of_a_group_gets_its_own_answer(place: &dyn Place) {
    let older = place.open().epoch();
    let store = place.open();
    let (mut first, mut named, mut keyed) =
        (Session::new(1, None), Session::new(2, Some("name")), Session::new(3, None));
    let batch = vec![named.append(&*store), Append { keys: vec![key("k")], ..keyed.append(&*store) }];
    for answer in put(&*store, batch) {
        ok(&answer);
    }
    let commits = store.health().commits;
    // The writer waits in this callback, so everything else shares the next commit.
    let (go, gate) = mpsc::channel::<()>();
    let append = first.append(&*store);
    store.submit(vec![append], Box::new(move |_| gate.recv_timeout(PATIENCE).unwrap()));
    let (tell, told) = mpsc::channel();
    let submit = |append: Append| {
        let tell = tell.clone();
        store.submit(vec![append], Box::new(move |result| tell.send(result.unwrap().remove(0)).unwrap()));
    };
    let mut good: Vec<_> = (10..16).map(|n| Session::new(n, None)).collect();
    let mut good_one = |at: usize| submit(good[at].append(&*store));
    good_one(0);
    submit(Session::new(20, Some("name")).append(&*store));
    good_one(1);
    submit(Append { keys: vec![key("k")], ..Session::new(21, None).append(&*store) });
    good_one(2);
    let mut wrong = Session::new(22, None).append(&*store);
    wrong.row.seq = 7;
    submit(wrong);
    good_one(3);
    submit(Session::new(2, None).append(&*store));
    good_one(4);
    submit(Append { epoch: older, ..Session::new(23, None).append(&*store) });
    good_one(5);
    go.send(()).unwrap();
    let answers: Vec<_> = (0..11).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    let refused = [answers[1].clone(), answers[3].clone(), answers[7].clone(), answers[9].clone()];
    let wanted = [
        Appended::NameTaken { by: id(2) },
        Appended::KeyTaken(Box::new(key("k"))),
        Appended::Conflict { found: 1 },
        Appended::Fenced,
    ];
    assert_eq!(refused, wanted);
    assert!(matches!(answers[5], Appended::Refused { .. }));
    for at in [0, 2, 4, 6, 8, 10] {
        ok(&answers[at]);
    }
    let commits = store.health().commits - commits;
    assert!(commits <= 2, "{commits}: one for who made them wait, one for them all");
    let good = good.iter().chain([&first, &named, &keyed]);
    assert_holds(&*store, &good.collect::<Vec<_>>());
    assert_eq!(store.view(&ViewFilter::default()).unwrap().sessions.len(), 9);
}

pub(super) fn an_older_epoch_is_fenced(place: &dyn Place) {
    let first = place.open();
    let mut session = Session::new(1, None);
    session.put(&*first);
    let second = place.open();
    assert!(second.epoch() > first.epoch());
    assert_eq!(second.log_id(), first.log_id());
    let mut fork = session.clone();
    fork.says("from the past");
    let late = fork.append(&*first);
    assert_eq!(put(&*first, vec![late.clone()]), [Appended::Fenced]);
    // Nor through the new store.
    assert_eq!(put(&*second, vec![late]), [Appended::Fenced]);
    assert_eq!(remove(&*first, &session), Appended::Fenced);
    assert!(first.health().fenced);
    session.says("from the present").put(&*second);
    drop(first);
    assert_holds(&*second, &[&session]);
}

pub(super) fn an_append_that_contradicts_itself_is_refused(place: &dyn Place) {
    let store = place.open();
    let mut good = Session::new(1, None);
    good.put(&*store);
    let changes: [fn(&mut Append); 5] = [
        |append| append.events[1].seq += 1,
        |append| append.row.seq += 1,
        |append| append.row.id = id(99),
        |append| {
            let key =
                KeyEntry { scope: "s".into(), key: "k".into(), body_hash: "h".into(), response: "r".into() };
            append.keys = vec![key.clone(), key];
        },
        |append| append.snapshot = Some(Arc::new(Session::new(2, None).state)),
    ];
    for change in changes {
        let mut bad = good.clone();
        bad.says("x").says("y");
        let mut append = bad.append(&*store);
        change(&mut append);
        assert!(matches!(put(&*store, vec![append])[..], [Appended::Refused { .. }]));
    }
    let mut headless = Session::new(5, None).says("x").append(&*store);
    headless.events[0].event = message("m", "not a beginning");
    assert!(matches!(put(&*store, vec![headless])[..], [Appended::Refused { .. }]));
    assert_holds(&*store, &[&good]);
    assert_eq!(store.head(), Cursor(1));
}

pub(super) fn a_name_belongs_to_one_living_session(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b, mut c) =
        (Session::new(1, Some("x")), Session::new(2, Some("x")), Session::new(3, None));
    let batch = vec![a.append(&*store), b.append(&*store), c.append(&*store)];
    let answers = put(&*store, batch);
    assert_eq!(answers[1], Appended::NameTaken { by: id(1) });
    assert!(matches!(answers[2], Appended::Ok { .. }));
    let renamed = Event::SessionRenamed { name: Some("x".parse().unwrap()), by: "tester".into() };
    let mut thief = c.clone();
    let steal = thief.then(renamed).append(&*store);
    assert_eq!(put(&*store, vec![steal]), [Appended::NameTaken { by: id(1) }]);
    a.then(ended()).put(&*store);
    let mut b = Session::new(2, Some("x"));
    b.put(&*store);
    let reopened =
        Event::SessionReopened { by: "tester".into(), lifetime: lockkeeper_core::session::Lifetime::Kept };
    let mut back = a.clone();
    let back = back.then(reopened).append(&*store);
    assert_eq!(put(&*store, vec![back]), [Appended::NameTaken { by: id(2) }]);
    assert_holds(&*store, &[&a, &b, &c]);
}

pub(super) fn what_is_stored_is_there_after_opening_again(place: &dyn Place) {
    let mut sessions: Vec<_> = (1..=5).map(|n| Session::new(n, None)).collect();
    let mut log = None;
    for _ in 0..4 {
        let store = place.open();
        assert_eq!(log.get_or_insert(store.log_id().to_owned()), store.log_id());
        for session in &mut sessions {
            session.says("x").put(&*store);
        }
        assert_eq!(store.head(), Cursor(sessions.iter().map(|session| session.state.seq).sum()));
    }
    assert_holds(&*place.open(), &sessions.iter().collect::<Vec<_>>());
}

pub(super) fn hints_come_after_commits(place: &dyn Place) {
    let store: Arc<dyn Store> = Arc::from(place.open());
    let hinted = Arc::new(AtomicU64::new(0));
    store.on_commit(Box::new({
        let (hinted, store) = (Arc::clone(&hinted), Arc::downgrade(&store));
        move |cursor| {
            hinted.fetch_max(cursor.0, Ordering::SeqCst);
            // It is committed, and the head says so.
            if let Some(store) = store.upgrade() {
                assert!(store.head() >= cursor);
                assert!(
                    store.read(&EventQuery { after: Cursor(cursor.0 - 1), ..EventQuery::default() }).is_ok()
                );
            }
        }
    }));
    let mut session = Session::new(1, None);
    let last = session.says("x").put(&*store);
    store.flush().unwrap();
    assert_eq!(hinted.load(Ordering::SeqCst), last.0);
}

pub(super) fn callbacks_come_in_the_order_of_submission(place: &dyn Place) {
    let store = place.open();
    let (tell, told) = mpsc::channel();
    let mut session = Session::new(1, None);
    for n in 0..500 {
        let append = session.says("x").append(&*store);
        let tell = tell.clone();
        store
            .submit(vec![append], Box::new(move |result| tell.send((n, result.unwrap().remove(0))).unwrap()));
    }
    for n in 0..500 {
        let (at, answer) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(at, n);
        ok(&answer);
    }
    assert_holds(&*store, &[&session]);
}

pub(super) fn a_panicking_callback_hurts_nobody(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let append = session.append(&*store);
    store.submit(vec![append], Box::new(|_| std::panic::resume_unwind(Box::new("on purpose"))));
    session.says("x").put(&*store);
    assert_holds(&*store, &[&session]);
    // The last handle may go in a callback, on the writer's own thread.
    let store: Arc<dyn Store> = Arc::from(store);
    let (tell, told) = mpsc::channel();
    let append = session.says("y").append(&*store);
    let handle = Arc::clone(&store);
    store.submit(
        vec![append],
        Box::new(move |result| {
            drop(handle);
            tell.send(result).unwrap();
        }),
    );
    drop(store);
    ok(&told.recv_timeout(PATIENCE).unwrap().unwrap()[0]);
}

pub(super) fn too_much_waiting_is_refused_at_once(place: &dyn Place) {
    let store = place.open();
    let (go, gate) = mpsc::channel::<()>();
    // The writer waits in this callback, so everything else queues up.
    let first = Session::new(1, None).append(&*store);
    store.submit(vec![first], Box::new(move |_| gate.recv_timeout(PATIENCE).unwrap()));
    let (tell, told) = mpsc::channel();
    let count = lockkeeper_store::limits::QUEUE_ITEMS as u64 + 5000;
    for n in 0..count {
        let append = Session::new(2 + n, None).append(&*store);
        let tell = tell.clone();
        store.submit(vec![append], Box::new(move |result| tell.send(result).unwrap()));
    }
    // Refusals come first, and on this thread.
    let overloaded = std::iter::from_fn(|| told.try_recv().ok()).filter(Result::is_err).count();
    assert!(overloaded >= 4000, "{overloaded}");
    go.send(()).unwrap();
    let mut stored = 0u64;
    drop(tell);
    while let Ok(result) = told.recv_timeout(PATIENCE) {
        ok(&result.unwrap()[0]);
        stored += 1;
    }
    assert_eq!(stored + overloaded as u64, count);
    let mut after = Session::new(1_000_000, None);
    assert!(try_put(&*store, vec![after.append(&*store)]).is_ok());
}
