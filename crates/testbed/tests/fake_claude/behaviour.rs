//! What the scripted Claude does, as far as the tests of the product rely on it.

use crate::support::{BOTH, Home, Outcome, hooked, session_file, wait_until, wait_until_contains};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::ExitStatusExt;

const ONE: &str = "11111111-1111-4111-8111-111111111111";
const TWO: &str = "22222222-2222-4222-8222-222222222222";
const THREE: &str = "33333333-3333-4333-8333-333333333333";

fn interrupt() -> Value {
    json!({"subtype": "interrupt"})
}

/// Returns the pid that a message about a child names.
fn child_of(line: &Value) -> Option<String> {
    line["message"]["content"][0]["text"].as_str()?.strip_prefix("child ").map(str::to_owned)
}

fn lifecycle(lines: &[Value], uuid: &str) -> Vec<String> {
    let of_uuid = lines.iter().filter(|line| line["command_uuid"] == uuid);
    of_uuid.filter_map(|line| line["state"].as_str().map(str::to_owned)).collect()
}

#[test]
fn it_names_its_version_as_the_real_one_does() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let output = home.command(version, &["--version"], &[]).output()?;
        assert_eq!(String::from_utf8(output.stdout)?, format!("{version} (Claude Code)\n"));
    }
    Ok(())
}

#[test]
fn bad_flags_and_bad_input_are_fatal() -> Outcome {
    let home = Home::new()?;
    let refused = [
        (vec!["--no-such-flag"], "error: unknown option '--no-such-flag'\n"),
        (vec!["--session-id", "nope"], "Error: Invalid session ID. Must be a valid UUID.\n"),
        (vec!["--model"], "error: option '--model <model>' argument missing\n"),
    ];
    for (flags, text) in refused {
        let (status, stderr) = home.start("2.1.329", &flags)?.0.wait()?;
        assert_eq!((status.code(), stderr.as_str()), (Some(1), text));
    }
    for line in ["{\"type\":\"user\", oops", "{\"type\":\"user\"}", "{\"type\":\"control_request\"}"] {
        let mut fake = home.start("2.1.329", &[])?;
        fake.0.send_raw(format!("{line}\n").as_bytes())?;
        assert_eq!(fake.0.wait()?.0.code(), Some(1), "{line}");
    }
    Ok(())
}

#[test]
fn the_exit_code_after_the_end_of_stdin_is_that_of_the_last_result() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        for (prompt, code) in [("SAY fine", 0), ("ERROR 400 bad", 1), ("LOGIN", 1), ("SLOW 5 5", 0)] {
            let mut fake = home.start(version, &[])?;
            fake.prompt(prompt)?;
            assert_eq!(fake.finish()?, Some(code), "{prompt}");
            assert!(fake.0.seen.iter().any(|line| line["type"] == "result"), "{prompt}");
        }
    }
    Ok(())
}

#[test]
fn an_interrupt_ends_the_turn_and_the_next_one_works() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        for (prompt, reason) in
            [("HANG", "aborted_streaming"), ("ASK", "aborted_tools"), ("RUN /no/such", "aborted_tools")]
        {
            fake.prompt(prompt)?;
            fake.0.until(|line| line["status"] == "requesting")?;
            fake.request("i", &interrupt())?;
            let result = fake.result()?;
            assert_eq!(result["terminal_reason"], reason, "{version} {prompt}");
            assert_eq!(result["subtype"], "error_during_execution");
        }
        assert_eq!(fake.ask("idle", &interrupt())?["subtype"], "success");
        fake.prompt("SAY still here")?;
        assert_eq!(fake.result()?["result"], "still here");
        assert_eq!(fake.finish()?, Some(0));
    }
    Ok(())
}

