//! What takes longer. Skipped in quick runs.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::boot::lines_survive_kills;
use crate::ingest::{has_strace, traced};
use crate::support::{
    Failure, Fallible, SHORT, Spec, Stream, ensure, kill, peak_memory_kb, skipped, wait_until, with_daemon,
};

#[test]
fn o43_no_line_is_lost_or_doubled_by_fifty_kills_of_the_daemon() -> Fallible {
    lines_survive_kills(200_000, 50, 7)
}

#[test]
fn o19_the_budget_of_relaunches_survives_restarts_and_its_end_is_told_once() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("EXIT 1"))?;
        let mut watch = session.watch()?;
        for crash in 1.. {
            let ended =
                |frame: &crate::support::Frame| frame.is("attempt.backoff") || frame.is("session.ended");
            if watch.until("the end of the process", ended)?.is("session.ended") {
                assert_eq!(crash, 6, "five relaunches within the window");
                break;
            }
            watch.status("suspended")?;
            if crash % 2 == 0 {
                home.crash_and_start()?;
                watch.reconnect()?;
            }
            session.prompt("EXIT 1")?;
        }
        let row = session.wait("end")?;
        assert_eq!((&row["status"], &row["end"]["reason"]), (&json!("failed"), &json!("crash_loop")));
        home.crash_and_start()?;
        assert_eq!(session.row()?["status"], "failed");
        let told = home.log().lines().filter(|line| line.contains("CrashLoop")).count();
        assert_eq!(told, 1, "one log line");
        assert_eq!(session.list("attempts")?.len(), 6);
        Ok(())
    })
}

#[test]
fn an_idle_daemon_with_subscribers_makes_almost_no_system_calls() -> Fallible {
    if !has_strace() {
        skipped("an_idle_daemon_with_subscribers_makes_almost_no_system_calls", "there is no strace");
        return Ok(());
    }
    with_daemon(SHORT, |home| {
        let mut streams: Vec<Stream> = Vec::new();
        for _ in 0..10 {
            let session = home.session(&Spec::kept().prompt("SAY x"))?;
            session.wait("idle")?;
            streams.push(session.watch()?);
        }
        for _ in 0..3 {
            streams.push(home.stream("/v1/events")?);
        }
        let calls = traced(home, "all", || {
            // There is no event to wait for: what is measured is that nothing happens.
            thread::sleep(Duration::from_secs(5));
            Ok(())
        })?;
        ensure!(calls.len() < 100, "{} system calls in 5 s of nothing: {:#?}", calls.len(), &calls[..50]);
        Ok(())
    })
}

#[test]
fn a_silent_stream_shows_that_it_lives() -> Fallible {
    with_daemon(SHORT, |home| {
        home.session(&Spec::kept())?;
        let mut stream = home.stream("/v1/events")?;
        let beat = stream.next()?;
        assert_eq!(beat.name, "heartbeat");
        assert!(beat.data["at"].is_string() && beat.id.is_some(), "{beat:?}");
        Ok(())
    })
}

#[test]
fn o45_a_hundred_megabytes_on_one_line_and_a_flood_leave_memory_bounded() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("HUGE 100 ;; LINES 100000 0 1000"))?;
        let mut kinds = home.stream(&session.path("/events?after=start&kind=agent.malformed,turn.ended"))?;
        let malformed = kinds.event("agent.malformed")?;
        ensure!(malformed["bytes"].as_u64().is_some_and(|bytes| bytes > 100 << 20), "{malformed}");
        assert_eq!(kinds.event("turn.ended")?["outcome"], "completed");
        let peak = peak_memory_kb(home.daemon_pid())?;
        ensure!(peak < 250_000, "the daemon took {peak} kB");
        // It passes on what comes, line or not.
        let peak = peak_memory_kb(home.holder_of(&session.id)?)?;
        ensure!(peak < 16_000, "the holder took {peak} kB");
        Ok(())
    })
}

/// A daemon that is killed again and again while sessions do everything there is.
#[test]
fn o43_everything_is_truthful_after_many_kills_at_any_moment() -> Fallible {
    with_daemon(SHORT, |home| {
        const SESSIONS: usize = 8;
        let scripts = [
            "LINES 3000",
            "ASK Bash {\"command\":\"x\"} ;; SAY end",
            "SLOW 50 2",
            "SAY a ;; SAY b ;; TOOL Bash {\"command\":\"y\"} ;; SAY c",
        ];
        let mut sessions = Vec::new();
        for n in 0..SESSIONS {
            sessions.push(home.session(&Spec::kept().prompt(scripts[n % scripts.len()]))?);
        }
        let mut random: u64 = 99;
        for round in 0..25 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut all = home.stream("/v1/events?after=start")?;
            // As many events as chance will have it, and not one more.
            for _ in 0..(random >> 33) % 300 {
                if all.next()?.name == "heartbeat" {
                    break;
                }
            }
            let session = &sessions[usize::try_from(random >> 20)? % SESSIONS];
            // Whatever is refused because of the moment is refused; what counts is that nothing lies.
            let act = ["interrupt", "resume", "kill"][usize::try_from(random >> 40)? % 3];
            ensure!(session.try_act(act)?.status < 500, "round {round}: {act}");
            session.prompt(scripts[usize::try_from(random >> 50)? % scripts.len()]).ok();
            home.crash_and_start()?;
        }
        for session in &sessions {
            settle(session)?;
            check_log(session)?;
        }
        Ok(())
    })
}

