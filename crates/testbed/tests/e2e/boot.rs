//! Daemons that die, and those that come after them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Fallible, Home, SHORT, Session, Spec, ensure, is_running, kill, wait_until, with_daemon, with_home,
};

const PATIENT: &str = "[deadlines]\nrung_ms = 600000\nwrite_ms = 600000\n";

#[test]
fn o12_every_live_session_is_adopted_by_the_next_daemon_and_none_is_called_failed() -> Fallible {
    with_daemon(PATIENT, |home| {
        let go = home.path("go");
        let cases = [
            ("SAY hi".to_owned(), "idle"),
            (format!("WAITFILE {}", go.display()), "running"),
            ("ASK Bash {\"command\":\"x\"}".to_owned(), "awaiting_input"),
            ("IGNOREINTERRUPT ;; HANG".to_owned(), "interrupting"),
            ("EXIT 1".to_owned(), "suspended"),
        ];
        let mut sessions = Vec::new();
        for (script, status) in &cases {
            let session = home.session(&Spec::kept().prompt(script))?;
            let mut watch = session.watch()?;
            if *status == "interrupting" {
                watch.event("turn.taken")?;
                session.act("interrupt")?;
            }
            watch.status(status)?;
            let pid = session.row()?["pid"].clone();
            sessions.push((session, watch, *status, pid));
        }
        home.crash_and_start()?;
        for (session, watch, status, pid) in &mut sessions {
            watch.reconnect()?;
            if !pid.is_null() {
                watch.status("unknown")?;
                watch.status(status)?;
            }
            let row = session.row()?;
            assert_eq!((&row["status"], &row["pid"]), (&json!(status), &*pid), "{status}");
        }
        // And each goes on.
        std::fs::write(&go, "")?;
        sessions[1].1.status("idle")?;
        assert_eq!(sessions[1].0.messages()?, ["waiting released"]);
        sessions[2].0.allow()?;
        sessions[2].1.status("idle")?;
        assert_eq!(sessions[0].0.ask("SAY again")?["outcome"], "completed");
        for (_, watch, ..) in &sessions {
            ensure!(!watch.statuses().contains(&"failed".to_owned()), "{:?}", watch.statuses());
        }
        Ok(())
    })
}

#[test]
fn o15_what_ends_while_no_daemon_runs_is_told_by_the_next_one() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let wait = |then: &str| format!("WAITFILE {} ;; {then}", go.display());
        let done = home.session(&Spec::one_shot().prompt(&wait("SAY end")))?;
        let dies = home.session(&Spec::kept().prompt(&wait("STDERR alas ;; EXIT 9")))?;
        for session in [&done, &dies] {
            session.watch()?.event("turn.taken")?;
        }
        let pid = dies.pid()?;
        let status = home.stop_daemon()?;
        ensure!(status.success(), "the daemon ended with {status}");
        ensure!(!home.socket().exists(), "its socket is left");
        std::fs::write(&go, "")?;
        wait_until("the end of the agent", || !is_running(pid))?;
        home.start()?;
        assert_eq!(done.wait("end")?["status"], "completed");
        let row = dies.wait("idle")?;
        assert_eq!((&row["status"], &row["exit"]["code"]), (&json!("suspended"), &json!(9)));
        assert_eq!(row["exit"]["stderr"], json!(["alas"]));
        assert_eq!(row["last_turn"]["kind"], "exit");
        Ok(())
    })
}

#[test]
fn o15_stop_leaves_agents_drain_waits_for_turns_and_kill_ends_everything() -> Fallible {
    with_daemon(SHORT, |home| {
        let go = home.path("go");
        let session = home.session(&Spec::kept().prompt(&format!("WAITFILE {}", go.display())))?;
        let mut watch = session.watch()?;
        watch.event("turn.taken")?;
        let pid = session.pid()?;
        let stop = |agents: &str| home.api().json("POST", "/v1/daemon/stop", &json!({"agents": agents}));
        stop("leave")?.good()?;
        home.wait_for_end()?;
        ensure!(is_running(pid), "the agent is gone");
        home.start()?;
        assert_eq!(stop("drain")?.good()?["state"], "draining");
        let more = json!({"text": "SAY no", "class": "normal"});
        home.api().json("POST", &session.path("/prompts"), &more)?.is_problem(503, "not_ready")?;
        std::fs::write(&go, "")?;
        home.wait_for_end()?;
        home.start()?;
        assert_eq!(session.wait("idle")?["last_turn"]["outcome"], "completed");
        stop("kill")?.good()?;
        home.wait_for_end()?;
        ensure!(!is_running(pid), "the agent {pid} is left");
        home.start()?;
        assert_eq!(session.row()?["status"], "stopped");
        Ok(())
    })
}

