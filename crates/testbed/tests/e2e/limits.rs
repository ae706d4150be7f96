//! Sizes, places and configurations at their limits.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Fallible, SHORT, Spec, ensure, kill, memory_kb, wait_until, with_daemon, with_home};

#[test]
fn o34_prompts_of_megabytes_and_interrupts_never_interleave() -> Fallible {
    with_daemon("[deadlines]\nwrite_ms = 60000\nrung_ms = 60000\n", |home| {
        let session = home.session(&Spec::kept().prompt("SAY ready"))?;
        let mut watch =
            home.stream(&session.path("/events?after=start&kind=outbox.*,turn.*,session.status_changed"))?;
        watch.status("idle")?;
        let pid = session.pid()?;
        let big = format!("{}\nLINES 100000 1", "y".repeat(3 << 20));
        for _ in 0..2 {
            // The agent stands still, so that the interrupt comes while the prompt's bytes are still being written.
            kill(pid, Signal::STOP)?;
            session.prompt(&big)?;
            let prompt = watch.event("outbox.accepted")?["number"].clone();
            session.act("interrupt")?;
            let interrupt = watch.event("outbox.accepted")?["number"].clone();
            kill(pid, Signal::CONT)?;
            assert_eq!(watch.event("outbox.written")?["number"], prompt);
            assert_eq!(watch.event("outbox.written")?["number"], interrupt);
            watch.event("turn.ended")?;
            watch.status("idle")?;
        }
        let stdin = session.journal("stdin", 1)?;
        let (mut prompts, mut interrupts) = (0, 0);
        for line in stdin.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let value: serde_json::Value = serde_json::from_slice(line)?;
            prompts += usize::from(value["type"] == "user");
            interrupts += usize::from(value["request"]["subtype"] == "interrupt");
        }
        assert_eq!((prompts, interrupts), (3, 2));
        assert_eq!(session.list("attempts")?.len(), 1, "the agent understood every line");
        assert_eq!(session.ask("SAY after")?["outcome"], "completed");
        Ok(())
    })
}