#[test]
fn a_command_is_run_in_the_agents_tree_and_dies_with_an_interrupt() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        fake.prompt("SHELL echo out; echo err >&2; exit 3")?;
        assert_eq!(fake.result()?["result"], "running exit 3: out\nerr");
        let pid = home.path(&format!("pid-{version}"));
        fake.prompt(&format!("SHELL sleep 1000 & echo $! > {pid}; wait"))?;
        fake.until_delta()?;
        wait_until(|| Ok(fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))))?;
        fake.request("i", &interrupt())?;
        assert_eq!(fake.result()?["terminal_reason"], "aborted_streaming");
        let sleeper = format!("/proc/{}/cmdline", fs::read_to_string(&pid)?.trim());
        wait_until(|| Ok(fs::read(&sleeper).unwrap_or_default().is_empty()))?;
    }
    Ok(())
}

#[test]
fn the_newer_one_follows_every_prompt_with_a_uuid() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt_as(ONE, "WAITFILE /no/such")?;
    fake.until_delta()?;
    fake.prompt_as(TWO, "SAY two")?;
    fake.0.until(|line| line["command_uuid"] == TWO)?;
    assert_eq!(fake.ask("i1", &interrupt())?["response"], json!({"still_queued": [TWO]}));
    assert_eq!(fake.result()?["user_message_uuids"], json!([ONE]));
    assert_eq!(fake.result()?["user_message_uuids"], json!([TWO]));
    fake.prompt_as(THREE, "HANG")?;
    fake.0.until(|line| line["status"] == "requesting")?;
    let both = json!({"subtype": "interrupt", "cancel_queued": true});
    assert_eq!(fake.ask("i2", &both)?["response"], json!({"still_queued": [], "cancelled": []}));
    assert_eq!(fake.finish()?, Some(1));
    assert_eq!(lifecycle(&fake.0.seen, ONE), ["queued", "started", "cancelled"]);
    assert_eq!(lifecycle(&fake.0.seen, TWO), ["queued", "started", "completed"]);
    Ok(())
}

#[test]
fn a_queued_prompt_can_be_taken_back() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        fake.prompt_as(ONE, "WAITFILE /no/such")?;
        fake.until_delta()?;
        fake.prompt_as(TWO, "SAY two")?;
        let cancel = json!({"subtype": "cancel_async_message", "message_uuid": TWO});
        assert_eq!(fake.ask("c1", &cancel)?["response"]["cancelled"], true);
        assert_eq!(fake.ask("c2", &cancel)?["response"]["cancelled"], false);
    }
    Ok(())
}

#[test]
fn an_allowed_write_writes_what_the_answer_says() -> Outcome {
    let home = Home::new()?;
    let file = home.path("written");
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt(&format!("ASK Write {} ;; SAY end", json!({"file_path": file, "content": "asked"})))?;
    let gate = fake.gate()?;
    let edited = json!({"file_path": file, "content": "edited"});
    fake.answer(&gate, &json!({"behavior": "allow", "updatedInput": edited}))?;
    assert_eq!(fake.result()?["result"], "end");
    assert_eq!(fs::read_to_string(file)?, "edited");
    Ok(())
}

#[test]
fn two_gates_are_asked_one_after_the_other() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.prompt("ASK2")?;
    let first = fake.gate()?;
    fake.answer(&first, &json!({"behavior": "deny", "message": "no"}))?;
    let second = fake.gate()?;
    assert_ne!(first["request_id"], second["request_id"]);
    fake.answer(&second, &json!({"behavior": "deny", "message": "no", "interrupt": true}))?;
    let result = fake.result()?;
    assert_eq!(result["terminal_reason"], "aborted_tools");
    assert_eq!(result["permission_denials"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[test]
fn many_calls_are_asked_about_at_once_and_each_is_over_once_it_is_answered() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        fake.ask("init", &hooked())?;
        fake.prompt("ASKS 3 Bash {\"command\":\"x\"} ;; SAY end")?;
        let mut gates = Vec::new();
        for _ in 0..3 {
            let announced = fake.announced()?;
            fake.answer(&announced, &json!({}))?;
            gates.push(fake.gate()?);
        }
        // The last one is answered first.
        for gate in gates.iter().rev() {
            let answer = json!({"behavior": "allow", "updatedInput": {"command": "x"}});
            fake.answer(gate, &answer)?;
            let result = fake.0.until_type("user")?;
            assert_eq!(result["message"]["content"][0]["tool_use_id"], gate["request"]["tool_use_id"]);
        }
        assert_eq!(fake.result()?["result"], "end");
    }
    Ok(())
}

