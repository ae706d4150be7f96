//! Subscriptions: beginning, breaking off, falling behind; text that streams.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Failure, Fallible, Frame, SHORT, Spec, Stream, ensure, with_daemon};

#[test]
fn o13_a_subscription_begins_with_a_snapshot_and_misses_and_repeats_nothing_over_reconnects() -> Fallible {
    with_daemon(SHORT, |home| {
        const LINES: usize = 3000;
        let session = home.session(&Spec::kept())?;
        let mut watch = home.stream(&session.path("/events"))?;
        let row = &watch.seen[0].data["snapshot"]["sessions"][0];
        assert_eq!((&row["id"], &row["status"]), (&json!(session.id), &json!("suspended")));
        session.prompt(&format!("LINES {LINES}"))?;
        // The stream itself makes sure that the numbers of events go up by one.
        let mut frames = 0;
        while watch.count("turn.ended") == 0 {
            watch.next()?;
            frames += 1;
            if frames % 97 == 0 {
                watch.reconnect()?;
            }
        }
        assert_eq!(watch.count("item.added"), LINES);
        Ok(())
    })
}

#[test]
fn o07_what_is_polled_and_what_is_pushed_agree_at_every_cursor() -> Fallible {
    with_daemon(SHORT, |home| {
        let done = AtomicBool::new(false);
        let polled = thread::scope(|scope| {
            let polling = scope.spawn(|| {
                let mut samples = Vec::new();
                while !done.load(Ordering::Acquire) {
                    samples.push(home.api().get("/v1/sessions?all=true")?);
                }
                Ok::<_, Failure>(samples)
            });
            let worked = (|| {
                for _ in 0..3 {
                    let session =
                        home.session(&Spec::kept().prompt("ASK Bash {\"command\":\"x\"} ;; SAY a"))?;
                    session.wait("input")?;
                    session.allow()?;
                    session.wait("idle")?;
                    let mut watch = session.watch()?;
                    session.prompt("HANG")?;
                    while watch.count("turn.taken") < 2 {
                        watch.next()?;
                    }
                    session.act("interrupt")?;
                    session.wait("idle")?;
                    session.ask("EXIT 1")?;
                    session.act("stop")?;
                    session.wait("end")?;
                }
                Ok::<_, Failure>(())
            })();
            done.store(true, Ordering::Release);
            let samples = polling.join().map_err(|_| Failure::new("the poller panicked"))?;
            worked.and(samples)
        })?;
        let pushed = all_events(home)?;
        ensure!(polled.len() > 20, "only {} samples", polled.len());
        for sample in &polled {
            let at = position(&sample["cursor"]);
            for row in sample["items"].as_array().into_iter().flatten() {
                let last = pushed
                    .iter()
                    .filter(|event| event["session"] == row["id"] && position(&event["cursor"]) <= at)
                    .rfind(|event| event["kind"] == "session.status_changed");
                let told = last.map(|event| event["data"]["to"].clone()).unwrap_or_default();
                ensure!(
                    row["status"] == told,
                    "at {at} the row says {} and the stream {told}",
                    row["status"]
                );
                ensure!(
                    row["cause"]["seq"]
                        == last.map(|e| e["data"]["cause"]["seq"].clone()).unwrap_or_default(),
                    "{row}"
                );
            }
        }
        Ok(())
    })
}

fn position(cursor: &Value) -> u64 {
    cursor.as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Every event of the daemon, page by page.
fn all_events(home: &crate::support::Home) -> Fallible<Vec<Value>> {
    let (mut events, mut after) = (Vec::new(), "start".to_owned());
    loop {
        let page = home.api().get(&format!("/v1/events?after={after}&limit=100"))?;
        events.extend(page["items"].as_array().cloned().unwrap_or_default());
        page["cursor"].as_str().unwrap_or_default().clone_into(&mut after);
        if page["more"] == false {
            return Ok(events);
        }
    }
}

#[test]
fn o13_a_subscriber_that_does_not_read_slows_nobody_and_gets_everything_later() -> Fallible {
    with_daemon(SHORT, |home| {
        const LINES: usize = 12_000;
        let session = home.session(&Spec::kept())?;
        let mut slow = session.watch()?;
        let mut of_all = home.stream("/v1/events?after=start")?;
        session.prompt(&format!("LINES {LINES}"))?;
        session.wait("idle")?;
        let other = home.session(&Spec::kept())?;
        assert_eq!(other.ask("SAY quick")?["outcome"], "completed");
        slow.event("turn.ended")?;
        assert_eq!(slow.count("item.added"), LINES);
        of_all.until("the other session", |frame| {
            frame.is("turn.ended") && frame.data["session"] == other.id
        })?;
        assert_eq!(of_all.count("item.added"), LINES + 1);
        Ok(())
    })
}

#[test]
fn a_filter_by_kind_gives_those_kinds_alone_and_an_unknown_kind_is_refused() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let mut watch =
            home.stream(&session.path("/events?after=start&kind=turn.*,session.status_changed"))?;
        session.ask("SAY x")?;
        watch.status("idle")?;
        let kinds: Vec<&Value> = watch.seen[1..].iter().map(|frame| &frame.data["kind"]).collect();
        let wanted = ["turn.started", "turn.taken", "turn.ended", "session.status_changed"];
        ensure!(kinds.iter().all(|kind| wanted.iter().any(|known| *kind == known)), "{kinds:?}");
        assert_eq!(watch.count("turn.ended"), 1);
        for path in [
            "/v1/events?kind=no.such",
            "/v1/events?kind=turn*",
            "/v1/events?kind=",
            "/v1/events?kind=turn.ended,x",
        ] {
            home.api().send("GET", path, &[], None)?.is_problem(400, "kind_unknown")?;
            let head = [("Accept", "text/event-stream")];
            home.api().send("GET", path, &head, None)?.is_problem(400, "kind_unknown")?;
        }
        Ok(())
    })
}

