//! One command per file: its arguments, and what it does.

pub(crate) mod agents;
pub(crate) mod allow;
pub(crate) mod always;
pub(crate) mod answer;
pub(crate) mod attach;
pub(crate) mod audit;
pub(crate) mod bypass;
pub(crate) mod claim;
pub(crate) mod claims;
pub(crate) mod completion;
pub(crate) mod daemon;
pub(crate) mod demo_agent;
pub(crate) mod deny;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod gates;
pub(crate) mod help;
pub(crate) mod interrupt;
pub(crate) mod kill;
pub(crate) mod label;
pub(crate) mod logs;
pub(crate) mod ls;
mod own_claim;
pub(crate) mod queue;
pub(crate) mod rename;
pub(crate) mod resume;
pub(crate) mod rm;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod version;
pub(crate) mod wait;
mod watch;
pub(crate) mod webhook;
pub(crate) mod welcome;
pub(crate) mod why;

use std::collections::BTreeMap;
use std::io::Read as _;

use clap::ValueEnum;
use lockkeeper_api::{Class, OnPreempt, Session, Status, StopReceipt, Time, Unasked, limits};

use crate::clock::Times;
use crate::context::Context;
use crate::escape;
use crate::failure::{Failure, Outcome};
use crate::refs;
use crate::style::{Style, status_ink};

/// How urgent a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Urgency {
    /// Whenever there is nothing else
    Background,
    /// What people type
    Normal,
    /// Before all others
    Urgent,
}

impl From<Urgency> for Class {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Background => Self::Background,
            Urgency::Normal => Self::Normal,
            Urgency::Urgent => Self::Urgent,
        }
    }
}

/// What becomes of a turn that is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Afterwards {
    /// A new turn goes on with it
    Continue,
    /// The same, once somebody lets it go
    Hold,
    /// Nothing
    Drop,
}

impl From<Afterwards> for OnPreempt {
    fn from(afterwards: Afterwards) -> Self {
        match afterwards {
            Afterwards::Continue => Self::Continue,
            Afterwards::Hold => Self::Hold,
            Afterwards::Drop => Self::Drop,
        }
    }
}

/// Who gives way to whom.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Preempted {
    /// Cut a turn of a lower class short instead of waiting for its end
    #[arg(long)]
    pub(crate) preempt: bool,
    /// What becomes of its own turn, should something more urgent cut that short
    #[arg(long, value_enum, default_value = "continue", value_name = "WHAT")]
    pub(crate) on_preempt: Afterwards,
}

impl Preempted {
    /// Whether anything but the usual is asked for.
    fn is_asked(self) -> bool {
        self.preempt || OnPreempt::from(self.on_preempt) != OnPreempt::default()
    }
}

/// Says so where nobody will be asked about anything.
pub(crate) fn tell_unasked(context: &Context, mode: Option<&str>, unasked: Option<Unasked>) {
    if let (Some(mode), Some(Unasked::Everything)) = (mode, unasked) {
        context.out.note(format!("the agent in mode {}: {}", escape::line(mode), Unasked::Everything.told()));
    }
}

/// The word of a class.
pub(crate) fn class_word(class: Class) -> &'static str {
    class.word()
}

/// A status and since when: `running for 3m`, `completed 3m ago`.
pub(crate) fn status_since(status: Status, since: Time, times: Times, style: Style) -> String {
    let when = if status.is_end() { times.ago(since) } else { times.lasting(since) };
    format!("{} {}", style.ink(status_ink(status), status.word()), style.dim(&when))
}

/// The same as a sentence about a session: `fix is running for 3m`, `fix completed 3m ago`.
pub(crate) fn sentence(title: &str, status: Status, since: Time, times: Times, style: Style) -> String {
    let verb = if status.is_end() { "" } else { "is " };
    format!("{} {verb}{}", style.bold(title), status_since(status, since, times, style))
}

/// A session and its status, with a line end: `fix is idle`, `fix stopped`.
pub(crate) fn how_it_is(session: &Session) -> String {
    let verb = if session.status.is_end() { "" } else { "is " };
    format!("{} {verb}{}\n", refs::title(session), session.status)
}

/// How a session has ended, and what it will not do any more, with a line end: `fix stopped; 2 prompts that waited were
/// dropped`.
pub(crate) fn how_it_ended(receipt: &StopReceipt) -> String {
    format!("{}{}\n", how_it_is(&receipt.session).trim_end(), dropped(receipt.dropped))
}

/// Prompts that were dropped, behind what they were dropped by; empty if there were none.
pub(crate) fn dropped(prompts: u32) -> String {
    match prompts {
        0 => String::new(),
        1 => "; 1 prompt that waited was dropped".to_owned(),
        many => format!("; {many} prompts that waited were dropped"),
    }
}

/// Reads a prompt: `-` stands for standard input.
pub(crate) fn read_prompt(words: &[String]) -> Outcome<String> {
    let text = if words.len() == 1 && words[0] == "-" {
        let bytes = read_stdin()?;
        String::from_utf8(bytes).map_err(|_| Failure::usage("the prompt on standard input is not UTF-8"))?
    } else {
        words.join(" ")
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the prompt is empty"));
    }
    Ok(text)
}

/// Reads standard input to its end, and no more than a request may hold: what is longer is refused, and there may be no end.
pub(crate) fn read_stdin() -> Outcome<Vec<u8>> {
    let most = limits::REQUEST_BYTES;
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(Failure::usage(format!(
            "standard input is longer than {} MB, which no request may be",
            most >> 20
        )));
    }
    Ok(bytes)
}

/// Reads an idempotency key as the daemon takes it, in a header.
pub(crate) fn key(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if visible && (1..=limits::KEY_BYTES).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("it must have between 1 and {} visible ASCII characters", limits::KEY_BYTES))
}

/// Reads `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// Pairs as a map; a key that comes twice is refused.
pub(crate) fn unique(what: &str, pairs: Vec<(String, String)>) -> Outcome<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value).is_some() {
            return Err(Failure::usage(format!("the {what} {key} is given twice")));
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_was_and_everything_else_is() {
        let at = Time::from_wall_ms;
        let told =
            |status, times| sentence("fix", status, at(0), times, Style { colour: false, unicode: true });
        assert_eq!(told(Status::Running, Times::Relative(at(60_000))), "fix is running for 1m");
        assert_eq!(told(Status::Stopped, Times::Relative(at(60_000))), "fix stopped 1m ago");
        assert_eq!(told(Status::Failed, Times::Exact), "fix failed 1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn prompts_that_are_dropped_are_told_if_there_are_any() {
        let told = [0, 1, 2].map(dropped);
        let wanted = ["", "; 1 prompt that waited was dropped", "; 2 prompts that waited were dropped"];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_key_is_what_a_header_may_hold() {
        for good in ["k", "nightly 2026-10-01", &"a".repeat(limits::KEY_BYTES)] {
            assert_eq!(key(good).as_deref(), Ok(good));
        }
        for bad in ["", "a\nb", "\u{e4}", "a\u{7f}", &"a".repeat(limits::KEY_BYTES + 1)] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pair_needs_a_key_and_keeps_every_later_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("A="), Ok(("A".to_owned(), String::new())));
        assert!(pair("=b").is_err());
        assert!(pair("A").is_err());
        let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert!(unique("label", twice).is_err());
    }

    #[test]
    fn the_words_of_a_prompt_are_joined() {
        assert_eq!(read_prompt(&["add".to_owned(), "a test".to_owned()]).ok(), Some("add a test".to_owned()));
        assert!(read_prompt(&[" ".to_owned()]).is_err());
    }
}