#[test]
fn an_interrupt_takes_back_all_that_was_asked_at_once_and_so_does_an_answer_that_says_so() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    for by_request in [true, false] {
        fake.prompt("ASKS 3")?;
        let first = fake.gate()?;
        fake.gate()?;
        let last = fake.gate()?;
        let answered = if by_request {
            fake.request("i", &interrupt())?;
            0
        } else {
            fake.answer(&last, &json!({"behavior": "deny", "message": "no", "interrupt": true}))?;
            1
        };
        let from = fake.0.seen.len();
        let result = fake.result()?;
        assert_eq!(result["terminal_reason"], "aborted_tools");
        assert_eq!(result["permission_denials"].as_array().map(Vec::len), Some(3));
        let withdrawn = |line: &&Value| line["type"] == "control_cancel_request";
        let withdrawn: Vec<&Value> = fake.0.seen[from..].iter().filter(withdrawn).collect();
        assert_eq!(withdrawn.len(), 3 - answered);
        assert_eq!(withdrawn[0]["request_id"], first["request_id"]);
    }
    Ok(())
}

#[test]
fn an_open_gate_survives_a_second_handshake_but_not_the_end_of_stdin() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        fake.prompt("ASK ;; SAY end")?;
        let gate = fake.gate()?;
        let again = fake.ask("again", &json!({"subtype": "initialize"}))?;
        assert_eq!(again["pending_permission_requests"], json!([gate]));
        assert_eq!(fake.finish()?, Some(0));
        let denied = fake.0.seen.iter().any(|line| {
            let text = line["message"]["content"][0]["content"].as_str().unwrap_or_default();
            text.ends_with("Tool permission stream closed before response received")
        });
        assert!(denied, "{version}");
    }
    Ok(())
}

#[test]
fn where_a_hook_is_declared_every_tool_is_announced_and_does_as_the_hook_says() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        fake.ask("c1", &hooked())?;
        let made = home.path(&format!("made-{version}"));
        let write = |content: &str| json!({"file_path": made, "content": content});
        // Nothing is said: it is asked about as ever, or runs.
        fake.prompt(&format!("TOOL Write {} ;; ASK Write {} ;; SAY end", write("free"), write("asked")))?;
        let announced = fake.announced()?;
        assert_eq!(announced["request"]["callback_id"], "lk");
        assert_eq!(announced["request"]["input"]["tool_input"], write("free"));
        assert!(!fs::exists(&made)?);
        fake.answer(&announced, &json!({}))?;
        let announced = fake.announced()?;
        assert_eq!(fs::read_to_string(&made)?, "free");
        fake.answer(&announced, &json!({}))?;
        let gate = fake.gate()?;
        assert_eq!(gate["request"]["subtype"], "can_use_tool");
        fake.answer(&gate, &json!({"behavior": "allow", "updatedInput": write("asked")}))?;
        fake.result()?;
        assert_eq!(fs::read_to_string(&made)?, "asked");
        // Allowed with another input: it runs, and nobody is asked.
        fake.prompt(&format!("ASK Write {} ;; SAY end", write("x")))?;
        let announced = fake.announced()?;
        fake.decide(&announced, "allow", &json!({"updatedInput": write("edited")}))?;
        fake.result()?;
        assert_eq!(fs::read_to_string(&made)?, "edited");
        // A question is asked all the same.
        fake.prompt("QUESTION")?;
        let announced = fake.announced()?;
        fake.decide(&announced, "allow", &json!({}))?;
        let gate = fake.gate()?;
        assert_eq!(gate["request"]["tool_name"], "AskUserQuestion");
        fake.answer(&gate, &json!({"behavior": "deny", "message": "no"}))?;
        fake.result()?;
        // What takes its time and what runs in the background is announced too.
        for script in ["RUN /no/such", "BACKGROUND /no/such", "SUBAGENT /no/such"] {
            fake.prompt(script)?;
            let announced = fake.announced()?;
            fake.decide(&announced, "deny", &json!({"permissionDecisionReason": "no"}))?;
            let result = fake.result()?;
            assert_eq!(result["permission_denials"].as_array().map(Vec::len), Some(1), "{version} {script}");
        }
        assert!(!fake.0.seen.iter().any(|line| line["subtype"] == "task_started"), "{version}");
        assert_eq!(fake.finish()?, Some(0));
    }
    Ok(())
}

