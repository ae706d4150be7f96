//! Rules: what the agent announces is held up or let go, whatever it would do by itself, and its model is told.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, outcomes};
use crate::support::{Fallible, Session, Spec, Stream, ensure};

for_both_versions!(
    a_read_that_is_never_asked_is_denied_by_a_rule,
    a_path_is_judged_by_where_the_agent_takes_it_to_lead,
    a_read_that_is_never_asked_waits_where_a_rule_asks,
    a_command_that_would_be_asked_is_let_go_by_a_rule,
    what_a_rule_denies_does_not_run_in_any_mode,
    a_subagents_tools_are_held_up_too,
    what_waits_for_a_rule_survives_a_kill_of_the_daemon,
    an_interrupt_and_a_stop_let_nothing_go_that_waits_for_a_rule,
    what_is_allowed_for_good_is_not_asked_again,
);

/// Has these rules hold for what is started from now on.
fn rules(lab: &Lab<'_>, text: &str) -> Fallible {
    Ok(fs::write(lab.home.user_rules(), text)?)
}

fn deny(what: &str) -> String {
    format!("[[rule]]\nname = \"no\"\neffect = \"deny\"\n{what}\nreason = \"not for you\"\n")
}

fn ask(what: &str) -> String {
    format!("[[rule]]\nname = \"look\"\neffect = \"ask\"\n{what}\n")
}

/// Writes a file into the workspace and returns the directive that has it read.
fn readable(lab: &Lab<'_>, name: &str) -> Fallible<String> {
    fs::write(lab.home.workspace().join(name), format!("what {name} says\n"))?;
    Ok(read(lab, name))
}

fn read(lab: &Lab<'_>, name: &str) -> String {
    let path = format!("{}/{name}", lab.home.workspace().display());
    format!("TOOL Read {}", json!({"file_path": path}))
}

fn asking<'a>(lab: &'a Lab<'_>, spec: Spec, script: &str) -> Fallible<(Session<'a>, Stream)> {
    let session = lab.home.session(&spec.prompt(script))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    Ok((session, watch))
}

/// The outcomes of the tools of a session, in order.
fn tools(session: &Session<'_>) -> Fallible<Vec<String>> {
    let items = session.list("items")?;
    let results = items.iter().filter(|item| item["kind"] == "tool_result");
    Ok(results.map(|item| item["outcome"].as_str().unwrap_or_default().to_owned()).collect())
}

fn a_read_that_is_never_asked_is_denied_by_a_rule(lab: &Lab<'_>) -> Fallible {
    rules(lab, &deny("path = \"secret*\""))?;
    let script = format!("{} ;; {} ;; SAY end", readable(lab, "secret.txt")?, readable(lab, "plain.txt")?);
    let session = lab.after(lab.kept(), &script)?;
    assert_eq!(tools(&session)?, ["denied", "ok"]);
    assert_eq!(outcomes(&session)?, ["completed"]);
    let shown = lab.shown(&script)?;
    for part in ["user:no", "not for you", "what plain.txt says"] {
        ensure!(shown.contains(part), "{part:?} was not shown: {shown}");
    }
    ensure!(!shown.contains("what secret.txt says"), "it was read: {shown}");
    let gates = session.gates("all")?;
    assert_eq!(gates.len(), 1, "{gates:#?}");
    assert_eq!((&gates[0]["rule"], &gates[0]["decision"]["through"]), (&json!("user:no"), &json!("rule")));
    Ok(())
}

