//! A tool call in a few words.

use lockkeeper_api::Json;

use serde_json::Value;

use super::gate::questions_in;
use crate::cut;
use crate::style::Style;

/// The member of the input that says most, by tool.
const TELLING: [(&str, &[&str]); 14] = [
    ("Bash", &["command"]),
    ("Read", &["file_path"]),
    ("Write", &["file_path"]),
    ("Edit", &["file_path"]),
    ("NotebookEdit", &["notebook_path"]),
    ("Grep", &["pattern", "path"]),
    ("Glob", &["pattern", "path"]),
    ("WebFetch", &["url"]),
    ("WebSearch", &["query"]),
    ("Task", &["description"]),
    ("Agent", &["description"]),
    ("Skill", &["skill"]),
    ("login", &["message"]),
    ("elicitation", &["server", "message", "url"]),
];

/// Members that say most in tools that are not known, best first.
const USUAL: [&str; 9] =
    ["command", "file_path", "path", "pattern", "url", "query", "description", "prompt", "name"];

/// What the call is about, in so many columns. Paths below the workspace are told from there.
pub(crate) fn summary(tool: &str, input: &Json, dir: &str, columns: usize, style: Style) -> String {
    let value = input.value();
    let member = |name: &&str| value.get(name).and_then(Value::as_str);
    let members: Vec<&str> = TELLING
        .iter()
        .find(|(name, _)| *name == tool)
        .map(|(_, members)| members.iter().filter_map(member).collect())
        .unwrap_or_default();
    let told = if members.is_empty() {
        USUAL.iter().find_map(member).map(str::to_owned).or_else(|| asked(input))
    } else {
        Some(members.join("  "))
    };
    match told {
        Some(text) => cut::summary(&below(&text, dir), columns, style),
        None if matches!(input.as_str(), "{}" | "null") => String::new(),
        None => cut::summary(input.as_str(), columns, style),
    }
}

/// The questions that a call asks.
fn asked(input: &Json) -> Option<String> {
    let texts: Vec<String> = questions_in(input).into_iter().map(|question| question.text).collect();
    (!texts.is_empty()).then(|| texts.join("  "))
}

fn below(text: &str, dir: &str) -> String {
    let root = format!("{}/", dir.trim_end_matches('/'));
    text.strip_prefix(&root).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_what_says_most() -> serde_json::Result<()> {
        let cases = [
            ("Bash", r#"{"description":"d","command":"npm  test\n--all"}"#, "npm test --all"),
            ("Write", r#"{"file_path":"/code/app/src/a.rs","content":"x"}"#, "src/a.rs"),
            ("Grep", r#"{"pattern":"fn main","path":"/etc"}"#, "fn main /etc"),
            ("mcp__x", r#"{"query":"q"}"#, "q"),
            ("mcp__x", r#"{"a":1}"#, r#"{"a":1}"#),
            (
                "AskUserQuestion",
                r#"{"questions":[{"question":"Which?"},{"question":"Why?"}]}"#,
                "Which? Why?",
            ),
            ("elicitation", r#"{"server":"s","message":"m","requested_schema":{}}"#, "s m"),
            ("mcp__x", "{}", ""),
            ("Bash", r#"{"command":"a\u001b[2Jb"}"#, "a\\e[2Jb"),
        ];
        for (tool, input, expected) in cases {
            let told = summary(tool, &Json::parse(input)?, "/code/app", 80, Style::PLAIN);
            assert_eq!(told, expected, "{tool} {input}");
        }
        Ok(())
    }
}
