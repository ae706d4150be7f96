//! What a server of the agent asks its user for: values of a form, or a visit to a page.
//!
//! A form is described by the part of JSON Schema that the Model Context Protocol allows for it: an object whose
//! properties are no objects
//! (<https://modelcontextprotocol.io/specification/2025-11-25/client/elicitation>). Other keywords, such as `format`,
//! are for the server to judge.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::Json;

/// The input of a gate of this kind, as adapters make it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elicitation {
    /// The server that asks.
    pub server: String,
    /// What it says to the user.
    pub message: String,
    /// The page that it wants visited; then there is no form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The form, as a JSON schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_schema: Option<Json>,
}

impl Elicitation {
    /// Reads the input of a gate; one of another shape is a form without fields.
    pub fn read(input: &Json) -> Self {
        serde_json::from_str(input.as_str()).unwrap_or_default()
    }

    /// The fields of its form, in its order. One that cannot be read takes anything.
    pub fn fields(&self) -> Vec<Field> {
        let schema = self.requested_schema.as_ref().map_or("{}", Json::as_str);
        let Schema { properties, required } = serde_json::from_str(schema).unwrap_or_default();
        let field = |(name, raw): (String, Value)| {
            let property = serde_json::from_value(raw).unwrap_or_default();
            Field::new(required.contains(&name), name, property)
        };
        properties.0.into_iter().map(field).collect()
    }

    /// Whether these answers fill in the form.
    ///
    /// # Errors
    /// What is wrong, with the name of the field.
    pub fn check(&self, answers: &Value) -> Result<(), String> {
        let Value::Object(answers) = answers else {
            return Err("the answers must be a JSON object: field → value".to_owned());
        };
        let fields = self.fields();
        if let Some(name) = answers.keys().find(|name| fields.iter().all(|field| field.name != **name)) {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(format!("there is no field {name}; there are: {}", names.join(", ")));
        }
        fields.iter().try_for_each(|field| field.check_in(answers))
    }
}

/// A field of a form.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name, by which it is answered.
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The form of its text, such as `email`, in the word of the server, which judges it.
    pub format: Option<String>,
    /// Whether it must be filled in.
    pub required: bool,
    /// What it takes.
    pub kind: FieldKind,
    /// The values that it takes; any of its kind, if there are none. Those of a list are what may stand in it.
    pub choices: Vec<Choice>,
    /// Its value if nobody says another.
    pub default: Option<Value>,
}

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FieldKind {
    /// A text, of so many characters.
    Text {
        /// At least.
        least: Option<u64>,
        /// At most.
        most: Option<u64>,
    },
    /// A number.
    Number {
        /// Whether it has to be whole.
        whole: bool,
        /// The least that it may be.
        least: Option<f64>,
        /// The most.
        most: Option<f64>,
    },
    /// True or false.
    Flag,
    /// Some of the choices.
    List {
        /// At least so many.
        least: Option<u64>,
        /// At most.
        most: Option<u64>,
    },
    /// Something that forms do not have; the server judges it.
    Other,
}

/// A value that may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// It.
    pub value: Value,
    /// What people call it.
    pub title: Option<String>,
}

impl Field {
    fn new(required: bool, name: String, property: Property) -> Self {
        let kind = match property.kind.as_str() {
            "string" => FieldKind::Text { least: property.min_length, most: property.max_length },
            "number" | "integer" => FieldKind::Number {
                whole: property.kind == "integer",
                least: property.minimum,
                most: property.maximum,
            },
            "boolean" => FieldKind::Flag,
            "array" => FieldKind::List { least: property.min_items, most: property.max_items },
            _ => FieldKind::Other,
        };
        let choices = match (kind, property.items) {
            (FieldKind::List { .. }, Some(items)) => items.choices(),
            (_, _) => property.choices.choices(),
        };
        let Property { title, description, format, default, .. } = property;
        Self { name, title, description, format, required, kind, choices, default }
    }

    fn check_in(&self, answers: &Map<String, Value>) -> Result<(), String> {
        match answers.get(&self.name) {
            Some(value) => self.check(value),
            None if self.required => Err(format!("the field {} must be filled in", self.name)),
            None => Ok(()),
        }
    }