#[test]
fn o15_drain_and_kill_wait_for_what_is_not_known_yet() -> Fallible {
    for agents in ["drain", "kill"] {
        with_daemon(SHORT, |home| {
            let (write, end) = (home.path("write"), home.path("end"));
            let script = format!("WAITFILE {} ;; LINES 15000 ;; WAITFILE {}", write.display(), end.display());
            let session = home.session(&Spec::kept().prompt(&script))?;
            let mut watch = session.watch()?;
            watch.until("text", |frame| frame.name == "live")?;
            let pid = session.pid()?;
            home.kill_daemon()?;
            std::fs::write(&write, "")?;
            // So much is to be read that the next daemon does not know for a while how things stand.
            let journal = home.data().join("sessions").join(&session.id).join("a1/journal");
            wait_until("a long journal", || {
                std::fs::metadata(&journal).is_ok_and(|file| file.len() > 8 << 20)
            })?;
            home.start()?;
            assert_eq!(session.row()?["status"], "unknown");
            home.api().post("/v1/daemon/stop", &json!({"agents": agents}))?;
            if agents == "drain" {
                watch.reconnect()?;
                watch.status("running")?;
                std::fs::write(&end, "")?;
            }
            home.wait_for_end()?;
            ensure!(agents == "drain" || !is_running(pid), "the agent {pid} is left");
            home.start()?;
            let row = session.wait("idle")?;
            let wanted = if agents == "drain" { ("idle", "completed") } else { ("stopped", "interrupted") };
            assert_eq!((&row["status"], &row["last_turn"]["outcome"]), (&json!(wanted.0), &json!(wanted.1)));
            Ok(())
        })
        .map_err(|failure| failure.within(agents))?;
    }
    Ok(())
}

/// Kills the daemon so many times while numbered lines come in, and makes sure that each is stored once, in order.
pub(crate) fn lines_survive_kills(lines: usize, kills: usize, seed: u64) -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt(&format!("LINES {lines}")))?;
        let mut watch = home.stream(&session.path("/events?after=start&kind=item.added,attempt.launched"))?;
        watch.event("attempt.launched")?;
        let mut random = seed;
        let mut pid = Value::Null;
        let mut stored = 0;
        for round in 0..kills {
            // A simple generator is enough for moments that nobody chose.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let most = (lines - stored) / (kills - round) * 2;
            let step = usize::try_from(random >> 33)? % most.max(1);
            for _ in 0..step.min((lines - stored).saturating_sub(1)) {
                watch.event("item.added")?;
                stored += 1;
            }
            if pid.is_null() {
                pid = session.row()?["pid"].clone();
            }
            home.crash_and_start()?;
            watch.reconnect()?;
        }
        while stored < lines {
            watch.event("item.added")?;
            stored += 1;
        }
        let row = session.wait("idle")?;
        assert_eq!(row["last_turn"]["outcome"], "completed");
        if !pid.is_null() {
            assert_eq!(row["pid"], pid, "the agent is still the same");
        }
        for (n, item) in watch.events("item.added").enumerate() {
            let text = item["item"]["body"]["message"]["text"].as_str().unwrap_or_default();
            ensure!(text == format!("line {:06}", n + 1), "seed {seed}: line {} is {text:?}", n + 1);
        }
        let stored = session.messages()?;
        assert_eq!(stored.len(), lines, "each line is stored exactly once");
        assert_eq!(session.list("attempts")?.len(), 1);
        Ok(())
    })
}

#[test]
fn o43_no_line_is_lost_or_doubled_by_ten_kills_of_the_daemon() -> Fallible {
    lines_survive_kills(20_000, 10, 42)
}