#[test]
fn the_end_of_stdin_lets_go_what_the_older_one_announced_and_not_what_the_newer_one_did() -> Outcome {
    let home = Home::new()?;
    for (version, runs) in [("2.1.197", true), ("2.1.329", false)] {
        let mut fake = home.start(version, &["--dangerously-skip-permissions"])?;
        fake.ask("c1", &hooked())?;
        let made = |name: &str| home.path(&format!("{name}-{version}"));
        let write = |name: &str| json!({"file_path": made(name), "content": "x"});
        fake.prompt(&format!("TOOL Write {} ;; TOOL Write {}", write("pending"), write("later")))?;
        fake.announced()?;
        assert_eq!(fake.finish()?, Some(0));
        assert_eq!((fs::exists(made("pending"))?, fs::exists(made("later"))?), (runs, runs), "{version}");
    }
    Ok(())
}

#[test]
fn an_answer_to_a_hook_that_cannot_be_read_blocks_in_the_newer_one_alone() -> Outcome {
    let home = Home::new()?;
    for (version, runs) in [("2.1.197", true), ("2.1.329", false)] {
        let mut fake = home.start(version, &[])?;
        fake.ask("c1", &hooked())?;
        let made = home.path(&format!("made-{version}"));
        fake.prompt(&format!("TOOL Write {}", json!({"file_path": made, "content": "x"})))?;
        let announced = fake.announced()?;
        fake.decide(&announced, "maybe", &json!({}))?;
        fake.result()?;
        assert_eq!(fs::exists(&made)?, runs, "{version}");
    }
    Ok(())
}

#[test]
fn a_second_handshake_may_change_the_newer_ones_hooks_and_not_the_older_ones() -> Outcome {
    let home = Home::new()?;
    for (version, announces) in [("2.1.197", true), ("2.1.329", false)] {
        let mut fake = home.start(version, &[])?;
        fake.ask("c1", &hooked())?;
        fake.prompt("ASK")?;
        let announced = fake.announced()?;
        fake.answer(&announced, &json!({}))?;
        let gate = fake.gate()?;
        // Only what was asked about is pending, and without the member all stays as it is.
        let again = fake.ask("c2", &json!({"subtype": "initialize"}))?;
        assert_eq!(again["pending_permission_requests"], json!([gate]));
        fake.answer(&gate, &json!({"behavior": "deny", "message": "no"}))?;
        fake.result()?;
        fake.prompt("ASK")?;
        let announced = fake.announced()?;
        let again = fake.ask("c3", &json!({"subtype": "initialize", "hooks": {}}))?;
        assert!(again["pending_permission_requests"].as_array().is_none_or(Vec::is_empty), "{again}");
        fake.decide(&announced, "deny", &json!({}))?;
        fake.result()?;
        fake.prompt("ASK")?;
        let first = fake.gate()?["request"]["subtype"].clone();
        assert_eq!(first == "hook_callback", announces, "{version}");
    }
    Ok(())
}

#[test]
fn without_a_prompt_tool_nothing_is_asked() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &["--permission-prompt-tool", "none"])?;
    fake.prompt("ASK")?;
    assert_eq!(fake.result()?["permission_denials"].as_array().map(Vec::len), Some(1));
    assert!(!fake.0.seen.iter().any(|line| line["type"] == "control_request"));
    Ok(())
}

