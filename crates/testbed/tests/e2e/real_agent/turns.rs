//! Turns: one after another, cut, queued, and what they cost.

use std::fs;

use serde_json::{Value, json};

use super::for_both_versions;
use super::lab::{Lab, bash, is_text, items_are_the_journal, outcomes};
use crate::support::{Fallible, Sender, ensure, number_of, wait_until};

for_both_versions!(
    two_turns_run_in_one_process_and_one_conversation,
    a_prompt_that_comes_while_a_turn_runs_gets_a_turn_of_its_own,
    o30_o39_a_turn_that_is_cut_short_is_gone_on_with_after_the_urgent_one,
    o40_a_webhook_cuts_a_tool_of_the_background_short_and_the_next_follows_in_order,
    tokens_are_counted_per_turn_and_costs_per_process,
    a_conversation_that_was_cleared_goes_on_under_its_other_id,
);

fn two_turns_run_in_one_process_and_one_conversation(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY one")?;
    let before = session.pid()?;
    assert_eq!(session.ask("SAY two")?["outcome"], "completed");
    assert_eq!(session.messages()?, ["one", "two"]);
    assert_eq!(session.pid()?, before);
    ensure!(lab.shown("SAY two")?.contains("SAY one"), "the model was not shown the first turn");
    let attempts = session.list("attempts")?;
    assert_eq!(attempts.len(), 1);
    let version = lab.is_newer().then(|| lab.version());
    assert_eq!(attempts[0]["version"], json!(version), "the older one does not tell");
    let items = session.list("items")?;
    assert!(items.iter().all(|item| item["kind"] == "message"), "{items:?}");
    items_are_the_journal(&session, 1)
}

fn a_prompt_that_comes_while_a_turn_runs_gets_a_turn_of_its_own(lab: &Lab<'_>) -> Fallible {
    // While text streams, and while a tool runs: then the agent would take a prompt into the running turn.
    let (session, mut watch) = lab.streaming(lab.kept(), "WAIT text")?;
    session.prompt("SAY second")?;
    watch.event("prompt.accepted")?;
    assert_eq!(session.prompts_written(1)?, ["WAIT text"]);
    lab.model.release("text");
    watch.status("idle")?;
    session.prompt(&format!("{} ;; SAY after the tool", bash("touch made")))?;
    watch.status("awaiting_input")?;
    session.prompt("SAY fourth")?;
    session.allow()?;
    watch.status("idle")?;
    let said = ["waiting released", "second", "calling ", "after the tool", "fourth"];
    assert_eq!(session.messages()?, said);
    assert_eq!(outcomes(&session)?, ["completed"; 4]);
    let turns = session.list("items")?;
    let turns: Vec<&Value> =
        turns.iter().filter(|item| item["kind"] == "message").map(|item| &item["turn"]).collect();
    let named = [1, 2, 3, 3, 4].map(|no| json!(format!("{}.t{no}", session.id)));
    assert_eq!(turns, named.iter().collect::<Vec<_>>());
    items_are_the_journal(&session, 1)
}