fn a_path_is_judged_by_where_the_agent_takes_it_to_lead(lab: &Lab<'_>) -> Fallible {
    let outside = lab.home.path("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("key"), "what the key says\n")?;
    symlink(&outside, lab.home.workspace().join("link"))?;
    // For the kernel this is another file, which is not there; the agent reads its text.
    let script = format!("{} ;; SAY free", read(lab, "link/../link/key"));
    let free = lab.after(lab.unasked(), &script)?;
    assert_eq!(tools(&free)?, ["ok"]);
    ensure!(lab.shown(&script)?.contains("what the key says"), "it was not read");
    rules(lab, &deny(&format!("path = \"{}/**\"", outside.display())))?;
    let script = format!("{} ;; {} ;; SAY held", read(lab, "link/../link/key"), read(lab, "link/key"));
    let held = lab.after(lab.unasked(), &script)?;
    assert_eq!(tools(&held)?, ["denied", "denied"]);
    ensure!(!lab.shown(&script)?.contains("what the key says"), "it was read");
    Ok(())
}

fn a_read_that_is_never_asked_waits_where_a_rule_asks(lab: &Lab<'_>) -> Fallible {
    rules(lab, &ask("tool = \"Read\""))?;
    let steps = [readable(lab, "a.txt")?, readable(lab, "b.txt")?, readable(lab, "c.txt")?];
    fs::write(lab.home.workspace().join("d.txt"), "what d.txt says\n")?;
    let script = format!("{} ;; SAY end", steps.join(" ;; "));
    let (session, mut watch) = asking(lab, lab.kept(), &script)?;
    session.allow()?;
    watch.status("awaiting_input")?;
    let no = json!({"decision": "deny", "message": "not on a Friday"});
    session.decide(&format!("{}.g2", session.id), &no)?.good()?;
    watch.status("awaiting_input")?;
    let other = json!({"file_path": lab.home.workspace().join("d.txt")});
    session.decide(&format!("{}.g3", session.id), &json!({"decision": "edit", "input": other}))?.good()?;
    watch.status("idle")?;
    assert_eq!(tools(&session)?, ["ok", "denied", "ok"]);
    let shown = lab.shown(&script)?;
    for part in ["what a.txt says", "not on a Friday", "what d.txt says"] {
        ensure!(shown.contains(part), "{part:?} was not shown: {shown}");
    }
    ensure!(!shown.contains("what b.txt says") && !shown.contains("what c.txt says"), "{shown}");
    assert_eq!(session.gates("all")?.len(), 3, "each is asked once");
    Ok(())
}

fn a_command_that_would_be_asked_is_let_go_by_a_rule(lab: &Lab<'_>) -> Fallible {
    let allow = "[[rule]]\nname = \"touch\"\neffect = \"allow\"\ncommand = \"touch *\"\n";
    // Also where it announces everything.
    for (name, more) in [("alone", String::new()), ("guarded", ask("tool = \"NotebookEdit\""))] {
        rules(lab, &format!("{allow}{more}"))?;
        let script = format!("{} ;; SAY end", bash(&format!("touch {name}")));
        let session = lab.home.session(&lab.kept().prompt(&script))?;
        let mut watch = session.watch()?;
        watch.status("idle")?;
        assert!(lab.home.workspace().join(name).exists());
        ensure!(!watch.statuses().contains(&"awaiting_input".to_owned()), "{:?}", watch.statuses());
        let gates = session.gates("all")?;
        assert_eq!(gates.len(), 1, "{name}: {gates:#?}");
        assert_eq!((&gates[0]["rule"], &gates[0]["state"]), (&json!("user:touch"), &json!("delivered")));
        // What the rule does not reach is asked as ever.
        session.prompt(&bash(&format!("touch {name}2 && rmdir nothing")))?;
        watch.status("awaiting_input")?;
        session.act("interrupt")?;
        watch.status("idle")?;
        assert!(!lab.home.workspace().join(format!("{name}2")).exists());
    }
    Ok(())
}

fn what_a_rule_denies_does_not_run_in_any_mode(lab: &Lab<'_>) -> Fallible {
    rules(lab, &deny("command = \"touch forbidden*\""))?;
    for mode in ["bypassPermissions", "acceptEdits", "dontAsk"] {
        let forbidden = lab.home.workspace().join("forbidden");
        let script =
            format!("{} ;; {} ;; SAY {mode}", bash("touch forbidden"), bash("sh -c 'touch forbidden2'"));
        let session = lab.after(lab.kept().with("mode", mode), &script)?;
        assert_eq!(session.row()?["mode"], mode);
        assert_eq!(tools(&session)?, ["denied", "denied"], "{mode}");
        assert!(!forbidden.exists() && !lab.home.workspace().join("forbidden2").exists(), "{mode}");
        ensure!(lab.shown(&script)?.contains("user:no"), "{mode}: it was not told");
    }
    let session = lab.after(lab.unasked(), &format!("{} ;; SAY free", bash("touch free")))?;
    assert_eq!(tools(&session)?, ["ok"]);
    assert_eq!(session.gates("all")?, Vec::<Value>::new());
    Ok(())
}

fn a_subagents_tools_are_held_up_too(lab: &Lab<'_>) -> Fallible {
    rules(lab, &deny("command = \"touch *\""))?;
    let task =
        json!({"description": "sub", "prompt": bash("touch made"), "subagent_type": "general-purpose"});
    let session = lab.home.session(&lab.unasked().prompt(&format!("TOOL Task {task} ;; SAY end")))?;
    session.wait("settled")?;
    assert!(!lab.home.workspace().join("made").exists());
    let gates = session.gates("all")?;
    let by: Vec<&str> = gates.iter().filter_map(|gate| gate["rule"].as_str()).collect();
    assert_eq!(by, ["user:no"], "{gates:#?}");
    let items = session.list("items")?;
    let ran = items.iter().find(|item| item["tool"] == "Bash").cloned().unwrap_or_default();
    let end = items.iter().find(|item| item["call"] == ran["key"]).cloned().unwrap_or_default();
    assert_eq!(end["outcome"], "denied", "{items:#?}");
    Ok(())
}

fn what_waits_for_a_rule_survives_a_kill_of_the_daemon(lab: &Lab<'_>) -> Fallible {
    rules(lab, &ask("tool = \"Bash\""))?;
    let script = format!("{} ;; SAY end", bash("touch made"));
    let (session, mut watch) = asking(lab, lab.unasked(), &script)?;
    lab.home.crash_and_start()?;
    watch.reconnect()?;
    watch.status("unknown")?;
    watch.status("awaiting_input")?;
    let made = lab.home.workspace().join("made");
    assert!(!made.exists());
    session.allow()?;
    watch.status("idle")?;
    assert!(made.exists());
    assert_eq!(tools(&session)?, ["ok"]);
    assert_eq!((session.gates("all")?.len(), session.list("attempts")?.len()), (1, 1));
    Ok(())
}

fn an_interrupt_and_a_stop_let_nothing_go_that_waits_for_a_rule(lab: &Lab<'_>) -> Fallible {
    rules(lab, &ask("tool = \"Bash\""))?;
    for (act, status) in [("interrupt", "idle"), ("stop", "stopped")] {
        let script = format!("{} ;; {} ;; SAY end", bash("touch made"), bash("touch later"));
        let (session, mut watch) = asking(lab, lab.unasked(), &script)?;
        session.act(act)?;
        watch.event("gate.withdrawn")?;
        watch.status(status)?;
        if act == "interrupt" {
            assert_eq!(tools(&session)?, ["denied"]);
            assert_eq!(outcomes(&session)?, ["interrupted"]);
            assert_eq!(session.ask("SAY on")?["outcome"], "completed");
            assert_eq!(session.list("attempts")?.len(), 1);
        } else {
            session.wait("end")?;
        }
        for name in ["made", "later"] {
            assert!(!lab.home.workspace().join(name).exists(), "{act} {name}");
        }
    }
    Ok(())
}

fn what_is_allowed_for_good_is_not_asked_again(lab: &Lab<'_>) -> Fallible {
    let (one, other) = (lab.home.workspace().join("one"), lab.home.workspace().join("other"));
    let touch = |path: &std::path::Path| bash(&format!("touch {}", path.display()));
    let (session, mut watch) = asking(lab, lab.kept(), &format!("{} ;; SAY end", touch(&one)))?;
    let gate = format!("{}.g1", session.id);
    let offer = lab.home.api().get(&format!("/v1/gates/{gate}/rules?scope=session"))?;
    let always = json!({"scope": "session", "rules": offer["rules"]});
    session.decide(&gate, &json!({"decision": "allow", "always": always}))?.good()?;
    watch.status("idle")?;
    fs::remove_file(&one)?;
    lab.home.crash_and_start()?;
    watch.reconnect()?;
    session.prompt(&format!("{} ;; {} ;; SAY end", touch(&one), touch(&other)))?;
    watch.status("running")?;
    watch.status("awaiting_input")?;
    ensure!(one.exists() && !other.exists(), "the first goes on, and only that");
    let gates = session.gates("all")?;
    let by = |no: u64| gates.iter().find(|gate| gate["no"] == no).map(|gate| gate["rule"].clone());
    assert_eq!((by(2), by(3)), (Some(json!("session:r1")), Some(json!("agent"))));
    session.allow()?;
    watch.status("idle")?;
    ensure!(other.exists(), "it was allowed");
    Ok(())
}