#[test]
fn signals_end_it_as_measured() -> Outcome {
    let home = Home::new()?;
    for version in BOTH {
        let cases = [
            ("SAY idle", Signal::INT, Some(0)),
            ("WAITFILE /no/such", Signal::INT, Some(0)),
            ("HANG", Signal::INT, Some(0)),
            ("HANG", Signal::TERM, Some(143)),
            ("HANG", Signal::HUP, Some(129)),
            ("HANG", Signal::KILL, None),
        ];
        for (prompt, signal, code) in cases {
            let mut fake = home.start(version, &[])?;
            fake.prompt(prompt)?;
            match prompt {
                "HANG" => drop(fake.0.until(|line| line["status"] == "requesting")?),
                "SAY idle" => drop(fake.result()?),
                _ => fake.until_delta()?,
            }
            fake.0.signal(signal)?;
            assert_eq!(fake.0.wait()?.0.code(), code, "{version} {prompt} {signal:?}");
            let aborted = fake.0.seen.iter().any(|line| line["terminal_reason"] == "aborted_streaming");
            assert_eq!(aborted, prompt.starts_with("WAITFILE"), "{version} {prompt} {signal:?}");
        }
    }
    Ok(())
}

#[test]
fn signals_can_be_ignored_or_obeyed_at_once() -> Outcome {
    let home = Home::new()?;
    let mut deaf = home.start("2.1.329", &[])?;
    deaf.prompt("IGNORE sigint ;; SAY ignoring")?;
    deaf.result()?;
    deaf.0.signal(Signal::INT)?;
    deaf.prompt("SAY still here")?;
    assert_eq!(deaf.result()?["result"], "still here");
    let mut hasty = home.start_with("2.1.329", &[], &[("FAKE_CLAUDE_EXIT_ON_SIGINT", "instant")])?;
    hasty.prompt("WAITFILE /no/such")?;
    hasty.until_delta()?;
    hasty.0.signal(Signal::INT)?;
    assert_eq!(hasty.0.wait()?.0.code(), Some(130));
    assert!(!hasty.0.seen.iter().any(|line| line["type"] == "result"));
    Ok(())
}

#[test]
fn it_dies_as_it_is_told() -> Outcome {
    let home = Home::new()?;
    for (prompt, code, signal) in [
        ("EXIT 7", Some(7), None),
        ("DIE 9", None, Some(9)),
        ("DIE 15", None, Some(15)),
        ("DIE 11", None, Some(11)),
    ] {
        let mut fake = home.start("2.1.329", &[])?;
        fake.prompt(&format!("SAY before ;; {prompt}"))?;
        let status = fake.0.wait()?.0;
        assert_eq!((status.code(), status.signal()), (code, signal), "{prompt}");
    }
    let mut half = home.start("2.1.329", &[])?;
    half.prompt("HALF")?;
    assert_eq!(half.0.wait()?.0.code(), Some(1));
    assert!(half.0.raw.last().is_some_and(|line| line.ends_with(b"msg_half")));
    let mut early = home.start_with("2.1.329", &[], &[("FAKE_CLAUDE_EXIT_AT_START", "3")])?;
    assert_eq!(early.0.wait()?.0.code(), Some(3));
    assert!(early.0.raw.is_empty());
    Ok(())
}

#[test]
fn all_numbered_lines_come_once_and_in_order() -> Outcome {
    const COUNT: usize = 5000;
    let home = Home::new()?;
    for version in BOTH {
        let mut fake = home.start(version, &[])?;
        fake.prompt(&format!("LINES {COUNT}"))?;
        fake.result()?;
        let texts = fake.0.seen.iter().filter_map(|line| line["message"]["content"][0]["text"].as_str());
        let numbered: Vec<&str> = texts.filter(|text| text.starts_with("line ")).collect();
        let expected: Vec<String> = (1..=COUNT).map(|n| format!("line {n:06}")).collect();
        assert_eq!(numbered, expected);
        let ids: std::collections::HashSet<String> = fake
            .0
            .seen
            .iter()
            .filter(|line| line["type"] == "assistant")
            .map(|line| line["uuid"].to_string())
            .collect();
        assert_eq!(ids.len(), COUNT);
    }
    Ok(())
}

#[test]
fn garbage_does_not_end_the_turn() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt("GARBAGE ;; HUGE 2")?;
    assert_eq!(fake.result()?["result"], "huge done");
    assert!(fake.0.raw.iter().any(|line| std::str::from_utf8(line).is_err()));
    assert!(fake.0.raw.iter().any(|line| line.len() > 2 << 20));
    assert!(fake.0.raw.iter().any(Vec::is_empty));
    Ok(())
}

