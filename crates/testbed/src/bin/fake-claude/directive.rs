//! The directives of a prompt; their meaning is listed in `main.rs`.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Say(String),
    Slow { deltas: u32, pause: Duration },
    Lines { count: u32, pause: Duration, bytes: usize, stamped: bool },
    Tool { calls: u32, asks: bool, name: String, input: Value },
    Elicit { asked: Value, done: Option<PathBuf> },
    AskAtOnce { calls: u32, name: String, input: Value },
    Run(Due),
    Shell(String),
    Hang,
    WaitFile(PathBuf),
    Error { status: u16, text: String },
    RateLimit { seconds: u64, over: PathBuf },
    Login,
    ErrorAfterInterrupt,
    IgnoreInterrupt,
    IgnoreSigint,
    NoStdin,
    Exit(u8),
    Die(i32),
    Half,
    Garbage,
    Huge { megabytes: usize },
    Stderr(String),
    Fork(Duration),
    Setsid(Duration),
    Background(Due),
    Subagent(Due),
    StopSelf,
}

/// When something in the background is done.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    At(Instant),
    Exists(PathBuf),
}

impl Due {
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::At(time) => Instant::now() >= *time,
            Self::Exists(path) => path.exists(),
        }
    }
}

/// Reads the script of a prompt: its last line that begins with a directive.
pub(crate) fn script(prompt: &str) -> Vec<Step> {
    let found = prompt.lines().rev().find_map(|line| {
        let mut steps = line.trim().split(" ;; ").map(|text| step(text.trim()));
        let first = steps.next()??;
        Some(std::iter::once(first).chain(steps.map(|step| step.unwrap_or_else(not_understood))).collect())
    });
    found.unwrap_or_else(|| vec![Step::Say("ok".to_owned())])
}

/// The numbers of `LINES` have six digits.
const MOST_LINES: u32 = 999_999;

fn not_understood() -> Step {
    Step::Error { status: 400, text: "directive not understood".to_owned() }
}

fn step(text: &str) -> Option<Step> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    Some(match word {
        "SAY" => Step::Say(rest.to_owned()),
        "SLOW" => Step::Slow { deltas: words.next()?.parse().ok()?, pause: milliseconds(words.next()?)? },
        "LINES" | "STAMPS" => Step::Lines {
            count: words.next()?.parse().ok().filter(|count| *count <= MOST_LINES)?,
            pause: milliseconds(words.next().unwrap_or("0"))?,
            bytes: words.next().unwrap_or("0").parse().ok()?,
            stamped: word == "STAMPS",
        },
        "TOOL" => tool(rest, 1, false)?,
        "ASK" => tool(rest, 1, true)?,
        "ASK2" => tool(rest, 2, true)?,
        "ASKS" => ask_at_once(rest)?,
        "QUESTION" => {
            let input = if rest.is_empty() { default_question() } else { serde_json::from_str(rest).ok()? };
            Step::Tool { calls: 1, asks: true, name: "AskUserQuestion".to_owned(), input }
        }
        "ELICIT" => Step::Elicit { asked: serde_json::from_str(rest).ok()?, done: None },
        "ELICITDONE" => {
            let (path, asked) = rest.split_once(' ')?;
            Step::Elicit { asked: serde_json::from_str(asked).ok()?, done: Some(path.into()) }
        }
        "RUN" => Step::Run(due(rest)?),
        "SHELL" if !rest.is_empty() => Step::Shell(rest.to_owned()),
        "HANG" => Step::Hang,
        "WAITFILE" if !rest.is_empty() => Step::WaitFile(rest.into()),
        "ERROR" => {
            let (status, text) = rest.split_once(' ').unwrap_or((rest, "scripted error"));
            Step::Error { status: status.parse().ok()?, text: text.to_owned() }
        }
        "RATELIMIT" => Step::RateLimit { seconds: words.next()?.parse().ok()?, over: words.next()?.into() },
        "LOGIN" => Step::Login,
        "ERRORAFTERINTERRUPT" => Step::ErrorAfterInterrupt,
        "IGNOREINTERRUPT" => Step::IgnoreInterrupt,
        "IGNORE" if rest == "sigint" => Step::IgnoreSigint,
        "NOSTDIN" => Step::NoStdin,
        "EXIT" => Step::Exit(rest.parse().ok()?),
        "DIE" => Step::Die(rest.parse().ok()?),
        "HALF" => Step::Half,
        "GARBAGE" => Step::Garbage,
        "HUGE" => Step::Huge { megabytes: rest.parse().ok()? },
        "STDERR" => Step::Stderr(rest.to_owned()),
        "FORK" => Step::Fork(seconds(rest)?),
        "SETSID" => Step::Setsid(seconds(rest)?),
        "BACKGROUND" => Step::Background(due(rest)?),
        "SUBAGENT" => Step::Subagent(due(rest)?),
        "STOPSELF" => Step::StopSelf,
        _ => return None,
    })
}

fn milliseconds(text: &str) -> Option<Duration> {
    Some(Duration::from_millis(text.parse().ok()?))
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn due(text: &str) -> Option<Due> {
    if text.is_empty() {
        return None;
    }
    Some(seconds(text).map_or_else(|| Due::Exists(text.into()), |time| Due::At(Instant::now() + time)))
}

fn tool(text: &str, calls: u32, asks: bool) -> Option<Step> {
    let (name, input) = if asks { asked_tool(text)? } else { named_tool(text)? };
    Some(Step::Tool { calls, asks, name, input })
}

/// The tool that is asked about, which is a shell command unless it is named.
fn asked_tool(text: &str) -> Option<(String, Value)> {
    if text.is_empty() {
        return Some(("Bash".to_owned(), json!({"command": "touch asked", "description": "d"})));
    }
    named_tool(text)
}

fn named_tool(text: &str) -> Option<(String, Value)> {
    let (name, input) = text.split_once(' ').unwrap_or((text, "{}"));
    let input = serde_json::from_str(input).ok()?;
    (!name.is_empty()).then(|| (name.to_owned(), input))
}

fn ask_at_once(text: &str) -> Option<Step> {
    let (calls, rest) = text.split_once(' ').unwrap_or((text, ""));
    let calls = calls.parse().ok().filter(|calls| *calls > 0)?;
    let (name, input) = asked_tool(rest)?;
    Some(Step::AskAtOnce { calls, name, input })
}

fn default_question() -> Value {
    let option = |label: &str| json!({"label": label, "description": label.to_lowercase()});
    json!({"questions": [{
        "question": "Which?", "header": "Pick", "options": [option("A"), option("B")], "multiSelect": false,
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_without_a_directive_is_answered_with_ok() {
        assert!(matches!(&script("hello\nSAYING so")[..], [Step::Say(text)] if text == "ok"));
    }

    #[test]
    fn a_wrong_step_behind_a_right_one_is_an_error_and_never_skipped() {
        assert!(matches!(&script("SAY a ;; SLOW")[..], [Step::Say(_), Step::Error { status: 400, .. }]));
    }

    #[test]
    fn what_is_no_number_of_seconds_is_a_file() {
        assert!(matches!(&script("BACKGROUND 0.5")[..], [Step::Background(Due::At(_))]));
        assert!(matches!(&script("BACKGROUND /x/y")[..], [Step::Background(Due::Exists(_))]));
    }
}
