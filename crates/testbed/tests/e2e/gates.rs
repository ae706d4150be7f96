//! Gates: opening, deciding, closing, and what the lists say meanwhile.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Fallible, Home, SHORT, Session, Spec, Stream, ensure, kill, wait_until, with_daemon};

fn asking<'a>(home: &'a Home, script: &str) -> Fallible<(Session<'a>, Stream)> {
    let session = home.session(&Spec::kept().prompt(script))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    Ok((session, watch))
}

/// Makes sure that the filter by status and the list of open gates name the same sessions.
fn lists_agree(home: &Home, open: &[&str]) -> Fallible {
    let api = home.api();
    for word in ["awaiting_input", "input_required", "waiting_input"] {
        let (mut rows, mut gates) = (Value::Null, Value::Null);
        wait_until("two lists of one moment", || {
            rows = api.get(&format!("/v1/sessions?status={word}")).unwrap_or_default();
            gates = api.get("/v1/gates").unwrap_or_default();
            !rows.is_null() && rows["cursor"] == gates["cursor"]
        })?;
        let ids = |list: &Value, field: &str| {
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let mut ids: Vec<String> =
                items.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect();
            ids.sort();
            ids
        };
        let mut wanted: Vec<&str> = open.to_vec();
        wanted.sort_unstable();
        assert_eq!(ids(&rows, "id"), wanted, "sessions with the status {word}");
        assert_eq!(ids(&gates, "session"), wanted, "open gates");
    }
    Ok(())
}

#[test]
fn o22_a_gate_its_status_and_its_row_are_one_transaction() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, watch) = asking(home, "ASK Bash {\"command\":\"rm -rf x\"}")?;
        let at = |kind: &str| watch.seen.iter().position(|frame| frame.is(kind));
        let opened = at("gate.opened").unwrap_or_default();
        let changed = &watch.seen[watch.seen.len() - 1];
        // Nothing can come between the events of one transaction, and the cause names the gate.
        assert_eq!(changed.event()["cause"]["kind"], "gate.opened");
        assert_eq!(changed.event()["cause"]["seq"], watch.seen[opened].data["seq"]);
        assert_eq!(changed.event()["from"], "running");
        // A reader that stops right behind the gate's event sees the row that belongs to it.
        let cursor = watch.seen[opened].id.clone().unwrap_or_default();
        let mut late = home.stream(&session.path(&format!("/events?after={cursor}")))?;
        let row = &late.seen[0].data["snapshot"]["sessions"][0];
        assert_eq!((&row["status"], &row["open_gates"]), (&json!("awaiting_input"), &json!(1)));
        assert_eq!(late.status("awaiting_input")?["from"], "running");
        lists_agree(home, &[&session.id])
    })
}

#[test]
fn o23_o24_the_filter_and_the_list_agree_on_every_path() -> Fallible {
    with_daemon(SHORT, |home| {
        lists_agree(home, &[])?;
        let (first, mut watch) = asking(home, "ASK")?;
        lists_agree(home, &[&first.id])?;
        let (second, _) = asking(home, "QUESTION")?;
        lists_agree(home, &[&first.id, &second.id])?;
        // After a restart.
        home.crash_and_start()?;
        watch.reconnect()?;
        lists_agree(home, &[&first.id, &second.id])?;
        first.allow()?;
        watch.status("idle")?;
        lists_agree(home, &[&second.id])?;
        // After a resume in another process.
        let pid = first.pid()?;
        kill(pid, Signal::KILL)?;
        watch.status("suspended")?;
        first.prompt("ASK")?;
        watch.status("awaiting_input")?;
        lists_agree(home, &[&first.id, &second.id])?;
        // In a turn that asks beside work in the background.
        first.allow()?;
        watch.status("idle")?;
        first.prompt(&format!("BACKGROUND {} ;; ASK", home.path("never").display()))?;
        watch.status("awaiting_input")?;
        lists_agree(home, &[&first.id, &second.id])?;
        second.act("stop")?;
        second.wait("end")?;
        lists_agree(home, &[&first.id])
    })
}

