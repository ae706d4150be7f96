//! What programs get: one JSON document per command, or one per line, exact and without anything that a terminal obeys.
//!
//! And what a command gets that runs under a claim, and how people are told of a pause. With the demonstration agent and a daemon of its own.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A home with a session `fix` whose agent waits at a gate. Its daemon and agents end with it.
struct Home(tempfile::TempDir);

/// What a terminal might obey, in a prompt and a label.
const HOSTILE: &str = "add\u{202e}a\u{1b}[2J\u{200b}test\r\n";

impl Home {
    fn new() -> Result<Self> {
        let home = Self(tempfile::tempdir()?);
        home.json(&["run", "-d", "--keep", "-a", "demo", "--name", "fix", HOSTILE])?;
        home.json(&["wait", "fix", "--for", "input"])?;
        Ok(home)
    }

    fn lk(&self, args: &[&str]) -> std::io::Result<Output> {
        let home: &Path = self.0.path();
        Command::new(env!("CARGO_BIN_EXE_lk"))
            .args(args)
            .current_dir(home)
            .env_clear()
            .env("LK_HOME", home.join("lk"))
            .env("PATH", "/usr/bin:/bin")
            .output()
    }

    /// What a command tells as one document.
    fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.lk(&[args, &["-o", "json"]].concat())?;
        let text = String::from_utf8(output.stdout)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let safe =
            text.chars().all(|c| c == '\n' || !c.is_control() && !('\u{200b}'..='\u{202e}').contains(&c));
        assert!(safe, "{args:?}: {text:?}");
        Ok(serde_json::from_str(&text).map_err(|error| format!("{args:?}: {error}: {text}{said}"))?)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // There may be no daemon any more.
        let _ = self.lk(&["daemon", "stop", "--kill"]);
    }
}

#[test]
fn every_command_that_looks_prints_one_document() -> Result {
    let home = Home::new()?;
    for args in [
        ["ls"].as_slice(),
        &["ls", "-a"],
        &["status"],
        &["status", "fix"],
        &["show", "fix"],
        &["why", "fix"],
        &["events"],
        &["queue", "fix"],
        &["queue", "fix", "ls"],
        &["claims", "fix"],
        &["gates"],
        &["gates", "fix", "fix.g1"],
        &["agents"],
        &["doctor"],
        &["version"],
        &["daemon", "status"],
    ] {
        home.json(args)?;
    }
    let doctor = home.json(&["doctor"])?;
    let good = |check: &Value| check["what"] == "holder" && check["state"] == "good";
    assert!(doctor.as_array().is_some_and(|checks| checks.iter().any(good)), "{doctor}");
    let events = home.json(&["events", "fix", "--kind", "prompt.accepted"])?;
    assert_eq!(events[0]["data"]["prompt"]["text"], HOSTILE);
    let lines = String::from_utf8(home.lk(&["events", "-o", "jsonl"])?.stdout)?;
    assert!(lines.lines().count() > 10);
    for line in lines.lines() {
        serde_json::from_str::<Value>(line)?;
    }
    Ok(())
}

