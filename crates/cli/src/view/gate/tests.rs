//! What people see of a gate, and what they never do.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::escape::HOSTILE;
use crate::view::tests::api_gate;
use crate::view::tool_summary;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PLAIN: Style = Style { colour: false, unicode: true };

fn drawn(tool: &str, input: &Value, held: &Held, size: Size) -> Result<String> {
    Ok(draw(&api_gate(tool, &input.to_string())?, held, size, Some(72), PLAIN).text)
}

#[test]
fn a_change_of_a_file_is_shown_as_a_change() -> Result {
    let old = "fn main() {\n\tlet a = 1;\r\n    let b = 2;\n}";
    let new = "fn main() {\n\tlet a = 2;\r\n    let b = 2;\n}\n";
    let edit =
        json!({"file_path": "/code/app/src/a.rs", "old_string": old, "new_string": new, "replace_all": true});
    let several = json!({"file_path": "/code/app/b.rs", "why": "a\nb", "edits": [
        {"old_string": "one", "new_string": "two"},
        {"old_string": "", "new_string": "three\n", "replace_all": false, "note": {"a": 1}},
        {"old_string": "four", "new_string": ""},
        {"old_string": "same", "new_string": "same"},
    ]});
    let cell = json!({"notebook_path": "/code/n.ipynb", "cell_id": "c1", "edit_mode": "insert", "new_source": "x = 1\ny = 2"});
    let text: Result<Vec<String>> = [("Edit", edit), ("MultiEdit", several), ("NotebookEdit", cell)]
        .iter()
        .map(|(tool, input)| drawn(tool, input, &Held::Unknown, Size::Bounded))
        .collect();
    insta::assert_snapshot!(text?.join("\n"));
    Ok(())
}

#[test]
fn a_file_that_is_written_is_shown_against_what_it_holds() -> Result {
    let lines = |count: u32| (1..=count).map(|no| format!("line {no}\n")).collect::<Vec<_>>().concat();
    let text = lines(30);
    let other = text.replace("line 15\n", "line fifteen\n").replace("line 30\n", "line 30");
    let cases = [
        (other.as_str(), Held::Text(text.clone())),
        (text.as_str(), Held::Text(text.clone())),
        ("one\ntwo", Held::Nothing),
        ("one\n", Held::Hidden("it is no text".to_owned())),
        ("one\n", Held::Unknown),
        ("", Held::Text("one\n".to_owned())),
        ("a\r\n", Held::Text("a\n".to_owned())),
    ];
    let texts: Result<Vec<String>> = cases
        .iter()
        .map(|(content, held)| {
            drawn("Write", &json!({"file_path": "a.txt", "content": content}), held, Size::Bounded)
        })
        .collect();
    insta::assert_snapshot!(texts?.join("\n"));
    // All of it is all of the input.
    let input = json!({"file_path": "a.txt", "content": other});
    let whole = drawn("Write", &input, &Held::Text(text), Size::Whole)?;
    assert!((1..=30).filter(|no| *no != 15).all(|no| whole.contains(&format!("line {no}\n"))), "{whole}");
    Ok(())
}

