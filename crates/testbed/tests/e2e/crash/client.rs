//! What a client does with a session.

use std::fs;

use serde_json::json;

use super::life::Life;
use crate::support::{Api, Fallible, Spec, ensure, number_of};

const ASKED: &str = "ASK Bash {\"command\":\"x\"} ;; SAY one";
/// It leaves a process that the agent's end does not end.
const LAST: &str = "SETSID 1000 ;; SAY four";

/// More than what goes by before the next launch.
const BACKOFF_MS: u64 = 10_000;

/// How the turns end if nothing comes between.
pub(super) const OUTCOMES: [&str; 4] = ["completed", "interrupted", "unknown", "completed"];

impl Life<'_> {
    /// All that the client does. Returns the number of the last event.
    pub(super) fn all(&mut self) -> Fallible<u64> {
        self.decided_turn()?;
        self.interrupted_turn()?;
        self.rule()?;
        self.lost_turn()?;
        let fourth = self.prompt("fourth", LAST)?;
        self.turn_of(fourth)?;
        self.stop()
    }

    /// Makes a session, and decides at the gate of its first turn.
    fn decided_turn(&mut self) -> Fallible {
        let body = Spec::kept().prompt(ASKED).body(self.home);
        let made = self.ask("a session", |api| api.keyed("/v1/sessions", "made", &body))?.good()?;
        made["session"]["id"].as_str().unwrap_or_default().clone_into(&mut self.told.session);
        self.told.prompts.push((number_of(&made["prompt"]["prompt"])?, ASKED.to_owned()));
        self.turn_of(1)
    }

    /// Interrupts a turn that a second daemon has found at work.
    fn interrupted_turn(&mut self) -> Fallible {
        let second = self.waiting_prompt("second")?;
        self.taken_or_ended(second)?;
        self.restart()?;
        if let Some(turn) = self.taken_or_ended(second)? {
            let (path, body) = (self.path("/interrupt"), json!({"turn": format!("t{turn}")}));
            let answer = self.ask("an interrupt", |api| api.json("POST", &path, &body))?;
            if answer.status < 300 {
                self.told.interrupted = Some(turn);
            }
        }
        self.turn_of(second)
    }

    fn rule(&mut self) -> Fallible {
        let rule = json!({"name": "no", "effect": "deny", "tool": "WebFetch", "reason": "because"});
        let answer = self.ask("a rule", |api| api.json("POST", "/v1/rules", &rule))?;
        ensure!(answer.status == 201 || answer.status == 409, "a rule: {}", answer.text());
        Ok(())
    }

    /// A turn of which a third daemon finds neither agent nor holder.
    fn lost_turn(&mut self) -> Fallible {
        let third = self.waiting_prompt("third")?;
        self.taken_or_ended(third)?;
        self.kill_with_holder()?;
        // Where something came between, an agent may have it only then.
        fs::write(self.home.path("go-third"), "")?;
        self.turn_of(third)?;
        // Nobody waits until an agent may be started again after such an end.
        self.home.write_clock(BACKOFF_MS, 0)
    }

    /// Stops the session, and waits for its end.
    fn stop(&mut self) -> Fallible<u64> {
        let path = self.path("/stop");
        let answer = self.ask("a stop", |api| api.send("POST", &path, &[], None))?;
        ensure!(answer.status < 300 || answer.status == 409, "a stop: {}", answer.text());
        let (path, events) = (self.path(""), self.path("/events?after=start&limit=1000"));
        self.until("the end of the session", |home| {
            if home.api().get(&path)?["ended_at"].is_null() {
                return Ok(None);
            }
            let page = home.api().get(&events)?;
            Ok(page["items"].as_array().and_then(|events| events.last()?["seq"].as_u64()))
        })
    }

    /// A prompt with which the agent is busy until there is a file.
    fn waiting_prompt(&mut self, key: &str) -> Fallible<u64> {
        let file = self.home.path(&format!("go-{key}"));
        self.prompt(key, &format!("WAITFILE {}", file.display()))
    }

    /// Sends a prompt, and returns its number.
    fn prompt(&mut self, key: &str, text: &str) -> Fallible<u64> {
        let (path, body) = (self.path("/prompts"), json!({"text": text, "class": "normal"}));
        let receipt = self.ask(key, |api| api.keyed(&path, key, &body))?.good()?;
        let no = number_of(&receipt["prompt"])?;
        self.told.prompts.push((no, text.to_owned()));
        Ok(no)
    }

    /// Waits for the end of a prompt's turn. Gates that open meanwhile are allowed, and a session that has ended before it came
    /// to the prompt is opened again.
    fn turn_of(&mut self, prompt: u64) -> Fallible {
        let (row, turns) = (self.path(""), self.path("/turns"));
        let gates = format!("/v1/gates?state=open&session={}", self.told.session);
        let id = format!("{}.p{prompt}", self.told.session);
        let mut decided = Vec::new();
        let resume = self.path("/resume");
        self.until(&format!("the end of the turn of prompt {prompt}"), |home| {
            let api = home.api();
            let list = api.get(&turns)?;
            let mut list = list["items"].as_array().into_iter().flatten();
            if list.any(|turn| turn["prompt"] == *id && !turn["outcome"].is_null()) {
                return Ok(Some(()));
            }
            if let Some(gate) = api.get(&gates)?["items"][0]["id"].as_str() {
                let answer =
                    api.json("POST", &format!("/v1/gates/{gate}/decision"), &json!({"decision": "allow"}))?;
                ensure!(answer.status < 500, "{}", answer.text());
                // Else it was taken by a daemon that could not say so, or the agent is gone.
                if answer.status < 300 {
                    decided.push(gate.to_owned());
                }
            } else {
                open_again(&api, &row, &resume)?;
            }
            Ok(None)
        })?;
        self.told.decided.extend(decided);
        Ok(())
    }

    /// The turn of a prompt that the agent works on; none if it has ended already.
    fn taken_or_ended(&mut self, prompt: u64) -> Fallible<Option<u64>> {
        let path = format!("/v1/prompts/{}.p{prompt}", self.told.session);
        let (row, resume) = (self.path(""), self.path("/resume"));
        self.until(&format!("an agent that works on prompt {prompt}"), |home| {
            let receipt = home.api().get(&path)?;
            match receipt["state"].as_str() {
                Some("started") => return Ok(Some(Some(number_of(&receipt["turn"])?))),
                Some("ended") => return Ok(Some(None)),
                _ => {}
            }
            open_again(&home.api(), &row, &resume)?;
            Ok(None)
        })
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/sessions/{}{rest}", self.told.session)
    }
}

/// Opens a session again that has ended before it came to a prompt.
fn open_again(api: &Api, row: &str, resume: &str) -> Fallible {
    if !api.get(row)?["ended_at"].is_null() {
        api.send("POST", resume, &[], None)?;
    }
    Ok(())
}