#[test]
fn o43_a_daemon_killed_right_after_it_took_prompts_starts_each_agent_once() -> Fallible {
    with_daemon(SHORT, |home| {
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push(home.session(&Spec::kept().prompt("SAY once"))?);
            home.crash_and_start()?;
        }
        for session in &sessions {
            let row = session.wait("idle")?;
            assert_eq!(row["last_turn"]["outcome"], "completed", "{row}");
            assert_eq!(session.messages()?, ["once"]);
            assert_eq!(session.list("attempts")?.len(), 1);
            assert_eq!(prompts_seen_by_agent(home, session)?, 1);
        }
        Ok(())
    })
}

#[test]
fn o43_every_prompt_that_was_acknowledged_runs_exactly_once() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept())?;
        let mut acknowledged = Vec::new();
        for round in 0..4 {
            let sender = thread::scope(|scope| {
                let api = home.api();
                let path = session.path("/prompts");
                let sending = scope.spawn(move || {
                    let mut taken = Vec::new();
                    for n in 0.. {
                        let text = format!("SAY {round}-{n}");
                        let answer = api.json("POST", &path, &json!({"text": text, "class": "normal"}));
                        match answer.and_then(crate::support::Answer::good) {
                            Ok(_) => taken.push(format!("{round}-{n}")),
                            Err(_) => return taken,
                        }
                    }
                    taken
                });
                let mut watch = session.watch()?;
                while watch.count("prompt.accepted") < acknowledged.len() + 10 {
                    watch.next()?;
                }
                home.kill_daemon()?;
                sending.join().map_err(|_| crate::support::Failure::new("the sender panicked"))
            })?;
            acknowledged.extend(sender);
            home.start()?;
        }
        let row = session.wait("idle")?;
        assert_eq!(row["status"], "idle");
        let said = session.messages()?;
        let distinct: BTreeSet<&String> = said.iter().collect();
        assert_eq!(distinct.len(), said.len(), "nothing is done twice");
        for text in &acknowledged {
            ensure!(distinct.contains(text), "{text} was acknowledged and is lost");
        }
        // In the order in which they were taken.
        let order: Vec<&String> = said.iter().filter(|text| acknowledged.contains(text)).collect();
        assert_eq!(order, acknowledged.iter().collect::<Vec<_>>());
        Ok(())
    })
}

/// How many prompts the scripted agent has written down itself.
fn prompts_seen_by_agent(home: &Home, session: &Session<'_>) -> Fallible<usize> {
    let id = session.row()?["agent_session_id"].as_str().unwrap_or_default().to_owned();
    let projects = std::fs::read_dir(home.agent_home().join(".claude/projects"))?;
    for project in projects {
        let file = project?.path().join(format!("{id}.jsonl"));
        if file.exists() {
            let text = std::fs::read_to_string(file)?;
            return Ok(text.lines().filter(|line| line.contains("\"type\":\"user\"")).count());
        }
    }
    Ok(0)
}

/// A session whose agent stands still while a prompt of megabytes is on its way to it.
fn stuck_in_a_write(home: &Home) -> Fallible<(Session<'_>, u32)> {
    let session = home.session(&Spec::kept().prompt("SAY ready"))?;
    let mut watch = session.watch()?;
    watch.status("idle")?;
    let pid = session.pid()?;
    kill(pid, Signal::STOP)?;
    session.prompt(&format!("{}\nSAY big", "x".repeat(3 << 20)))?;
    let before = watch.count("outbox.accepted");
    watch.until("acceptance of the prompt", |frame| frame.is("outbox.accepted"))?;
    assert_eq!(watch.count("outbox.accepted"), before + 1);
    Ok((session, pid))
}

#[test]
fn o43_a_prompt_that_is_being_written_when_the_daemon_is_killed_arrives_once() -> Fallible {
    with_daemon(PATIENT, |home| {
        let (session, pid) = stuck_in_a_write(home)?;
        home.crash_and_start()?;
        home.crash_and_start()?;
        kill(pid, Signal::CONT)?;
        let row = session.wait("idle")?;
        assert_eq!(row["last_turn"]["outcome"], "completed");
        assert_eq!(session.messages()?, ["ready", "big"]);
        assert_eq!(session.prompts_written(1)?.len(), 2);
        assert_eq!(prompts_seen_by_agent(home, &session)?, 2);
        Ok(())
    })
}