#[test]
fn a_change_in_another_form_is_shown_as_it_stands() -> Result {
    let cases = [
        (
            "Edit",
            r#"{"file_path":"a","old_string":"x","new_string":"y","new_string":"z"}"#,
            "│ new_string: y\n│ new_string: z\n",
        ),
        (
            "Edit",
            r#"{"file_path":"a","old_string":"x","new_string":["y"]}"#,
            "│ old_string: x\n│ new_string: [\"y\"]\n",
        ),
        ("Edit", r#"{"file_path":"a","old_string":"x"}"#, "│ file_path: a\n│ old_string: x\n"),
        ("Edit", r#"{"file_path":"a","old_string":"\ud800","new_string":""}"#, "│ old_string: \"\\ud800\"\n"),
        ("MultiEdit", r#"{"file_path":"a","edits":[]}"#, "│ file_path: a\n│ edits: []\n"),
        (
            "MultiEdit",
            r#"{"file_path":"a","edits":[{"old_string":"x","old_string":"w","new_string":"y"}]}"#,
            "│ edits: [{\"old_string\":\"x\",\"old_string\":\"w\",\"new_string\":\"y\"}]\n",
        ),
        ("Write", r#"{"file_path":7,"content":"x"}"#, "│ file_path: 7\n│ content: x\n"),
        // Another tool may mean something else by these names.
        (
            "mcp__x__Edit",
            r#"{"file_path":"a","old_string":"x","new_string":"y"}"#,
            "│ old_string: x\n│ new_string: y\n",
        ),
    ];
    for (tool, input, expected) in cases {
        let text = draw(&api_gate(tool, input)?, &Held::Unknown, Size::Bounded, Some(72), PLAIN).text;
        assert!(text.contains(expected), "{tool} {input}: {text}");
    }
    Ok(())
}

#[test]
fn the_signs_of_a_change_are_there_without_colour_and_in_every_row() -> Result {
    let long = |c: &str| c.repeat(100);
    let input = json!({"file_path": "a", "old_string": long("o"), "new_string": long("n")});
    let gate = api_gate("Edit", &input.to_string())?;
    let text = draw(&gate, &Held::Unknown, Size::Bounded, Some(60), Style::PLAIN).text;
    let rows: Vec<&str> = text.lines().filter(|row| row.contains("ooo") || row.contains("nnn")).collect();
    let marks: Vec<&str> = rows.iter().filter_map(|row| row.get(..3)).collect();
    assert_eq!(marks, ["| -", ": -", "| +", ": +"], "{text}");
    let colour = Style { colour: true, unicode: false };
    let coloured = draw(&gate, &Held::Unknown, Size::Bounded, Some(60), colour).text;
    assert!(coloured.contains("\u{1b}[31m-ooo") && coloured.contains("\u{1b}[32m+nnn"), "{coloured}");
    Ok(())
}

#[test]
fn nothing_that_a_terminal_obeys_gets_into_a_box() -> Result {
    let all = HOSTILE.map(|(raw, _)| format!("a{raw}b ")).concat();
    let input = |tool: &str| match tool {
        "Bash" => json!({"command": all, "other": all, "deep": {"a": all}, all.as_str(): all}),
        "Edit" => {
            json!({"file_path": all, "old_string": all, "new_string": format!("{all}\nx"), "deep": [all]})
        }
        "Write" => json!({"file_path": all, "content": all, all.as_str(): 1}),
        _ => json!({"questions": [{"question": all, "options": [{"label": all, "description": all}]}]}),
    };
    for (tool, held) in [
        ("Bash", Held::Unknown),
        ("Edit", Held::Unknown),
        ("Write", Held::Text(format!("{all}\nheld"))),
        ("Write", Held::Hidden(all.clone())),
        ("Ask", Held::Unknown),
    ] {
        let mut gate = api_gate(tool, &input(tool).to_string())?;
        gate.reason = Some(all.clone());
        gate.dir.clone_from(&all);
        if tool == "Ask" {
            gate.kind = GateKind::Question;
        }
        // Wide enough that no escape is broken over two rows.
        let text = draw(&gate, &held, Size::Bounded, None, PLAIN).text;
        let summary = tool_summary(tool, &gate.input, "/", 500, PLAIN);
        for (raw, shown) in HOSTILE {
            assert!(!text.contains(raw), "{tool} {raw:?}: {text:?}");
            assert!(text.contains(shown) && text.contains("│ "), "{tool} {shown}: {text}");
            assert!(!summary.contains(raw), "{tool} {raw:?}: {summary:?}");
        }
    }
    Ok(())
}

#[test]
fn hostile_texts_in_a_box() -> Result {
    let all = HOSTILE.map(|(raw, _)| format!("a{raw}b\n")).concat();
    let edit = json!({"file_path": "a\u{202e}b", "old_string": "x\n", "new_string": all});
    let texts = [
        drawn("Bash", &json!({"command": all, "why": "\u{301}"}), &Held::Unknown, Size::Bounded)?,
        drawn("Edit", &edit, &Held::Unknown, Size::Bounded)?,
    ];
    insta::assert_snapshot!(texts.join("\n"));
    Ok(())
}

#[test]
fn a_long_gate_takes_two_screens_and_says_how_much_is_missing() -> Result {
    let text = (1..=1000).map(|no| format!("line {no}\n")).collect::<Vec<_>>().concat();
    let input = json!({"command": text, "other": 1});
    let gate = api_gate("Bash", &input.to_string())?;
    let drawn = draw(&gate, &Held::Unknown, Size::Bounded, Some(40), PLAIN);
    assert!(drawn.is_cut);
    assert!(drawn.text.lines().all(|row| row.width() <= 40), "{}", drawn.text);
    insta::assert_snapshot!(drawn.text);
    let whole = draw(&gate, &Held::Unknown, Size::Whole, Some(40), PLAIN);
    assert!(!whole.is_cut && whole.text.lines().count() > 1000);
    // Saying that one row is missing takes the room of that row.
    let rows = |count: usize| {
        let input = json!({"command": vec!["x"; count].join("\n")}).to_string();
        let drawn = draw(&api_gate("Bash", &input)?, &Held::Unknown, Size::Bounded, Some(200), PLAIN);
        Ok::<_, Box<dyn std::error::Error>>((drawn.text.lines().count(), drawn.is_cut))
    };
    assert_eq!(rows(78)?, (81, false));
    assert_eq!(rows(79)?, (81, true));
    Ok(())
}

#[test]
fn megabytes_of_any_kind_are_a_few_rows() -> Result {
    // What took time by the square of it would take minutes.
    const SIZE: usize = 1_000_000;
    let long = "x".repeat(SIZE);
    let lines = "x\n".repeat(SIZE / 2);
    let other = lines.replacen('x', "y", 3);
    let numbers =
        |from: usize| (from..from + SIZE / 10).map(|no| format!("{no}\n")).collect::<Vec<_>>().concat();
    let cases = [
        ("Bash", json!({"command": "x".repeat(10 * SIZE)}), Held::Unknown),
        ("Bash", json!({"command": "\n".repeat(SIZE)}), Held::Unknown),
        ("Bash", json!({"command": format!("e{}", "\u{301}".repeat(SIZE / 2))}), Held::Unknown),
        ("Bash", json!({"command": "\u{202e}".repeat(SIZE / 3)}), Held::Unknown),
        ("mcp__x", json!(vec![0; SIZE / 2]), Held::Unknown),
        (
            "mcp__x",
            json!((0..SIZE / 10).map(|no| (no.to_string(), json!(no))).collect::<serde_json::Map<_, _>>()),
            Held::Unknown,
        ),
        ("Edit", json!({"file_path": "a", "old_string": lines, "new_string": other}), Held::Unknown),
        // Nothing is alike: the fewest changes are not looked for.
        (
            "Edit",
            json!({"file_path": "a", "old_string": numbers(0), "new_string": numbers(SIZE)}),
            Held::Unknown,
        ),
        ("Write", json!({"file_path": "a", "content": lines}), Held::Text(other.clone())),
        ("Write", json!({"file_path": "a", "content": long}), Held::Nothing),
    ];
    for (tool, input, held) in cases {
        let gate = api_gate(tool, &input.to_string())?;
        for columns in [Some(72), None] {
            let drawn = draw(&gate, &held, Size::Bounded, columns, PLAIN);
            let rows = drawn.text.lines().count();
            assert!(drawn.is_cut && rows <= 84 && drawn.text.len() < 400_000, "{tool} {rows}");
        }
        assert!(tool_summary(tool, &gate.input, &gate.dir, 200, PLAIN).width() <= 200, "{tool}");
    }
    Ok(())
}