#[test]
fn a_session_is_known_after_its_first_turn_and_not_before() -> Outcome {
    let home = Home::new()?;
    for (version, id) in BOTH.into_iter().zip([ONE, TWO]) {
        let mut unused = home.start(version, &["--session-id", id])?;
        assert_eq!(unused.finish()?, Some(0));
        let mut first = home.start(version, &["--session-id", id])?;
        first.prompt("SAY one")?;
        assert_eq!(first.result()?["session_id"], id);
        assert_eq!(first.finish()?, Some(0));
        let (status, stderr) = home.start(version, &["--session-id", id])?.0.wait()?;
        let text = format!("Error: Session ID {id} is already in use.\n");
        assert_eq!((status.code(), stderr), (Some(1), text));
        let mut again = home.start(version, &["--resume", id])?;
        again.prompt("SAY two")?;
        assert_eq!(again.result()?["session_id"], id);
        let mut forked = home.start(version, &["--resume", id, "--fork-session"])?;
        forked.prompt("SAY three")?;
        assert_ne!(forked.result()?["session_id"], id);
    }
    Ok(())
}

#[test]
fn a_kill_right_after_the_result_loses_the_older_ones_turn_only() -> Outcome {
    let home = Home::new()?;
    for (version, id, known) in [("2.1.197", ONE, false), ("2.1.329", TWO, true)] {
        let mut fake =
            home.start_with(version, &["--session-id", id], &[("FAKE_CLAUDE_FLUSH_MS", "60000")])?;
        fake.prompt("SAY one")?;
        fake.result()?;
        fake.0.signal(Signal::KILL)?;
        fake.0.wait()?;
        let mut again = home.start(version, &["--resume", id])?;
        // It may have gone before it could be asked.
        let _ = again.prompt("SAY two");
        assert_eq!(again.result()?["is_error"], !known, "{version}");
    }
    Ok(())
}

#[test]
fn a_known_uuid_runs_again_only_if_the_newer_one_was_cut() -> Outcome {
    let home = Home::new()?;
    for (version, id, runs) in [("2.1.197", ONE, false), ("2.1.329", TWO, true)] {
        let mut fake = home.start(version, &["--session-id", id])?;
        fake.prompt_as(ONE, "SAY done")?;
        fake.result()?;
        fake.prompt_as(ONE, "SAY again")?;
        fake.prompt_as(TWO, "WAITFILE /no/such")?;
        fake.0.until(|line| line["event"]["delta"]["text"] == "waiting ")?;
        let results = fake.0.seen.iter().filter(|line| line["type"] == "result").count();
        assert_eq!(results, 1, "a known uuid started a turn");
        // The older one needs its time to write.
        let file = session_file(&home, id)?;
        wait_until_contains(&file, TWO)?;
        fake.0.signal(Signal::KILL)?;
        fake.0.wait()?;
        let mut again = home.start(version, &["--resume", id])?;
        again.prompt_as(ONE, "SAY a")?;
        again.prompt_as(TWO, "SAY b")?;
        again.prompt_as(THREE, "SAY c")?;
        assert_eq!(again.finish()?, Some(0));
        let answered = again.0.seen.iter().filter(|line| line["type"] == "assistant");
        let texts: Vec<&str> =
            answered.filter_map(|line| line["message"]["content"][0]["text"].as_str()).collect();
        assert_eq!(texts, if runs { vec!["b", "c"] } else { vec!["c"] }, "{version}");
        let completed = if runs { vec!["completed"] } else { Vec::new() };
        assert_eq!(lifecycle(&again.0.seen, ONE), completed);
    }
    Ok(())
}