#[test]
fn o25_after_the_last_decision_the_session_goes_on_and_ends_as_without_the_gate() -> Fallible {
    with_daemon(SHORT, |home| {
        let file = home.workspace().join("made");
        let input = json!({"file_path": file.display().to_string(), "content": "hi"});
        let session = home.session(&Spec::one_shot().prompt(&format!("ASK Write {input} ;; SAY end")))?;
        let mut watch = session.watch()?;
        watch.status("awaiting_input")?;
        assert!(!file.exists());
        session.allow()?;
        watch.status("running")?;
        assert_eq!(session.wait("end")?["status"], "completed");
        assert_eq!(std::fs::read_to_string(&file)?, "hi");
        Ok(())
    })
}

#[test]
fn o26_a_gate_says_what_is_asked_by_whom_and_by_which_rule() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, watch) = asking(home, "ASK Bash {\"command\":\"ls -l\"}")?;
        let opened = watch.events("gate.opened").next().cloned().unwrap_or_default();
        let gate = &opened["gate"];
        assert_eq!(gate["ask"]["tool"], "Bash");
        assert_eq!(gate["ask"]["input"], json!({"command": "ls -l"}));
        assert_eq!((&gate["risk"], &gate["rule"]), (&json!("high"), &json!("agent")));
        let shown = &session.gates("open")?[0];
        ensure!(shown["deciders"].as_array().is_some_and(|who| who.contains(&json!("root"))), "{shown}");
        let listed = &session.gates("open")?[0];
        assert_eq!(listed["input"], json!({"command": "ls -l"}));
        assert_eq!(listed["session"], session.id);
        assert_eq!(listed["turn"], format!("{}.t1", session.id));
        assert_eq!(listed["input_hash"], gate["input_hash"]);
        Ok(())
    })
}

#[test]
fn o27_submitter_environment_and_labels_are_kept_and_full_tells_everything() -> Fallible {
    with_daemon(SHORT, |home| {
        let spec = Spec::kept()
            .with("submitter", "ci")
            .with("environment", "prod")
            .with("labels", json!({"team": "a", "x": "y"}))
            .prompt("ASK");
        let session = home.session(&spec)?;
        session.wait("input")?;
        let full = home.api().get(&session.path("/full"))?;
        let row = &full["session"];
        assert_eq!((&row["submitter"], &row["environment"]), (&json!("ci"), &json!("prod")));
        assert_eq!(row["labels"], json!({"team": "a", "x": "y"}));
        assert_eq!(full["gates"][0]["state"], "open");
        assert_eq!(full["turns"].as_array().map(Vec::len), Some(1));
        let events = full["events"].as_array().cloned().unwrap_or_default();
        assert_eq!(events.first().map(|event| event["kind"].clone()), Some(json!("session.created")));
        assert_eq!(events.last().map(|event| event["cursor"].clone()), Some(full["cursor"].clone()));
        for filter in ["label=team=a", "label=team,x=y", "status=awaiting_input"] {
            assert_eq!(
                home.api().get(&format!("/v1/sessions?{filter}"))?["items"][0]["id"],
                session.id,
                "{filter}"
            );
        }
        assert_eq!(home.api().get("/v1/sessions?label=team=b")?["items"], json!([]));
        Ok(())
    })
}

#[test]
fn two_gates_one_after_another_are_decided_one_by_one() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, "ASK2 Bash {\"command\":\"one\"} ;; SAY end")?;
        session.allow()?;
        watch.until("second gate", |frame| frame.is("gate.opened"))?;
        watch.status("awaiting_input")?;
        assert_eq!(session.row()?["open_gates"], 1);
        session.allow()?;
        watch.status("idle")?;
        assert_eq!(session.messages()?.last().map(String::as_str), Some("end"));
        let states: Vec<Value> = session.gates("all")?.iter().map(|gate| gate["state"].clone()).collect();
        assert_eq!(states, ["delivered", "delivered"]);
        // One decision does not open what still waits (hld W21): the status went back only in between.
        let tail: Vec<String> = watch.statuses().into_iter().skip_while(|s| s != "awaiting_input").collect();
        assert_eq!(tail, ["awaiting_input", "running", "awaiting_input", "running", "idle"]);
        Ok(())
    })
}

