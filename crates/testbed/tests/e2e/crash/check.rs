//! Whether what is left is what the client was told, and what the agent has seen.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lockkeeper_core::id::TurnNo;
use lockkeeper_core::session::{Envelope, Event, State, laws};
use lockkeeper_store::{EventQuery, SessionRow, SqliteStore, Store as _};
use serde_json::Value;

use super::client::OUTCOMES;
use super::life::Told;
use crate::support::{Failure, Fallible, Home, ensure, number_of};

/// What is said of something that was acknowledged and is not there.
pub(super) const LOST: &str = "what was acknowledged is lost";

/// Looks at everything. Where only the daemon was killed, all has to be as if it had not been.
pub(super) fn all(home: &Home, told: &Told, is_strict: bool) -> Fallible {
    let file = home.data().join("lockkeeper.db");
    let database = rusqlite::Connection::open(&file)?;
    let found: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(found == "ok", "the database is damaged: {found}");
    drop(database);

    let store = SqliteStore::open(&file)?;
    let id = told.session.parse().map_err(|_| Failure::new(format!("no session's id: {}", told.session)))?;
    let query = EventQuery { session: Some(id), ..EventQuery::default() };
    let mut events = Vec::new();
    let mut after = query.after;
    loop {
        let page = store.read(&EventQuery { after, ..query.clone() })?;
        events.extend(page.events.into_iter().map(|stored| stored.envelope));
        after = page.next;
        if !page.more {
            break;
        }
    }
    let id = query.session.ok_or_else(|| Failure::new("no session"))?;

    // The log is legal from its first step to its last, and the rows are its fold.
    let mut state = State::fold(&id, &events[..1])?;
    let mut upto = 1;
    while upto < events.len() {
        // What was committed together is one step: its events have one time.
        upto += events[upto..].iter().take_while(|event| event.at == events[upto].at).count();
        state = State::fold(&id, &events[..upto])?;
        // It says by a panic which law is broken.
        let stands = catch_unwind(AssertUnwindSafe(|| laws::stands(&state)));
        ensure!(stands.is_ok(), "a law is broken after event {upto}");
    }
    ensure!(store.load(&id)?.as_ref() == Some(&state), "what is loaded is not the fold of the log");
    ensure!(
        store.session_row(&id)?.as_ref() == Some(&SessionRow::of(&state)),
        "the row is not that of the log"
    );

    outcomes(told, &events, is_strict)?;
    decisions(told, &events)?;
    streamed(told, &events)?;
    seen_by_agent(home, told, is_strict)?;
    let rules = fs::read_to_string(home.user_rules()).unwrap_or_default();
    let count = rules.matches("name = \"no\"").count();
    ensure!(count == 1, "the rule is there {count} times: {rules}");
    Ok(())
}

/// Each prompt that was accepted has one turn with one outcome.
fn outcomes(told: &Told, log: &[Envelope], is_strict: bool) -> Fallible {
    let mut prompts: BTreeMap<u64, &str> = BTreeMap::new();
    let mut turns: BTreeMap<u64, Vec<TurnNo>> = BTreeMap::new();
    let mut ends: BTreeMap<TurnNo, Vec<&str>> = BTreeMap::new();
    for envelope in log {
        if let Event::PromptAccepted { prompt } = &envelope.event {
            prompts.insert(prompt.no.0.into(), &prompt.text);
        } else if let Event::TurnStarted { turn, prompt, .. } = &envelope.event {
            turns.entry(prompt.0.into()).or_default().push(*turn);
        } else if let Event::TurnEnded { turn, outcome, .. } = &envelope.event {
            ends.entry(*turn).or_default().push(outcome.word());
        }
    }
    let mut outcomes = Vec::new();
    for (no, text) in &told.prompts {
        let kept = prompts.get(no);
        ensure!(kept == Some(&text.as_str()), "{LOST}: prompt {no} is {kept:?}");
        let turns = turns.get(no).cloned().unwrap_or_default();
        ensure!(turns.len() == 1, "prompt {no} has the turns {turns:?}");
        let ends = ends.get(&turns[0]).cloned().unwrap_or_default();
        ensure!(ends.len() == 1, "{:?} of prompt {no} ended {ends:?}", turns[0]);
        outcomes.extend(ends);
    }
    ensure!(prompts.len() == told.prompts.len(), "prompts were accepted that nobody sent: {prompts:?}");
    ensure!(!is_strict || outcomes == OUTCOMES, "the turns ended {outcomes:?}");
    Ok(())
}

/// A gate is decided once, and what was acknowledged is in the log.
fn decisions(told: &Told, log: &[Envelope]) -> Fallible {
    let mut decided: BTreeMap<u64, usize> = BTreeMap::new();
    for envelope in log {
        if let Event::GateDecided { gate, .. } = &envelope.event {
            *decided.entry(gate.0.into()).or_default() += 1;
        }
    }
    ensure!(decided.values().all(|count| *count == 1), "gates were decided so many times: {decided:?}");
    for gate in &told.decided {
        let no = number_of(&Value::from(gate.as_str()))?;
        ensure!(decided.contains_key(&no), "{LOST}: the decision at {gate}");
    }
    if let Some(asked_for) = told.interrupted {
        let is_asked = |envelope: &Envelope| matches!(&envelope.event, Event::InterruptAsked { turn, .. } if u64::from(turn.0) == asked_for);
        ensure!(log.iter().any(is_asked), "{LOST}: the interrupt of turn {asked_for}");
    }
    Ok(())
}

/// A subscriber was told all of the log, each event once and in order, and nothing that is not there.
fn streamed(told: &Told, log: &[Envelope]) -> Fallible {
    let all = log.iter().zip(1..).map(|(envelope, seq)| (seq, envelope.event.kind().to_owned()));
    let all: Vec<(u64, String)> = all.collect();
    let is_there = |(no, event): (usize, &(u64, String))| all.get(no) == Some(event);
    let lost = (0..).zip(&told.events).find(|told| !is_there(*told));
    ensure!(lost.is_none(), "{LOST}: of the events that were told, {lost:?}");
    let (told, all) = (told.events.len(), all.len());
    ensure!(told == all, "{told} of {all} events were told");
    Ok(())
}

/// No prompt was given to an agent twice, and those that had to be were.
fn seen_by_agent(home: &Home, told: &Told, is_strict: bool) -> Fallible {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for project in fs::read_dir(home.agent_home().join(".claude/projects")).into_iter().flatten() {
        for file in fs::read_dir(project?.path())? {
            let text = fs::read_to_string(file?.path())?;
            for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                if line["type"] == "user" {
                    *seen.entry(line["text"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
                }
            }
        }
    }
    ensure!(seen.values().all(|count| *count == 1), "the agent has seen prompts so many times: {seen:?}");
    for (no, text) in told.prompts.iter().filter(|_| is_strict) {
        ensure!(seen.contains_key(text), "the agent has not seen prompt {no}: {seen:?}");
    }
    Ok(())
}