#[test]
fn a_prompt_may_have_ten_megabytes_and_not_more() -> Fallible {
    with_daemon("[deadlines]\nwrite_ms = 60000\n", |home| {
        let session = home.session(&Spec::kept())?;
        let fits = format!("{}\nSAY got it", "z".repeat((10 << 20) - 11));
        assert_eq!(fits.len(), 10 << 20);
        assert_eq!(session.ask(&fits)?["outcome"], "completed");
        assert_eq!(session.messages()?, ["got it"]);
        let body = json!({"text": format!("{fits}!"), "class": "normal"});
        home.api().json("POST", &session.path("/prompts"), &body)?.is_problem(422, "prompt_too_long")?;
        Ok(())
    })
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_refused_with_advice() -> Fallible {
    with_home(|home| {
        let long = home.path(&"d".repeat(120));
        std::fs::create_dir(&long)?;
        let mut command = home.daemon_command();
        let output = command.env("LK_HOME", &long).stdin(Stdio::null()).output()?;
        ensure!(!output.status.success(), "it ran");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        ensure!(said.contains("LK_HOME") && said.contains("107"), "{said}");
        assert_eq!(std::fs::read_dir(&long)?.count(), 0, "nothing was made");
        Ok(())
    })
}

#[test]
fn a_data_directory_whose_holders_sockets_are_deep_works_at_the_longest_path() -> Fallible {
    with_home(|home| {
        // Holders listen deeper than the daemon: `sessions/ID/aN/…`. What the daemon accepts they must accept.
        let room = 107 - "/lk.sock".len() - home.path("").as_os_str().len();
        let deep = home.path(&"d".repeat(room));
        std::fs::create_dir(&deep)?;
        let mut command = home.daemon_command();
        command.env("LK_HOME", &deep);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut child = child;
        let api = crate::support::Api::new(&deep.join("lk.sock"));
        let works = (|| {
            crate::support::wait_until("a daemon that listens", || api.connect().is_ok())?;
            let made = api.post("/v1/sessions", &Spec::one_shot().prompt("SAY deep").body(home))?;
            let id = made["session"]["id"].as_str().unwrap_or_default().to_owned();
            let row = api.get(&format!("/v1/sessions/{id}?wait=end&timeout=30000"))?;
            ensure!(row["status"] == "completed", "{row}");
            Ok(())
        })();
        child.kill()?;
        child.wait()?;
        works
    })
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() -> Fallible {
    with_home(|home| {
        for (text, part) in [
            ("[deadlines]\nrung = 5\n", "rung"),
            ("[deadlines]\nrung_ms = \"soon\"\n", "rung_ms"),
            ("[deadlines]\ngate_ms = 0\n", "gate_ms"),
            ("nonsense", "config.toml"),
            ("[agents.nobody.deadlines]\nrung_ms = 5\n", "nobody"),
            ("[slots]\nall = 0\n", "slots.all is 0"),
            ("[slots]\nsome = 1\n", "unknown field"),
            ("[slots]\nmemory_floor_mb = 0\n", "slots.memory_floor_mb is 0"),
            ("[slots]\nmemory_floor_mb = -1\n", "memory_floor_mb"),
            ("[slots]\nmemory_floor_mb = \"1 GB\"\n", "memory_floor_mb"),
            ("[slots.agents]\nnobody = 1\n", "nobody"),
            ("[slots.agents]\nclaude = 0\n", "slots.agents.claude is 0"),
            ("[slots.labels]\nweb = 1\n", "not KEY=VALUE"),
            ("[callers]\nagents = \"high\"\n", "`background`, `normal`, `urgent`"),
            ("[callers]\nall = \"normal\"\n", "unknown field"),
            ("[callers.named]\nci = 1\n", "ci = 1"),
            ("[callers.named]\n\"a b\" = \"normal\"\n", "\"a b\" is not a valid name of a caller"),
        ] {
            std::fs::write(home.data().join("config.toml"), text)?;
            let output = home.daemon_command().stdin(Stdio::null()).output()?;
            ensure!(!output.status.success(), "it ran with {text:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(said.contains(part) && said.contains("config.toml"), "{said}");
        }
        Ok(())
    })
}

#[test]
fn a_hundred_sessions_that_sleep_cost_little() -> Fallible {
    with_daemon(SHORT, |home| {
        let before = memory_kb(home.daemon_pid())?;
        for _ in 0..100 {
            home.session(&Spec::kept())?;
        }
        home.api().get("/v1/sessions")?;
        let grown = memory_kb(home.daemon_pid())?.saturating_sub(before);
        ensure!(grown < 50_000, "{grown} kB for 100 sessions without a process");
        Ok(())
    })
}

#[test]
fn a_crowd_of_connections_is_told_so_and_the_daemon_serves_again_when_it_is_gone() -> Fallible {
    use std::io::Write as _;
    with_daemon(SHORT, |home| {
        let api = home.api();
        let session = home.session(&Spec::kept())?;
        // Those who ask nothing, who wait, and who watch.
        let path = [session.path("?wait=end"), session.path("/events")];
        let asks =
            path.map(|path| format!("GET {path} HTTP/1.1\r\nHost: lk\r\nAccept: text/event-stream\r\n\r\n"));
        let mut crowd = (0..512).map(|_| api.connect()).collect::<Fallible<Vec<_>>>()?;
        for (stream, ask) in crowd.iter_mut().zip(asks.iter().cycle()).take(256) {
            stream.write_all(ask.as_bytes())?;
        }
        let refused = || api.send("GET", "/v1/status", &[], None);
        refused()?.is_problem(429, "busy")?;
        drop(crowd);
        wait_until("an answer", || refused().is_ok_and(|answer| answer.status == 200))?;
        let again = (0..500).map(|_| api.connect()).collect::<Fallible<Vec<_>>>()?;
        wait_until("room for all", || refused().is_ok_and(|answer| answer.status == 200))?;
        drop(again);
        Ok(())
    })
}
