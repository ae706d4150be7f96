#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use serde_json::json;

use super::*;

fn form(properties: &str, required: &[&str]) -> Elicitation {
    let required = json!(required);
    let schema = format!(r#"{{"type": "object", "properties": {properties}, "required": {required}}}"#);
    let input = format!(r#"{{"server": "s", "message": "m", "requested_schema": {schema}}}"#);
    Elicitation::read(&Json::parse(&input).unwrap())
}

#[test]
fn a_value_has_to_fit_its_field() {
    let (no, yes) = (false, true);
    for (property, value, fits) in [
        (r#"{"type": "string"}"#, json!("x"), yes),
        (r#"{"type": "string"}"#, json!(7), no),
        (r#"{"type": "string"}"#, json!(null), no),
        (r#"{"type": "string", "minLength": 2, "maxLength": 3}"#, json!("ä"), no),
        (r#"{"type": "string", "minLength": 2, "maxLength": 3}"#, json!("äöü"), yes),
        (r#"{"type": "string", "minLength": 2, "maxLength": 3}"#, json!("äöüß"), no),
        // A keyword that only the server judges.
        (r#"{"type": "string", "format": "email"}"#, json!("no address"), yes),
        (r#"{"type": "string", "enum": ["a", "b"]}"#, json!("b"), yes),
        (r#"{"type": "string", "enum": ["a", "b"]}"#, json!("c"), no),
        (r#"{"type": "string", "oneOf": [{"const": "0f0", "title": "Green"}]}"#, json!("0f0"), yes),
        (r#"{"type": "string", "oneOf": [{"const": "0f0", "title": "Green"}]}"#, json!("Green"), no),
        (r#"{"type": "integer"}"#, json!(3), yes),
        (r#"{"type": "integer"}"#, json!(3.0), yes),
        (r#"{"type": "integer"}"#, json!(3.5), no),
        (r#"{"type": "integer"}"#, json!("3"), no),
        (r#"{"type": "number", "minimum": 0.5, "maximum": 2}"#, json!(0.5), yes),
        (r#"{"type": "number", "minimum": 0.5, "maximum": 2}"#, json!(0.4), no),
        (r#"{"type": "number", "minimum": 0.5, "maximum": 2}"#, json!(2.1), no),
        (r#"{"type": "boolean"}"#, json!(false), yes),
        (r#"{"type": "boolean"}"#, json!("false"), no),
        (r#"{"type": "array", "items": {"enum": ["a", "b"]}}"#, json!(["b", "a"]), yes),
        (r#"{"type": "array", "items": {"enum": ["a", "b"]}}"#, json!(["c"]), no),
        (r#"{"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}"#, json!(["a"]), yes),
        (r#"{"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}"#, json!(["A"]), no),
        (r#"{"type": "array", "minItems": 1, "maxItems": 2}"#, json!([]), no),
        (r#"{"type": "array", "minItems": 1, "maxItems": 2}"#, json!(["a", "b", "c"]), no),
        (r#"{"type": "array"}"#, json!("a"), no),
        // What forms do not have is the server's to judge.
        (r#"{"type": "object"}"#, json!({"a": 1}), yes),
        (r#"{"type": ["string", "null"]}"#, json!(null), yes),
        ("true", json!(1), yes),
    ] {
        let form = form(&format!(r#"{{"field": {property}}}"#), &[]);
        let checked = form.check(&json!({ "field": value }));
        assert_eq!(checked.is_ok(), fits, "{property} {value}: {checked:?}");
        if let Err(why) = checked {
            assert!(why.starts_with("the field field must be "), "{why}");
        }
    }
}

#[test]
fn what_is_wrong_names_the_field() {
    let form = form(
        r#"{"name": {"type": "string", "minLength": 2}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "code": {"type": "string", "minLength": 2, "maxLength": 3},
            "of": {"type": "string", "enum": ["a", "b"]}, "any": {"type": "array", "minItems": 1, "items": {"enum": ["x"]}}}"#,
        &["name"],
    );
    let why = |answers: Value| form.check(&answers).unwrap_err();
    assert_eq!(why(json!({})), "the field name must be filled in");
    assert_eq!(why(json!({"name": ""})), "the field name must be a text of at least 2 characters");
    assert_eq!(why(json!({"name": "Ada", "age": -1})), "the field age must be a whole number from 0 to 150");
    assert_eq!(why(json!({"name": "Ada", "code": ""})), "the field code must be a text of 2 to 3 characters");
    assert_eq!(why(json!({"name": "Ada", "of": "c"})), "the field of must be one of: a, b");
    assert_eq!(
        why(json!({"name": "Ada", "any": []})),
        "the field any must be a list of at least 1 out of: x"
    );
    assert_eq!(why(json!({"nmae": "Ada"})), "there is no field nmae; there are: name, age, code, of, any");
    assert_eq!(why(json!(["Ada"])), "the answers must be a JSON object: field → value");
    assert_eq!(form.check(&json!({"name": "Ada"})), Ok(()), "what is not required may be left out");
}

#[test]
fn fields_are_in_the_order_of_the_server() {
    let form = form(
        r#"{"z": {"type": "string", "enum": ["1", "2"], "enumNames": ["One"], "default": "2"},
            "a": {"type": "boolean", "title": "A", "description": "why"}}"#,
        &["a"],
    );
    let [z, a] = &form.fields()[..] else { panic!("{form:?}") };
    assert_eq!((z.name.as_str(), z.required, z.default.clone()), ("z", false, Some(json!("2"))));
    let choice =
        |value: &str, title: Option<&str>| Choice { value: json!(value), title: title.map(str::to_owned) };
    assert_eq!(z.choices, [choice("1", Some("One")), choice("2", None)]);
    assert_eq!((a.name.as_str(), a.required), ("a", true));
    assert_eq!((a.title.as_deref(), a.description.as_deref()), (Some("A"), Some("why")));
}

#[test]
fn an_input_of_another_shape_is_a_form_without_fields() {
    for input in
        ["{}", "[]", "7", r#"{"requested_schema": 7}"#, r#"{"requested_schema": {"properties": []}}"#]
    {
        let asked = Elicitation::read(&Json::parse(input).unwrap());
        assert_eq!((asked.fields().len(), asked.check(&json!({}))), (0, Ok(())), "{input}");
    }
}
