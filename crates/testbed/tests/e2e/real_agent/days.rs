//! A day with the real agent, by moving Lockkeeper's clock alone.

use std::fs;

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, outcomes};
use crate::support::{Fallible, Session, ensure, number_of};

for_both_versions!(
    a_gate_is_open_for_a_day_over_kills_of_the_daemon_and_what_is_decided_then_is_done_once,
    a_gate_expires_after_its_hours_and_its_model_is_told,
    a_bypass_is_over_after_its_hours_and_what_is_allowed_for_good_is_not,
);

const HOUR: u64 = 3_600_000;

fn made(lab: &Lab<'_>, name: &str) -> bool {
    lab.home.workspace().join(name).exists()
}

/// Has a session make a file; then it has this status.
fn makes(session: &Session<'_>, name: &str, then: &str) -> Fallible {
    let mut watch = session.watch()?;
    let receipt = session.prompt(&format!("{} ;; SAY end", bash(&format!("touch {name}"))))?;
    let no = number_of(&receipt["prompt"])?;
    watch.until("the prompt", |frame| frame.is("prompt.accepted") && frame.event()["prompt"]["no"] == no)?;
    watch.status("running")?;
    watch.status(then)?;
    Ok(())
}

fn last_gate(session: &Session<'_>) -> Fallible<Value> {
    let gates = session.gates("all")?.into_iter();
    Ok(gates.max_by_key(|gate| gate["no"].as_u64()).unwrap_or_default())
}

fn a_gate_is_open_for_a_day_over_kills_of_the_daemon_and_what_is_decided_then_is_done_once(
    lab: &Lab<'_>,
) -> Fallible {
    let script = format!("{} ;; SAY end", bash("echo again >> made"));
    let (session, mut watch) = lab.asking(&script)?;
    let asked = last_gate(&session)?;
    for hour in 1..=24 {
        lab.home.let_pass(HOUR)?;
        if hour % 6 == 3 {
            lab.home.crash_and_start()?;
        }
        assert_eq!(
            (&session.known()?["status"], last_gate(&session)?),
            (&json!("awaiting_input"), asked.clone())
        );
    }
    assert!(!made(lab, "made"));
    watch.reconnect()?;
    session.allow()?;
    watch.status("idle")?;
    assert_eq!(fs::read_to_string(lab.home.workspace().join("made"))?, "again\n");
    assert_eq!((watch.count("gate.decided"), watch.count("gate.delivered")), (1, 1));
    assert_eq!(outcomes(&session)?, ["completed"]);
    assert_eq!(session.list("attempts")?.len(), 1, "its process is the same");
    Ok(())
}

fn a_gate_expires_after_its_hours_and_its_model_is_told(lab: &Lab<'_>) -> Fallible {
    lab.configure(&format!("[deadlines]\ngate_ms = {}\ngate_warning_ms = {HOUR}\n", 8 * HOUR))?;
    lab.home.have_clock()?;
    let script = format!("{} ;; SAY end", bash("touch made"));
    let (session, mut watch) = lab.asking(&script)?;
    lab.home.let_pass(7 * HOUR)?;
    watch.event("gate.expiring")?;
    assert_eq!(session.row()?["status"], "awaiting_input");
    lab.home.kill_daemon()?;
    lab.home.let_pass(HOUR)?;
    lab.home.start()?;
    watch.reconnect()?;
    watch.status("idle")?;
    assert_eq!(last_gate(&session)?["decision"]["through"], "expiry");
    assert!(!made(lab, "made"));
    let told = lab.shown(&script)?;
    ensure!(told.contains("gate_expired"), "the model was told {told:?}");
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    Ok(())
}

fn a_bypass_is_over_after_its_hours_and_what_is_allowed_for_good_is_not(lab: &Lab<'_>) -> Fallible {
    lab.home.have_clock()?;
    let session = lab.after(lab.kept(), "SAY hello")?;
    lab.home.api().post(&session.path("/bypass"), &json!({"kinds": ["execute"], "for_ms": 2 * HOUR}))?;
    makes(&session, "first", "idle")?;
    lab.home.let_pass(HOUR)?;
    lab.home.crash_and_start()?;
    makes(&session, "second", "idle")?;
    let mut watch = session.watch()?;
    lab.home.let_pass(HOUR)?;
    watch.event("bypass.ended")?;
    makes(&session, "third", "awaiting_input")?;
    assert!(made(lab, "first") && made(lab, "second") && !made(lab, "third"));
    // For good outlasts the day, the daemon, and other files are asked about still.
    let gate = last_gate(&session)?["id"].as_str().unwrap_or_default().to_owned();
    let offered = lab.home.api().get(&format!("/v1/gates/{gate}/rules?scope=session"))?["rules"].clone();
    let always = json!({"decision": "allow", "always": {"scope": "session", "rules": offered}});
    session.decide(&gate, &always)?.good()?;
    session.wait("idle")?;
    lab.home.let_pass(24 * HOUR)?;
    lab.home.crash_and_start()?;
    makes(&session, "third", "idle")?;
    makes(&session, "fourth", "awaiting_input")?;
    Ok(())
}