#[test]
fn o43_a_prompt_half_written_when_holder_and_daemon_die_is_unknown_and_never_written_again() -> Fallible {
    with_daemon(PATIENT, |home| {
        let (session, pid) = stuck_in_a_write(home)?;
        let holder = home.holder_of(&session.id)?;
        home.kill_daemon()?;
        kill(holder, Signal::KILL)?;
        wait_until("the end of the holder", || !is_running(holder))?;
        home.start()?;
        let row = session.wait("idle")?;
        assert_eq!(row["status"], "suspended");
        assert_eq!(row["last_turn"]["outcome"], "unknown", "{row}");
        ensure!(!is_running(pid), "the agent is left");
        assert_eq!(session.ask("SAY other")?["outcome"], "completed");
        assert_eq!(session.prompts_written(2)?, ["SAY other"]);
        ensure!(session.list("attempts")?[1]["resume"].is_string(), "the conversation is continued");
        assert_eq!(session.messages()?, ["ready", "other"]);
        Ok(())
    })
}

#[test]
fn o43_a_prompt_that_the_holder_had_not_taken_when_the_daemon_died_is_written_once() -> Fallible {
    with_daemon(PATIENT, |home| {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        session.wait("idle")?;
        let holder = home.holder_of(&session.id)?;
        kill(holder, Signal::STOP)?;
        session.prompt("SAY now")?;
        let mut watch = session.watch()?;
        while watch.count("turn.started") < 2 {
            watch.next()?;
        }
        home.kill_daemon()?;
        kill(holder, Signal::CONT)?;
        home.start()?;
        session.wait("idle")?;
        assert_eq!(session.messages()?, ["ready", "now"]);
        assert_eq!(session.prompts_written(1)?, ["SAY ready", "SAY now"]);
        assert_eq!(prompts_seen_by_agent(home, &session)?, 2);
        Ok(())
    })
}

#[test]
fn o43_an_agent_that_dies_with_its_daemon_and_holder_is_settled_truthfully() -> Fallible {
    with_daemon(SHORT, |home| {
        let running = home.session(&Spec::kept().prompt("SAY said ;; SETSID 600 ;; HANG"))?;
        let mut watch = running.watch()?;
        watch.until("the child", |frame| {
            frame.is("item.added") && frame.data.to_string().contains("child ")
        })?;
        let idle = home.session(&Spec::kept().prompt("SAY idle"))?;
        idle.wait("idle")?;
        let child: u32 = running.messages()?.last().map_or("", |m| m.trim_start_matches("child ")).parse()?;
        let holders = [home.holder_of(&running.id)?, home.holder_of(&idle.id)?];
        home.kill_daemon()?;
        for holder in holders {
            kill(holder, Signal::KILL)?;
        }
        wait_until("the end of the holders", || holders.iter().all(|pid| !is_running(*pid)))?;
        home.start()?;
        let row = running.wait("idle")?;
        assert_eq!((&row["status"], &row["last_turn"]["outcome"]), (&json!("suspended"), &json!("unknown")));
        ensure!(!is_running(child), "what bears the marker is left: {child}");
        let row = idle.wait("idle")?;
        assert_eq!(
            (&row["status"], &row["last_turn"]["outcome"]),
            (&json!("suspended"), &json!("completed"))
        );
        for session in [&running, &idle] {
            let mut watch = session.watch()?;
            watch.status("suspended")?;
            ensure!(!watch.statuses().contains(&"failed".to_owned()), "{:?}", watch.statuses());
        }
        Ok(())
    })
}