/// Decides all gates of a session until it rests.
fn settle(session: &crate::support::Session<'_>) -> Fallible {
    let mut watch = session.watch()?;
    loop {
        let row = session.row()?;
        if row["open_gates"] == 1 && row["status"] == "awaiting_input" {
            // Somebody else may have closed it meanwhile.
            session.allow().ok();
        } else if row["held_by"].is_string() {
            session.act("resume")?;
        } else if row["queue"] == 0
            && row["turn"].is_null()
            && row["status"] != "starting"
            && row["status"] != "unknown"
        {
            return Ok(());
        }
        watch.next()?;
    }
}

/// What must hold of any log: each turn ended once, each prompt had one turn, no text came twice.
fn check_log(session: &crate::support::Session<'_>) -> Fallible {
    let turns = session.list("turns")?;
    let mut prompts: Vec<String> = Vec::new();
    for turn in &turns {
        ensure!(turn["ended"].is_string(), "a turn never ended: {turn}");
        if let Some(prompt) = turn["prompt"].as_str() {
            ensure!(!prompts.contains(&prompt.to_owned()), "{prompt} was done twice");
            prompts.push(prompt.to_owned());
        }
    }
    let items = session.list("items")?;
    for turn in &turns {
        let of_turn = items.iter().filter(|item| item["turn"] == turn["id"] && item["kind"] == "message");
        let lines: Vec<&str> = of_turn
            .filter_map(|item| item["text"].as_str())
            .filter(|text| text.starts_with("line "))
            .collect();
        for (n, line) in lines.iter().enumerate() {
            ensure!(*line == format!("line {:06}", n + 1), "{}: {line}", turn["id"]);
        }
    }
    let row: Value = session.row()?;
    ensure!(row["status"] != "failed", "{row}");
    Ok(())
}

#[test]
fn a_client_that_never_finishes_its_request_is_hung_up_on() -> Fallible {
    with_daemon(SHORT, |home| {
        for half in ["", "GET /healthz HTTP/1.1\r\nHo", "GET /healthz HTTP/1.1\r\nHost: lk\r\n\r\n"] {
            let mut stream = home.api().connect()?;
            stream.write_all(half.as_bytes())?;
            // It ends, or the patience of the test does.
            stream.read_to_end(&mut Vec::new()).map_err(|error| Failure::from(error).within(half))?;
        }
        Ok(())
    })
}

#[test]
fn fault13_readers_that_never_read_stand_still_or_die_hold_up_nobody_and_take_no_memory() -> Fallible {
    const LINES: usize = 4000;
    with_daemon(SHORT, |home| {
        let other = home.session(&Spec::kept())?;
        other.ask(&format!("LINES {LINES} 0 4000"))?;
        let before = peak_memory_kb(home.daemon_pid())?;
        let session = home.session(&Spec::kept().prompt("SAY warm"))?;
        session.wait("idle")?;
        let mut deaf = Vec::new();
        for _ in 0..20 {
            let mut stream = home.api().connect()?;
            let path = session.path("/events?after=start");
            write!(stream, "GET {path} HTTP/1.1\r\nHost: lk\r\nAccept: text/event-stream\r\n\r\n")?;
            deaf.push(stream);
        }
        let told = |no: usize| {
            let text = std::fs::read_to_string(home.path(&format!("told-{no}"))).unwrap_or_default();
            text.lines().filter(|line| line.contains("\"item.added\"")).count()
        };
        let mut readers = Vec::new();
        for no in 0..10 {
            let mut command = home.lk(&["events", "-f", "-o", "jsonl", &session.id]);
            readers.push(command.stdout(std::fs::File::create(home.path(&format!("told-{no}")))?).spawn()?);
            wait_until("a reader", || told(no) > 0)?;
        }
        let (stopped, killed) = readers.split_at_mut(5);
        for reader in &*stopped {
            kill(reader.id(), Signal::STOP)?;
        }
        let mut watch = session.watch()?;
        session.prompt(&format!("LINES {LINES} 0 4000"))?;
        while watch.count("item.added") < LINES / 2 {
            watch.next()?;
        }
        for reader in killed {
            reader.kill()?;
            reader.wait()?;
        }
        // The stream makes sure that it misses and repeats nothing.
        while watch.count("turn.ended") < 2 {
            watch.next()?;
        }
        let after = peak_memory_kb(home.daemon_pid())?;
        ensure!(
            after < before + 40_000,
            "the daemon took {before} kB, and then {after} kB for 25 slow readers"
        );
        for (no, reader) in stopped.iter_mut().enumerate() {
            kill(reader.id(), Signal::CONT)?;
            let file = home.path(&format!("told-{no}"));
            wait_until("all lines", || {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                text.matches("\"kind\":\"turn.ended\",\"").count() >= 2
            })?;
            reader.kill()?;
            reader.wait()?;
            assert_eq!(told(no), LINES + 1, "each line is told once");
        }
        Ok(())
    })
}