#[test]
fn a_position_that_this_log_does_not_have_is_an_explicit_gap() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let mut watch = home.stream(&session.path("/events?after=999999"))?;
        let gap = watch.next()?;
        assert_eq!((gap.name.as_str(), &gap.data["after"]), ("gap", &json!("999999")));
        session.prompt("SAY x")?;
        watch.event("turn.ended")?;
        Ok(())
    })
}

/// Puts the pieces of streaming text together, and makes sure that each begins where the one before ended.
fn put_together(frames: &[Frame]) -> Fallible<String> {
    let mut text = String::new();
    for frame in frames.iter().filter(|frame| frame.name == "live" && frame.data["kind"] == "message") {
        let offset = usize::try_from(frame.data["offset"].as_u64().unwrap_or_default())?;
        ensure!(offset <= text.len(), "a piece begins at {offset}, and {} bytes came before", text.len());
        let piece = frame.data["text"].as_str().unwrap_or_default();
        ensure!(
            offset == text.len() || text[offset..].starts_with(piece),
            "{piece:?} does not fit at {offset}"
        );
        text.truncate(offset);
        text.push_str(piece);
    }
    Ok(text)
}

#[test]
fn streaming_text_adds_up_to_the_item_for_those_who_come_early_and_late() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let mut early = session.watch()?;
        session.prompt("SLOW 40 5")?;
        early.until("tenth word", |frame| {
            frame.data["text"].as_str().is_some_and(|text| text.contains("w9 "))
        })?;
        let mut late = home.stream(&session.path("/events"))?;
        let mut of_all = home.stream("/v1/events")?;
        let first = late.until("text so far", |frame| frame.name == "live")?;
        assert_eq!(first.data["offset"], 0);
        ensure!(first.data["text"].as_str().is_some_and(|text| text.starts_with("w0 w1 ")), "{first:?}");
        let mut whole = String::new();
        for stream in [&mut early, &mut late, &mut of_all] {
            let item = stream.event("item.added")?;
            item["item"]["body"]["message"]["text"].as_str().unwrap_or_default().clone_into(&mut whole);
            // What comes in one batch with the end of the item is told by the item alone.
            let streamed = put_together(&stream.seen)?;
            ensure!(whole.starts_with(&streamed) && streamed.contains("w9 "), "{streamed:?} of {whole:?}");
        }
        ensure!(whole.ends_with("w39 "), "{whole}");
        Ok(())
    })
}

#[test]
fn streaming_text_is_whole_again_after_a_restart_of_the_daemon() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("WAITFILE {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.until("the first word", |frame| frame.name == "live")?;
        home.crash_and_start()?;
        watch.reconnect()?;
        watch.status("running")?;
        let mut late = home.stream(&session.path("/events"))?;
        let first = late.until("text so far", |frame| frame.name == "live")?;
        assert_eq!((&first.data["offset"], &first.data["text"]), (&json!(0), &json!("waiting ")));
        std::fs::write(&go, "")?;
        late.event("item.added")?;
        ensure!("waiting released".starts_with(&put_together(&late.seen)?), "{:?}", late.seen);
        assert_eq!(session.messages()?, ["waiting released"]);
        Ok(())
    })
}

#[test]
fn text_that_an_interrupt_cuts_is_kept_as_a_partial_item() -> Fallible {
    with_daemon(SHORT, |home| {
        let session =
            home.session(&Spec::kept().prompt(&format!("WAITFILE {}", home.path("never").display())))?;
        let mut watch = session.watch()?;
        watch.until("the first word", |frame| frame.name == "live")?;
        session.act("interrupt")?;
        watch.status("idle")?;
        let item = session.list("items")?.remove(0);
        assert_eq!((&item["text"], &item["extent"]), (&json!("waiting "), &json!("partial")));
        Ok(())
    })
}

#[test]
fn a_stream_ends_with_the_daemon_and_goes_on_with_the_next() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY x"))?;
        session.wait("idle")?;
        let mut streams: Vec<Stream> = Vec::new();
        for _ in 0..3 {
            streams.push(session.watch()?);
        }
        home.stop_daemon()?;
        for stream in &mut streams {
            while stream.next().is_ok() {}
        }
        home.start()?;
        for stream in &mut streams {
            stream.reconnect()?;
            stream.status("idle")?;
        }
        Ok(())
    })
}