#[test]
fn o43_an_agent_whose_journal_was_cut_or_removed_is_ended_and_what_it_did_is_unknown() -> Fallible {
    for damage in ["removed", "emptied", "cut", "shortened"] {
        with_daemon(SHORT, |home| {
            home.expect_error("the journal cannot be read");
            let session = home.session(&Spec::kept())?;
            assert_eq!(session.ask("SAY before")?["outcome"], "completed");
            session.prompt(&format!("WAITFILE {}", home.path("never").display()))?;
            session.watch()?.until("text", |frame| frame.name == "live")?;
            let pid = session.pid()?;
            home.kill_daemon()?;
            let journal = home.data().join("sessions").join(&session.id).join("a1/journal");
            match damage {
                "removed" => std::fs::remove_file(&journal)?,
                "emptied" => drop(std::fs::File::create(&journal)?),
                "cut" => std::fs::File::options().write(true).open(&journal)?.set_len(100)?,
                _ => {
                    let journal = std::fs::File::options().write(true).open(&journal)?;
                    journal.set_len(journal.metadata()?.len() - 10)?;
                }
            }
            home.start()?;
            let mut watch = session.watch()?;
            watch.status("unknown")?;
            watch.status("suspended")?;
            ensure!(!is_running(pid), "the agent {pid} is left");
            let after: Vec<String> =
                watch.statuses().into_iter().skip_while(|status| status != "unknown").collect();
            assert_eq!(after, ["unknown", "suspended"]);
            assert_eq!(session.row()?["last_turn"]["outcome"], "unknown");
            assert_eq!(session.ask("SAY after")?["outcome"], "completed");
            assert_eq!(session.messages()?, ["before", "after"]);
            Ok(())
        })
        .map_err(|failure| failure.within(damage))?;
    }
    Ok(())
}

#[test]
fn o12_an_agent_whose_holder_nobody_can_reach_is_ended_and_settled() -> Fallible {
    with_daemon(SHORT, |home| {
        home.expect_error("the socket of a holder was removed");
        let session = home.session(&Spec::kept())?;
        assert_eq!(session.ask("SAY before")?["outcome"], "completed");
        let pid = session.pid()?;
        home.kill_daemon()?;
        std::fs::remove_file(home.data().join("sessions").join(&session.id).join("a1/sock"))?;
        home.start()?;
        let mut watch = session.watch()?;
        watch.status("unknown")?;
        watch.status("suspended")?;
        ensure!(!is_running(pid), "the agent {pid} is left");
        assert_eq!(session.row()?["exit"]["signal"], 9, "the holder recorded the end");
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn o44_a_daemon_whose_socket_was_removed_is_told_with_what_to_do() -> Fallible {
    with_daemon("", |home| {
        // It has its socket for good once it answers.
        home.api().get("/v1/status")?;
        std::fs::remove_file(home.socket())?;
        let second = home.daemon_command().stdin(Stdio::null()).output()?;
        assert_eq!(second.status.code(), Some(3));
        let said = String::from_utf8_lossy(&second.stderr);
        ensure!(said.contains(&format!("`kill {}` ends it", home.daemon_pid())), "{said}");
        Ok(())
    })
}

#[test]
fn o44_a_second_daemon_refuses_and_the_first_goes_on() -> Fallible {
    with_daemon(SHORT, |home| {
        let output = home.daemon_command().stdin(Stdio::null()).output()?;
        ensure!(!output.status.success(), "a second daemon ran");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(said.contains("already") && said.contains(&home.daemon_pid().to_string()), "{said}");
        assert_eq!(home.api().get("/v1/status")?["pid"], home.daemon_pid());
        Ok(())
    })
}

#[test]
fn o44_of_many_daemons_started_at_once_exactly_one_runs_also_after_a_kill() -> Fallible {
    with_home(|home| {
        for _ in 0..3 {
            let mut started: Vec<_> = (0..5)
                .map(|_| {
                    let mut command = home.daemon_command();
                    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
                })
                .collect::<Result<_, _>>()?;
            let ended = |started: &mut Vec<std::process::Child>| {
                started.retain_mut(|child| !child.try_wait().is_ok_and(|status| status.is_some()));
                started.len()
            };
            wait_until("one daemon that is left and listens", || {
                ended(&mut started) == 1 && UnixStream::connect(home.socket()).is_ok()
            })?;
            assert_eq!(home.api().get("/v1/status")?["pid"], started[0].id());
            started[0].kill()?;
            started[0].wait()?;
        }
        Ok(())
    })
}

#[test]
fn o44_a_lock_that_outlives_its_dead_daemon_for_an_instant_is_waited_for() -> Fallible {
    // A child of a killed daemon has its open files until it executes its own program.
    with_home(|home| {
        let path = home.data().join("daemon.lock");
        let mut gone = home.daemon_command().env("LK_HOME", "relative").stderr(Stdio::null()).spawn()?;
        let pid = gone.id();
        gone.wait()?;
        std::fs::write(&path, format!("{pid}\n"))?;
        let lock = std::fs::File::open(&path)?;
        lock.lock()?;
        let mut daemon = home.daemon_command().stdin(Stdio::null()).spawn()?;
        let opened = wait_until("a daemon before the lock", || {
            let files = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).into_iter().flatten();
            files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == path))
                || daemon.try_wait().is_ok_and(|end| end.is_some())
        });
        drop(lock);
        let listens = opened.and_then(|()| {
            wait_until("a daemon that listens", || {
                UnixStream::connect(home.socket()).is_ok() || daemon.try_wait().is_ok_and(|end| end.is_some())
            })
        });
        let ended = daemon.try_wait()?;
        daemon.kill()?;
        daemon.wait()?;
        listens?;
        ensure!(ended.is_none(), "it ended with {ended:?}");
        Ok(())
    })
}

