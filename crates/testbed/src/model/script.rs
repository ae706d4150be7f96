//! The directives that a prompt may carry; their meaning is listed in the parent module.

use serde_json::Value;

/// What the model does in one round.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Say(String),
    Slow { deltas: u32, pause_ms: u64 },
    Think { deltas: u32, pause_ms: u64 },
    Tools(Vec<ToolCall>),
    Big { kilobytes: usize },
    Wait { token: String },
    Error { status: u16, text: String },
    Flaky { status: u16, failures: u32 },
    RateLimit { retry_after_s: u64 },
    Hang,
    Stall,
    Drop,
    MidError,
    MaxTokens,
    Refuse,
}

/// One tool call of a [`Step::Tools`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) input: Value,
}

/// A directive line and its steps; the error says which step nobody understands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Script {
    pub(super) line: String,
    pub(super) steps: Result<Vec<Step>, String>,
}

const WORDS: [&str; 15] = [
    "SAY",
    "SLOW",
    "THINK",
    "TOOL",
    "BIG",
    "WAIT",
    "ERROR",
    "FLAKY",
    "RATELIMIT",
    "HANG",
    "STALL",
    "DROP",
    "MIDERR",
    "MAXTOK",
    "REFUSE",
];

impl Script {
    /// Finds the script within a user's text: its last line that begins with a directive's word.
    pub(super) fn find(text: &str) -> Option<Self> {
        let line = text.lines().rev().map(str::trim).find(|line| {
            let word = line.split(' ').next().unwrap_or_default();
            WORDS.contains(&word)
        })?;
        Some(Self { line: line.to_owned(), steps: line.split(" ;; ").map(step).collect() })
    }
}

fn step(text: &str) -> Result<Step, String> {
    let text = text.trim();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let understood = match word {
        "SAY" => Some(Step::Say(rest.to_owned())),
        "SLOW" => two(rest).map(|(deltas, pause_ms)| Step::Slow { deltas, pause_ms }),
        "THINK" => two(rest).map(|(deltas, pause_ms)| Step::Think { deltas, pause_ms }),
        "TOOL" => return tools(rest).map(Step::Tools),
        "BIG" => rest.parse().ok().map(|kilobytes| Step::Big { kilobytes }),
        "WAIT" => (!rest.is_empty()).then(|| Step::Wait { token: rest.to_owned() }),
        "ERROR" => {
            let (status, text) = rest.split_once(' ').unwrap_or((rest, "scripted error"));
            http_error(status).map(|status| Step::Error { status, text: text.to_owned() })
        }
        "FLAKY" => rest.split_once(' ').and_then(|(status, failures)| {
            Some(Step::Flaky { status: http_error(status)?, failures: failures.parse().ok()? })
        }),
        "RATELIMIT" => rest.parse().ok().map(|retry_after_s| Step::RateLimit { retry_after_s }),
        "HANG" => Some(Step::Hang),
        "STALL" => Some(Step::Stall),
        "DROP" => Some(Step::Drop),
        "MIDERR" => Some(Step::MidError),
        "MAXTOK" => Some(Step::MaxTokens),
        "REFUSE" => Some(Step::Refuse),
        _ => None,
    };
    understood.ok_or_else(|| format!("directive not understood: {text}"))
}

fn two<A: std::str::FromStr, B: std::str::FromStr>(text: &str) -> Option<(A, B)> {
    let (first, second) = text.split_once(' ')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

fn http_error(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (400..=599).contains(status))
}

fn tools(text: &str) -> Result<Vec<ToolCall>, String> {
    text.split(" && TOOL ")
        .map(|call| {
            let (name, input) = call.trim().split_once(' ').unwrap_or((call, "{}"));
            let input = serde_json::from_str(input)
                .map_err(|error| format!("tool input of {name} not understood: {error}"))?;
            Ok(ToolCall { name: name.to_owned(), input })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(text: &str) -> Result<Vec<Step>, String> {
        Script::find(text).map_or(Err("no script".to_owned()), |script| script.steps)
    }

    #[test]
    fn the_last_directive_line_of_a_text_counts() {
        assert_eq!(steps("please\nSAY one\n SAY two \nthanks"), Ok(vec![Step::Say("two".to_owned())]));
        assert_eq!(Script::find("just SAY nothing"), None);
        assert_eq!(Script::find("SAYING so"), None);
    }

    #[test]
    fn rounds_and_parallel_tools_are_told_apart() {
        let call = |name: &str, input| ToolCall { name: name.to_owned(), input };
        assert_eq!(
            steps(r#"TOOL Bash {"command":"a && b"} && TOOL Read {"file_path":"x"} ;; SLOW 3 20 ;; HANG"#),
            Ok(vec![
                Step::Tools(vec![
                    call("Bash", json!({"command": "a && b"})),
                    call("Read", json!({"file_path": "x"}))
                ]),
                Step::Slow { deltas: 3, pause_ms: 20 },
                Step::Hang,
            ])
        );
    }

    #[test]
    fn a_directive_with_wrong_arguments_is_an_error_and_never_a_guess() {
        for wrong in ["SLOW 3", "ERROR 200 fine", "WAIT", "TOOL Bash {", "SAY a ;; NOSUCH b", "FLAKY 529"] {
            assert!(steps(wrong).is_err(), "{wrong}");
        }
    }
}
