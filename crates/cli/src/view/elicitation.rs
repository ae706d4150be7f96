//! What a server of the agent asks for, as people see it and answer it.

use lockkeeper_api::elicitation::{Choice, Elicitation, Field, FieldKind, said};
use lockkeeper_api::{Decision, Json};
use serde_json::{Map, Value};

use crate::escape;

/// What is asked, in a line of its own each.
pub(super) fn lines(elicitation: &Elicitation) -> Vec<String> {
    let mut lines: Vec<String> =
        elicitation.message.split('\n').map(|line| escape::line(line).into_owned()).collect();
    lines.extend(elicitation.url.iter().map(|url| escape::line(url).into_owned()));
    lines.extend(elicitation.fields().iter().flat_map(field));
    lines
}

fn field(field: &Field) -> Vec<String> {
    let mut facts = vec![if field.choices.is_empty() { field.wants() } else { count(field.kind).to_owned() }];
    facts.extend(field.format.iter().map(|format| format!("format {format}")));
    facts.extend(field.required.then(|| "required".to_owned()));
    facts.extend(field.default.iter().map(|default| format!("default {}", said(default))));
    facts.extend(field.title.iter().chain(&field.description).cloned());
    let line = format!("  {}: {}", field.name, facts.join(", "));
    let choice = |(no, Choice { value, title }): (usize, &Choice)| {
        let title = title.as_ref().map(|title| format!(": {title}")).unwrap_or_default();
        format!("    {}  {}{title}", no + 1, said(value))
    };
    let choices = field.choices.iter().enumerate().map(choice);
    std::iter::once(line).chain(choices).map(|line| escape::line(&line).into_owned()).collect()
}

fn count(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::List { .. } => "some of",
        FieldKind::Text { .. } | FieldKind::Number { .. } | FieldKind::Flag | FieldKind::Other => "one of",
    }
}

/// The value that somebody means by a text: a choice by its number, its title or itself, several with commas between
/// them, or a text, a number or a yes. Whether the field takes it is looked at elsewhere.
pub(crate) fn typed(field: &Field, text: &str) -> Value {
    match field.kind {
        FieldKind::List { .. } => {
            let one = chosen(&field.choices, text).map(|value| vec![value]);
            let each = |text: &str| chosen(&field.choices, text).unwrap_or_else(|| text.into());
            let several =
                || text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(each).collect();
            Value::Array(one.unwrap_or_else(several))
        }
        _ if !field.choices.is_empty() => chosen(&field.choices, text).unwrap_or_else(|| text.into()),
        FieldKind::Text { .. } => text.into(),
        FieldKind::Flag => match text {
            "true" | "yes" | "y" => true.into(),
            "false" | "no" | "n" => false.into(),
            text => text.into(),
        },
        FieldKind::Number { .. } | FieldKind::Other => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
    }
}

fn chosen(choices: &[Choice], text: &str) -> Option<Value> {
    let by_value = choices.iter().find(|choice| said(&choice.value) == text);
    let by_title = || choices.iter().find(|choice| choice.title.as_deref() == Some(text));
    let by_number = || choices.get(text.parse::<usize>().ok()?.checked_sub(1)?);
    by_value.or_else(by_title).or_else(by_number).map(|choice| choice.value.clone())
}

/// The decision that fills in the form with these values, and with the defaults of the other fields.
pub(crate) fn filled_in(fields: &[Field], mut values: Map<String, Value>) -> Decision {
    for field in fields {
        if let (Some(default), false) = (&field.default, values.contains_key(&field.name)) {
            values.insert(field.name.clone(), default.clone());
        }
    }
    #[expect(clippy::expect_used, reason = "a map whose keys are texts can always be JSON")]
    let answers = Json::of(&values).expect("a map is JSON");
    Decision::Answer { answers }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_typed_becomes_a_value_of_its_field() -> serde_json::Result<()> {
        let titled =
            json!([{"const": "0f0", "title": "Green"}, {"const": "00f", "title": "2"}, {"const": "1"}]);
        for (property, text, value) in [
            (json!({"type": "string"}), "7", json!("7")),
            (json!({"type": "string"}), "", json!("")),
            (json!({"type": "integer"}), "7", json!(7)),
            (json!({"type": "number"}), "-7.5", json!(-7.5)),
            (json!({"type": "number"}), "seven", json!("seven")),
            (json!({"type": "boolean"}), "yes", json!(true)),
            (json!({"type": "boolean"}), "false", json!(false)),
            (json!({"type": "boolean"}), "perhaps", json!("perhaps")),
            (json!({"type": "string", "enum": ["a", "b"]}), "2", json!("b")),
            (json!({"type": "string", "enum": ["a", "b"]}), "b", json!("b")),
            (json!({"type": "string", "enum": ["a", "b"]}), "c", json!("c")),
            // A value comes before a title, and a title before a number.
            (json!({"type": "string", "oneOf": titled}), "1", json!("1")),
            (json!({"type": "string", "oneOf": titled}), "2", json!("00f")),
            (json!({"type": "string", "oneOf": titled}), "Green", json!("0f0")),
            (json!({"type": "array", "items": {"anyOf": titled}}), "Green, 3", json!(["0f0", "1"])),
            (json!({"type": "array", "items": {"enum": ["a, b", "c"]}}), "a, b", json!(["a, b"])),
            (json!({"type": "array", "items": {"enum": ["a"]}}), "", json!([])),
            (json!({"type": "object"}), r#"{"a": 1}"#, json!({"a": 1})),
        ] {
            let schema = json!({"requested_schema": {"properties": {"f": property}}});
            let fields = Elicitation::read(&Json::parse(&schema.to_string())?).fields();
            assert_eq!(fields.first().map(|field| typed(field, text)), Some(value), "{property} {text:?}");
        }
        Ok(())
    }
}