#[test]
fn o44_a_lock_that_nobody_has_stops_no_daemon_though_the_number_in_it_is_that_of_a_process_that_runs()
-> Fallible {
    with_home(|home| {
        let lock = home.data().join("daemon.lock");
        // As when the number of a daemon that was killed was given out again. This test is the stranger.
        std::fs::write(&lock, format!("{}\n", std::process::id()))?;
        home.start()?;
        assert_eq!(home.api().get("/v1/status")?["pid"], home.daemon_pid());
        assert_eq!(std::fs::read_to_string(&lock)?.trim(), home.daemon_pid().to_string());
        Ok(())
    })
}

#[test]
fn o44_a_daemon_with_other_data_does_not_take_the_socket_of_one_that_runs() -> Fallible {
    with_daemon(SHORT, |home| {
        let runtime = home.path("r");
        std::fs::create_dir(&runtime)?;
        std::os::unix::fs::symlink(home.data(), runtime.join("lockkeeper"))?;
        let mut other = home.daemon_command();
        other.env_remove("LK_HOME").env("HOME", home.path("x")).env("XDG_RUNTIME_DIR", &runtime);
        other.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        let mut other = other.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let ended = wait_until("its end", || other.try_wait().is_ok_and(|end| end.is_some()));
        other.kill()?;
        let output = other.wait_with_output()?;
        ended?;
        ensure!(!output.status.success(), "it ran");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let pid = home.daemon_pid().to_string();
        ensure!(said.contains("lk.sock") && said.contains(&pid) && said.contains("LK_HOME"), "{said}");
        assert_eq!(home.api().get("/v1/status")?["pid"], home.daemon_pid());
        Ok(())
    })
}

#[test]
fn what_a_killed_daemon_left_of_sessions_that_are_gone_is_cleared_and_nothing_else() -> Fallible {
    with_daemon(SHORT, |home| {
        let removed = home.session(&Spec::one_shot().prompt("SAY x"))?;
        removed.wait("end")?;
        let kept = home.session(&Spec::one_shot().prompt("SAY x"))?;
        kept.wait("end")?;
        let copy = std::fs::read(home.data().join("sessions").join(&removed.id).join("a1/journal"))?;
        home.api().send("DELETE", &removed.path(""), &[], None)?;
        home.kill_daemon()?;
        let dir = |name: &str| home.data().join("sessions").join(name);
        // Removed from the store, and killed before the files were; never made; and not of this store.
        for name in [&removed.id, "00000000000m", "00000000000s"] {
            std::fs::create_dir_all(dir(name))?;
            std::fs::write(dir(name).join("environment"), "A=b")?;
        }
        for name in [&removed.id, "00000000000s"] {
            std::fs::create_dir(dir(name).join("a1"))?;
            std::fs::write(dir(name).join("a1/journal"), &copy)?;
        }
        home.start()?;
        wait_until("two directories that are cleared", || {
            !dir(&removed.id).exists() && !dir("00000000000m").exists()
        })?;
        wait_until("a word about the third", || home.log().contains("\"session\":\"00000000000s\""))?;
        ensure!(
            dir("00000000000s").join("a1/journal").exists(),
            "the journal of another store's session is gone"
        );
        ensure!(dir(&kept.id).join("a1/journal").exists(), "the journal of a session is gone");
        Ok(())
    })
}