#[test]
fn requests_can_stay_unanswered() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start_with("2.1.329", &[], &[("FAKE_CLAUDE_NO_HANDSHAKE", "1")])?;
    fake.request("a", &json!({"subtype": "initialize"}))?;
    fake.prompt("IGNOREINTERRUPT ;; WAITFILE go")?;
    fake.until_delta()?;
    fake.request("i", &interrupt())?;
    fake.ask("b", &json!({"subtype": "mcp_status"}))?;
    fs::write(home.path("go"), "")?;
    assert_eq!(fake.result()?["result"], "waiting released");
    let answered = fake.0.seen.iter().filter(|line| line["type"] == "control_response").count();
    assert_eq!(answered, 1);
    Ok(())
}

#[test]
fn an_interrupt_can_be_answered_and_the_turn_fail() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt("ERRORAFTERINTERRUPT")?;
    fake.0.until(|line| line["status"] == "requesting")?;
    assert_eq!(fake.ask("i", &interrupt())?["subtype"], "success");
    let result = fake.result()?;
    assert_eq!((&result["terminal_reason"], &result["is_error"]), (&json!("api_error"), &json!(true)));
    Ok(())
}

#[test]
fn the_older_one_wedges_where_the_real_one_does() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.197", &[])?;
    fake.ask("a", &json!({"subtype": "mcp_status"}))?;
    fake.request("b", &json!({"subtype": "rewind_conversation"}))?;
    fake.request("c", &json!({"subtype": "mcp_status"}))?;
    fake.0.close_stdin();
    fake.0.signal(Signal::TERM)?;
    assert_eq!(fake.0.wait()?.0.code(), Some(143));
    assert_eq!(fake.0.seen.len(), 1);
    Ok(())
}

#[test]
fn children_hold_the_pipes_or_leave_the_session() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt("SETSID 30")?;
    let result = fake.result()?;
    let pid =
        result["result"].as_str().and_then(|text| text.strip_prefix("child ")).unwrap_or_default().to_owned();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // After the state: parent, process group, session.
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()));
    fake.prompt("FORK 0.3 ;; EXIT 5")?;
    let forked = fake.0.until(|line| child_of(line).is_some())?;
    let holder = child_of(&forked).unwrap_or_default();
    let pid: i32 = pid.parse()?;
    let leaver = rustix::process::Pid::from_raw(pid).ok_or("no pid")?;
    rustix::process::kill_process(leaver, Signal::KILL)?;
    // Stdout stays open until the child that holds it is gone, although its parent has exited.
    assert!(fs::exists(format!("/proc/{holder}"))?);
    assert_eq!(fake.0.wait()?.0.code(), Some(5));
    Ok(())
}

#[test]
fn an_idle_interrupt_kills_a_background_subagent_without_a_result() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt_as(ONE, "SUBAGENT /no/such")?;
    fake.result()?;
    fake.ask("i", &interrupt())?;
    assert!(
        fake.0.seen.iter().any(|line| line["subtype"] == "task_notification" && line["status"] == "stopped")
    );
    assert_eq!(fake.finish()?, Some(0));
    assert_eq!(fake.0.seen.iter().filter(|line| line["type"] == "result").count(), 1);
    Ok(())
}

#[test]
fn it_stops_itself_and_goes_on() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start("2.1.329", &[])?;
    fake.prompt("SAY before ;; STOPSELF ;; SAY after")?;
    fake.0.until(|line| line["message"]["content"][0]["text"] == "before")?;
    let stat = format!("/proc/{}/stat", fake.0.pid());
    wait_until(|| Ok(fs::read_to_string(&stat)?.contains(") T ")))?;
    fake.0.signal(Signal::CONT)?;
    assert_eq!(fake.result()?["result"], "after");
    Ok(())
}

#[test]
fn a_model_that_cannot_be_checked_holds_the_next_prompt() -> Outcome {
    let home = Home::new()?;
    let mut fake = home.start_with("2.1.329", &[], &[("FAKE_CLAUDE_MODEL_CHECK_MS", "50")])?;
    fake.request("m", &json!({"subtype": "set_model", "model": "lab-hang"}))?;
    fake.prompt("SAY waited")?;
    let first = fake.0.until(|line| line["type"] == "control_response" || line["subtype"] == "init")?;
    assert_eq!(first["response"]["error_code"], "check_unreachable");
    assert_eq!(fake.result()?["result"], "waited");
    Ok(())
}