#[test]
fn every_decision_reaches_the_agent_as_it_was_made() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, "ASK Bash {\"command\":\"x\"}")?;
        let gate = format!("{}.g1", session.id);
        session.decide(&gate, &json!({"decision": "deny", "message": "not today"}))?.good()?;
        watch.status("idle")?;
        let items = session.list("items")?;
        let result = items.iter().find(|item| item["kind"] == "tool_result").cloned().unwrap_or_default();
        assert_eq!(result["outcome"], "denied", "{items:?}");
        ensure!(result["text"].to_string().contains("not today"), "{result}");

        let file = home.workspace().join("edited");
        let path = file.display().to_string();
        let (session, mut watch) =
            asking(home, &format!("ASK Write {}", json!({"file_path": path, "content": "a"})))?;
        let edited = json!({"file_path": path, "content": "b"});
        let gate = format!("{}.g1", session.id);
        session.decide(&gate, &json!({"decision": "edit", "input": edited}))?.good()?;
        watch.status("idle")?;
        assert_eq!(std::fs::read_to_string(&file)?, "b");

        let (session, mut watch) = asking(home, "QUESTION")?;
        let gate = format!("{}.g1", session.id);
        session.decide(&gate, &json!({"decision": "answer", "answers": {"Which?": "B"}}))?.good()?;
        watch.status("idle")?;
        let items = session.list("items")?;
        let told = |item: &Value| item["text"].as_str().is_some_and(|text| text.contains(r#""Which?"="B""#));
        ensure!(items.iter().any(told), "{items:?}");
        Ok(())
    })
}

#[test]
fn a_decision_counts_once_and_binds_to_the_input_that_was_seen() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, "ASK Bash {\"command\":\"x\"} ;; HANG")?;
        let gate = format!("{}.g1", session.id);
        let allow = json!({"decision": "allow"});
        let other = json!({"decision": "allow", "input_hash": "0000"});
        session.decide(&gate, &other)?.is_problem(409, "gate_input_changed")?;
        session
            .decide(&gate, &json!({"decision": "answer", "answers": {}}))?
            .is_problem(422, "decision_mismatch")?;
        let hash = session.gates("open")?[0]["input_hash"].clone();
        session.decide(&gate, &json!({"decision": "allow", "input_hash": hash}))?.good()?;
        watch.event("gate.delivered")?;
        session.decide(&gate, &allow)?.is_problem(409, "gate_decided")?;
        session
            .decide(&gate, &json!({"decision": "deny", "message": "no"}))?
            .is_problem(409, "gate_decided")?;
        let answers = session.lines("stdin", 1)?;
        let answers = answers.iter().filter(|line| line["type"] == "control_response").count();
        assert_eq!(answers, 1, "the answer is written once");
        Ok(())
    })
}

#[test]
fn a_decision_is_delivered_once_though_the_daemon_is_killed_before() -> Fallible {
    with_daemon(SHORT, |home| {
        let (session, mut watch) = asking(home, "ASK Bash {\"command\":\"x\"} ;; SAY end")?;
        // The holder stands still, so the answer cannot be on its way when the daemon is killed.
        let holder = home.holder_of(&session.id)?;
        kill(holder, Signal::STOP)?;
        session.allow()?;
        watch.event("gate.decided")?;
        home.kill_daemon()?;
        kill(holder, Signal::CONT)?;
        home.start()?;
        watch.reconnect()?;
        watch.event("gate.delivered")?;
        watch.status("idle")?;
        let answers = session.lines("stdin", 1)?;
        assert_eq!(answers.iter().filter(|line| line["type"] == "control_response").count(), 1);
        assert_eq!(session.gates("all")?[0]["state"], "delivered");
        assert_eq!(session.messages()?.last().map(String::as_str), Some("end"));
        Ok(())
    })
}