#[test]
fn every_command_that_does_something_prints_what_came_of_it() -> Result {
    let home = Home::new()?;
    let label = format!("a={HOSTILE}");
    assert_eq!(home.json(&["label", "fix", &label])?["labels"]["a"], HOSTILE);
    assert_eq!(home.json(&["rename", "fix", "fast"])?["name"], "fast");
    assert_eq!(home.json(&["send", "fast", "second"])?["queued_behind"], 1);
    home.json(&["send", "fast", "third"])?;
    assert_eq!(home.json(&["queue", "fast", "edit", "p2", "other"])?["state"], "accepted");
    let removed = home.json(&["queue", "fast", "rm", "p2", "p3"])?;
    assert_eq!((&removed[0]["state"], &removed[1]["state"]), (&"dropped".into(), &"dropped".into()));
    // What was done is told, whatever goes wrong after it.
    let decided = home.lk(&["allow", "fast", "fast", "-o", "json"])?;
    assert_eq!(decided.status.code(), Some(3));
    let decided: Value = serde_json::from_slice(&decided.stdout)?;
    assert_eq!(decided[0]["decision"]["decision"], "allow");
    assert_eq!(home.json(&["wait", "fast"])?[0]["last_turn"]["outcome"], "completed");
    assert_eq!(home.json(&["interrupt", "fast"])?["state"], "idle");
    assert_eq!(home.json(&["set", "fast", "model=other"])?["name"], "fast");
    assert_eq!(home.json(&["resume", "fast"])?["name"], "fast");
    let ended = |receipts: Value| (receipts[0]["status"].clone(), receipts[0]["dropped"].clone());
    assert_eq!(ended(home.json(&["stop", "fast"])?), ("stopped".into(), 0.into()));
    assert_eq!(ended(home.json(&["kill", "fast"])?), ("stopped".into(), 0.into()));
    assert_eq!(home.json(&["rm", "fast"])?[0]["name"], "fast");
    assert_eq!(home.json(&["ls", "-a"])?, Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn the_end_of_a_session_tells_how_many_prompts_it_dropped() -> Result {
    for (args, told) in [
        (["stop", "fix"].as_slice(), "fix stopped; 2 prompts that waited were dropped\n"),
        (&["kill", "fix"], "fix stopped; 2 prompts that waited were dropped\n"),
        (&["rm", "-f", "fix"], "fix removed; 2 prompts that waited were dropped\n"),
    ] {
        let home = Home::new()?;
        for text in ["second", "third"] {
            home.json(&["send", "fix", text])?;
        }
        let output = home.lk(args)?;
        assert_eq!(String::from_utf8(output.stdout)?, told, "{args:?}");
    }
    Ok(())
}

#[test]
fn a_pause_is_told_wherever_somebody_may_wonder_why_nothing_begins() -> Result {
    let home = Home::new()?;
    let said = |args: &[&str]| -> Result<(String, String)> {
        let output = home.lk(args)?;
        assert!(output.status.success(), "{args:?}: {output:?}");
        Ok((String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    };
    let (paused, _) = said(&["daemon", "pause", "--reason", HOSTILE])?;
    let reason = "add\\u{202e}a\\e[2J\\u{200b}test";
    assert!(paused.starts_with("the host is paused by ") && paused.contains(reason), "{paused:?}");
    let (_, late) = said(&["run", "-d", "-a", "demo", "--name", "late", "x"])?;
    assert!(late.starts_with("queued: the host is paused by ") && late.contains(reason), "{late:?}");
    for args in
        [[].as_slice(), &["ls"], &["ls", "-q"], &["status"], &["ls", "-o", "json"], &["status", "-o", "json"]]
    {
        let (_, note) = said(args)?;
        let told = note.contains("the host is paused by ") && note.contains(reason);
        assert_eq!(told, !args.contains(&"json") && !args.contains(&"-q"), "{args:?}: {note:?}");
    }
    let looks: [(&[&str], &str); 4] = [
        (&["ls"], "the host is paused by "),
        (&["why", "late"], "`lk daemon unpause` lets it go on"),
        (&["daemon", "status"], "paused      by "),
        (&["doctor"], "nothing begins: paused by "),
    ];
    for (args, part) in looks {
        let (text, _) = said(args)?;
        assert!(text.contains(part), "{args:?}: {text}");
    }
    assert_eq!(home.json(&["daemon", "pause"])?["paused"]["reason"], HOSTILE, "it stays as it is");
    assert_eq!(home.json(&["daemon", "unpause"])?["ended"]["reason"], HOSTILE);
    assert_eq!(said(&["daemon", "resume"])?.0, "the host was not paused\n");
    assert_eq!(said(&["ls"])?.1, "");
    home.json(&["wait", "late", "--for", "input"])?;
    Ok(())
}

#[test]
fn a_command_under_a_claim_finds_it_and_its_exit_code_is_told() -> Result {
    let home = Home::new()?;
    for (args, code) in [
        (["claim", "fix", "--class", "urgent", "--preempt", "--", "/nonexistent"].as_slice(), 127),
        (&["claim", "fix"], 2),
        (&["claim", "fix", "--ttl", "10ms", "--", "true"], 2),
        (&["claim", "nobody", "--", "true"], 3),
        (&["claims", "fix", "end", "k9"], 3),
        (&["send", "fix", "x", "--claim", "k9"], 3),
    ] {
        let output = home.lk(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    }
    assert_eq!(home.json(&["claims", "fix"])?, Value::Array(Vec::new()), "nothing is left of what failed");
    // The agent waits at a gate again: the claim cuts its turn short, and has the next ones.
    let script = "lk() { \"$0\" \"$@\"; }
        test \"$(lk status fix -o json | grep -c \"$LK_CLAIM\")\" = 1 || exit 90
        lk send fix 'add a line' -o json | grep -q '\"state\": \"accepted\"' || exit 91
        lk queue fix -o json | grep -q \"$LK_CLAIM\" || lk status fix -o json | grep -q '\"class\": \"urgent\"' || exit 92
        exit 7";
    let under = ["claim", "fix", "--class", "urgent", "--preempt", "--", "sh", "-c", script];
    let output = home.lk(&[&under[..], &[env!("CARGO_BIN_EXE_lk")]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert_eq!(home.json(&["claims", "fix"])?, Value::Array(Vec::new()), "it was given back");
    let ended = home.json(&["events", "fix", "--kind", "turn.ended"])?;
    assert!(ended[0]["data"]["outcome"]["preempted"]["by"]["claim"].is_number(), "{ended}");
    Ok(())
}