#[test]
fn o15_a_daemon_ends_in_order_also_while_clients_do_not_read_what_they_asked_for() -> Fallible {
    use std::io::Write as _;
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt("LINES 3000 0 3000 ;; EXIT 0"))?;
        session.watch()?.status("suspended")?;
        let mut idle = Vec::new();
        for path in ["/full", "/items", "/journal", "/events?after=start", "?wait=end"] {
            let mut stream = home.api().connect()?;
            let path = session.path(path);
            write!(stream, "GET {path} HTTP/1.1\r\nHost: lk\r\nAccept: text/event-stream\r\n\r\n")?;
            // The beginning of an answer, if there is to be one; the rest stays where it is.
            if !path.ends_with("wait=end") {
                std::io::Read::read_exact(&mut stream, &mut [0; 100])?;
            }
            idle.push(stream);
        }
        let mut half = home.api().connect()?;
        write!(half, "GET /v1/status HTTP/1.1\r\nHost")?;
        let status = home.stop_daemon()?;
        ensure!(status.success(), "{status}");
        ensure!(!home.log().contains("still has the store"), "{}", home.log());
        Ok(())
    })
}

#[test]
fn the_data_directory_and_all_in_it_are_closed_to_others() -> Fallible {
    use std::os::unix::fs::PermissionsExt as _;
    with_daemon(SHORT, |home| {
        let spec = Spec::kept().prompt("SAY x").env("SECRET_TOKEN", "s3cr3t-value");
        let session = home.session(&spec)?;
        session.wait("idle")?;
        let mut folders = vec![home.data()];
        let mut secret_in = Vec::new();
        while let Some(folder) = folders.pop() {
            let mode = std::fs::metadata(&folder)?.permissions().mode() & 0o777;
            ensure!(mode.is_multiple_of(0o100), "{} has mode {mode:o}", folder.display());
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                if meta.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                // The test wrote the configuration itself.
                let mode = meta.permissions().mode() & 0o777;
                ensure!(
                    mode.is_multiple_of(0o100) || entry.file_name() == "config.toml",
                    "{:?} has mode {mode:o}",
                    entry.path()
                );
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                if bytes.windows(12).any(|part| part == b"s3cr3t-value") {
                    secret_in.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        secret_in.sort();
        secret_in.dedup();
        ensure!(secret_in.iter().all(|name| name == "environment"), "the secret is in {secret_in:?}");
        let answers = home.api().get(&session.path("/full"))?.to_string();
        ensure!(!answers.contains("s3cr3t-value"), "an answer tells the secret");
        // The prompt is on no command line.
        for pid in [home.holder_of(&session.id)?, session.pid()?] {
            let line = std::fs::read(format!("/proc/{pid}/cmdline"))?;
            ensure!(!String::from_utf8_lossy(&line).contains("SAY x"), "the prompt is on a command line");
        }
        Ok(())
    })
}

#[test]
fn a_session_of_which_nothing_can_be_found_out_says_why_until_it_can() -> Fallible {
    with_daemon(SHORT, |home| {
        home.expect_error("the journal cannot be");
        let session = home.session(&Spec::kept())?;
        session.ask("SAY ready")?;
        home.kill_daemon()?;
        let attempt = home.data().join("sessions").join(&session.id).join("a1");
        let (journal, kept) = (attempt.join("journal"), attempt.join("kept"));
        fs::rename(&journal, &kept)?;
        fs::create_dir(&journal)?;
        home.start()?;
        let why = || home.api().get(&session.path("/why")).unwrap_or_default()["lines"].to_string();
        wait_until("a reason", || why().contains("which is tried again each second: "))?;
        assert_eq!(session.row()?["status"], "unknown");
        fs::remove_dir(&journal)?;
        fs::rename(&kept, &journal)?;
        assert_eq!(session.known()?["status"], "idle");
        ensure!(!why().contains("tried again"), "{}", why());
        Ok(())
    })
}