#[test]
fn interrupt_stop_and_death_withdraw_open_gates_and_late_decisions_revive_nothing() -> Fallible {
    with_daemon(SHORT, |home| {
        for (act, why, status) in [
            ("interrupt", "interrupted", "idle"),
            ("stop", "stopped", "stopped"),
            ("kill", "stopped", "stopped"),
            ("death", "process_gone", "suspended"),
        ] {
            let (session, mut watch) = asking(home, "ASK Bash {\"command\":\"x\"}")?;
            if act == "death" {
                kill(session.pid()?, Signal::KILL)?;
            } else {
                session.act(act)?;
            }
            assert_eq!(watch.event("gate.withdrawn")?["why"], why, "{act}");
            watch.status(status)?;
            let gate = format!("{}.g1", session.id);
            let before = watch.cursor.clone();
            session.decide(&gate, &json!({"decision": "allow"}))?.is_problem(409, "gate_not_open")?;
            assert_eq!(session.row()?["status"], status, "{act}");
            assert_eq!(
                home.api().get(&session.path("/full"))?["cursor"].as_str(),
                before.as_deref(),
                "{act}"
            );
            lists_agree(home, &[])?;
        }
        Ok(())
    })
}

#[test]
fn o28_o29_a_gate_survives_restarts_and_is_decided_without_a_watcher() -> Fallible {
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::one_shot().prompt("ASK Bash {\"command\":\"x\"} ;; SAY end"))?;
        let mut watch = session.watch()?;
        watch.status("awaiting_input")?;
        for _ in 0..3 {
            home.crash_and_start()?;
            watch.reconnect()?;
            watch.status("unknown")?;
            watch.status("awaiting_input")?;
            assert_eq!(session.row()?["open_gates"], 1);
        }
        session.allow()?;
        assert_eq!(session.wait("end")?["status"], "completed");
        // Every time it said first that it did not know, and then that it waits; never that it had ended.
        watch.status("completed")?;
        let statuses = watch.statuses();
        assert_eq!(statuses.iter().filter(|status| *status == "unknown").count(), 3, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| *status == "awaiting_input").count(), 4, "{statuses:?}");
        Ok(())
    })
}

#[test]
fn a_long_list_of_gates_is_told_to_its_end_the_newest_first() -> Fallible {
    const GATES: usize = 70;
    with_daemon(SHORT, |home| {
        let session = home.session(&Spec::kept().prompt(&vec!["ASK"; GATES].join(" ;; ")))?;
        let mut watch = session.watch()?;
        for _ in 0..GATES {
            watch.event("gate.opened")?;
            session.allow()?;
        }
        watch.event("turn.ended")?;
        let listed: Vec<Value> = session.gates("all")?.iter().map(|gate| gate["id"].clone()).collect();
        let wanted: Vec<Value> = (1..=GATES).rev().map(|no| json!(format!("{}.g{no}", session.id))).collect();
        assert_eq!(listed, wanted);
        let full = home.api().get(&session.path("/full"))?;
        let gates: Vec<Value> =
            full["gates"].as_array().into_iter().flatten().rev().map(|gate| gate["id"].clone()).collect();
        assert_eq!(gates, wanted);
        Ok(())
    })
}

#[test]
fn a_tool_with_ten_megabytes_of_input_is_asked_about_like_any_other() -> Fallible {
    with_daemon(SHORT, |home| {
        let command = "x".repeat(10_000_000);
        let (session, mut watch) =
            asking(home, &format!("ASK Bash {} ;; SAY end", json!({"command": command})))?;
        let gate = session.gates("open")?.remove(0);
        ensure!(gate["input"]["command"] == command, "the input is another");
        let other = json!({"decision": "edit", "input": {"command": "true"}});
        session.decide(&format!("{}.g1", session.id), &other)?.good()?;
        watch.status("idle")?;
        Ok(())
    })
}