    /// Whether it takes this value.
    ///
    /// # Errors
    /// What is wrong, with its name.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if self.takes(value) {
            Ok(())
        } else {
            Err(format!("the field {} must be {}", self.name, self.wants()))
        }
    }

    fn takes(&self, value: &Value) -> bool {
        let chosen = |value: &Value| {
            self.choices.is_empty() || self.choices.iter().any(|choice| choice.value == *value)
        };
        match (self.kind, value) {
            (FieldKind::Text { least, most }, Value::String(text)) => {
                within(text.chars().count(), least, most) && chosen(value)
            }
            (FieldKind::Number { whole, least, most }, Value::Number(number)) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                (!whole || number.fract() == 0.0)
                    && least.is_none_or(|least| number >= least)
                    && most.is_none_or(|most| number <= most)
                    && chosen(value)
            }
            (FieldKind::Flag, Value::Bool(_)) => chosen(value),
            (FieldKind::List { least, most }, Value::Array(list)) => {
                within(list.len(), least, most) && list.iter().all(chosen)
            }
            (FieldKind::Other, _) => true,
            (
                FieldKind::Text { .. } | FieldKind::Number { .. } | FieldKind::Flag | FieldKind::List { .. },
                _,
            ) => false,
        }
    }

    /// What it takes, in words: `a whole number from 0 to 150`.
    pub fn wants(&self) -> String {
        let choices: Vec<String> = self.choices.iter().map(|choice| said(&choice.value)).collect();
        let choices = choices.join(", ");
        match self.kind {
            FieldKind::List { least, most } => {
                let count = range(least, most, "of ").map(|range| format!(" {range}")).unwrap_or_default();
                if choices.is_empty() {
                    format!("a list{count}")
                } else {
                    format!("a list{count} out of: {choices}")
                }
            }
            _ if !choices.is_empty() => format!("one of: {choices}"),
            FieldKind::Text { least, most } => match range(least, most, "of ") {
                Some(range) => format!("a text {range} characters"),
                None => "a text".to_owned(),
            },
            FieldKind::Number { whole, least, most } => {
                let what = if whole { "a whole number" } else { "a number" };
                range(least, most, "").map_or_else(|| what.to_owned(), |range| format!("{what} {range}"))
            }
            FieldKind::Flag => "true or false".to_owned(),
            FieldKind::Other => "what the server takes".to_owned(),
        }
    }
}

fn within(count: usize, least: Option<u64>, most: Option<u64>) -> bool {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    least.is_none_or(|least| count >= least) && most.is_none_or(|most| count <= most)
}

fn range<N: fmt::Display>(least: Option<N>, most: Option<N>, of: &str) -> Option<String> {
    match (least, most) {
        (Some(least), Some(most)) if of.is_empty() => Some(format!("from {least} to {most}")),
        (Some(least), Some(most)) => Some(format!("{of}{least} to {most}")),
        (Some(least), None) => Some(format!("{of}at least {least}")),
        (None, Some(most)) => Some(format!("{of}at most {most}")),
        (None, None) => None,
    }
}

/// A value as people type it: a text without its quotes.
pub fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Schema {
    properties: InOrder<Value>,
    required: BTreeSet<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Property {
    #[serde(rename = "type")]
    kind: String,
    title: Option<String>,
    description: Option<String>,
    format: Option<String>,
    default: Option<Value>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    items: Option<Choices>,
    #[serde(flatten)]
    choices: Choices,
}

/// The three ways in which choices are told.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Choices {
    #[serde(rename = "enum")]
    values: Vec<Value>,
    /// Of `enum`, in the same order.
    enum_names: Vec<String>,
    one_of: Vec<Titled>,
    any_of: Vec<Titled>,
}

#[derive(Deserialize)]
struct Titled {
    #[serde(rename = "const")]
    value: Value,
    title: Option<String>,
}

impl Choices {
    fn choices(self) -> Vec<Choice> {
        let mut names = self.enum_names.into_iter();
        let plain = self.values.into_iter().map(|value| Choice { value, title: names.next() });
        let titled = self.one_of.into_iter().chain(self.any_of);
        plain.chain(titled.map(|Titled { value, title }| Choice { value, title })).collect()
    }
}

/// The members of an object in their order.
struct InOrder<T>(Vec<(String, T)>);

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Members<T> {
            type Value = InOrder<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(InOrder(members))
            }
        }
        from.deserialize_map(Members(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests;