fn o30_o39_a_turn_that_is_cut_short_is_gone_on_with_after_the_urgent_one(lab: &Lab<'_>) -> Fallible {
    // While text streams.
    let (session, mut watch) = lab.streaming(lab.kept(), "WAIT text")?;
    let pid = session.pid()?;
    assert_eq!(session.preempt("SAY urgent")?["preempted"], format!("{}.t1", session.id));
    watch.until("the urgent turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == 2)?;
    lab.model.release("text");
    watch.until("the rest", |frame| frame.is("turn.ended") && frame.event()["turn"] == 3)?;
    assert_eq!(outcomes(&session)?, ["preempted", "completed", "completed"]);
    let said = session.messages()?;
    assert_eq!(said[said.len() - 2..], ["urgent", "waiting released"]);
    // While a gate is open: it is withdrawn, and what is gone on with asks again.
    session.prompt(&format!("{} ;; SAY made", bash("touch made")))?;
    watch.status("awaiting_input")?;
    session.preempt("SAY at once")?;
    watch.event("gate.withdrawn")?;
    watch.status("awaiting_input")?;
    session.allow()?;
    watch.until("the end", |frame| frame.is("turn.ended") && frame.event()["turn"] == 6)?;
    assert_eq!(outcomes(&session)?[3..], ["preempted", "completed", "completed"]);
    ensure!(lab.home.workspace().join("made").exists(), "the tool ran once it was allowed");
    assert_eq!(session.pid()?, pid, "one process served all of it");
    Ok(())
}

fn o40_a_webhook_cuts_a_tool_of_the_background_short_and_the_next_follows_in_order(
    lab: &Lab<'_>,
) -> Fallible {
    let webhook = "[webhook.ci]\nsecret_file = \"secret\"\nsession = \"fixer\"\nclass = \"urgent\"\npreempt = true\n\
                   prompt = \"{{ body.say }}\"\n";
    Sender::configure(lab.home, webhook)?;
    let sender = Sender::of(lab.home, "ci")?;
    // The tool tells that it runs, and ends once it is told to.
    let chores =
        format!("{} ;; SAY chores", bash("touch begun; until [ -e go ]; do sleep 0.05; done; echo done"));
    let spec = lab.unasked().with("name", "fixer").with("prompt", chores).with("class", "background");
    let session = lab.home.session(&spec)?;
    let mut watch = session.watch()?;
    let (begun, go) = (lab.home.workspace().join("begun"), lab.home.workspace().join("go"));
    wait_until("a tool that runs", || begun.exists())?;
    let pid = session.pid()?;
    let first = sender.deliver("d1", &json!({"say": "WAIT first"}))?.good()?;
    assert_eq!(first["preempted"], format!("{}.t1", session.id));
    let second = sender.deliver("d2", &json!({"say": "SAY second"}))?.good()?;
    assert_eq!((&second["state"], &second["preempted"]), (&json!("queued"), &Value::Null));
    lab.model.release("first");
    let no = number_of(&second["prompt"])?;
    watch.until("the second turn", |frame| frame.is("turn.ended") && frame.event()["prompt"] == no)?;
    fs::write(go, "")?;
    session.wait("idle")?;
    assert_eq!(outcomes(&session)?, ["preempted", "completed", "completed", "completed"]);
    // The agent told of the tool's end when it was cut short, so its work is gone on with by itself.
    assert_eq!(session.messages()?, ["calling ", "waiting released", "second", "calling ", "chores"]);
    assert_eq!(session.pid()?, pid, "one process served all of it");
    Ok(())
}

fn tokens_are_counted_per_turn_and_costs_per_process(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY one")?;
    session.ask(&format!("{} ;; SAY two", bash("echo hi")))?;
    let turns = session.list("turns")?;
    let results: Vec<Value> =
        session.lines("stdout", 1)?.into_iter().filter(|line| line["type"] == "result").collect();
    assert_eq!(results.len(), 2);
    for (turn, result) in turns.iter().zip(&results) {
        for tokens in ["input_tokens", "output_tokens"] {
            assert_eq!(turn["usage"][tokens], result["usage"][tokens], "{turn} {result}");
        }
        assert_eq!(turn["usage"]["rounds"], result["num_turns"]);
        assert!(turn["usage"]["input_tokens"].as_u64() > Some(0));
    }
    let cost = |result: &Value| result["total_cost_usd"].as_f64().unwrap_or_default();
    let row = session.row()?;
    let tokens = |value: &Value| value["usage"]["output_tokens"].as_u64().unwrap_or_default();
    assert_eq!(tokens(&row), turns.iter().map(tokens).sum::<u64>());
    let same = |row: &Value, cost: f64| (row["cost_usd"].as_f64().unwrap_or_default() - cost).abs() < 1e-5;
    ensure!(cost(&results[1]) > cost(&results[0]), "the agent does not count up: {results:?}");
    ensure!(same(&row, cost(&results[1])), "{row}: the agent says {}", cost(&results[1]));
    // Another process begins at nothing again.
    session.act("stop")?;
    session.wait("end")?;
    session.ask("SAY three")?;
    let last =
        session.lines("stdout", 2)?.into_iter().rfind(|line| line["type"] == "result").unwrap_or_default();
    let row = session.row()?;
    ensure!(same(&row, cost(&results[1]) + cost(&last)), "{row}: {} and {}", cost(&results[1]), cost(&last));
    Ok(())
}

fn a_conversation_that_was_cleared_goes_on_under_its_other_id(lab: &Lab<'_>) -> Fallible {
    let session = lab.after(lab.kept(), "SAY before")?;
    let before = session.row()?["agent_session_id"].clone();
    assert_eq!(session.ask("/clear")?["outcome"], "completed");
    assert_eq!(session.ask("SAY after")?["outcome"], "completed");
    let cleared = session.row()?["agent_session_id"].clone();
    assert_ne!(cleared, before);
    ensure!(!lab.shown("SAY after")?.contains("SAY before"), "nothing was cleared");
    session.act("stop")?;
    session.wait("end")?;
    let (prompt, mut watch) = (session.prompt("WAIT end")?, session.watch()?);
    watch.until("streaming text", is_text)?;
    lab.model.release("end");
    session.wait("idle")?;
    assert!(prompt["prompt"].is_string());
    assert_eq!(session.list("attempts")?[1]["resume"], cleared);
    ensure!(lab.shown("WAIT end")?.contains("SAY after"), "the conversation was not continued");
    Ok(())
}
