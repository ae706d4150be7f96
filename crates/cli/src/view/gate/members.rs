//! The members of a JSON object as they stand: in their order, repeated names too, each value to the byte.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::rows::{Rows, Side};
use crate::escape;
use crate::style::Ink;

/// Names with what they stand for.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; `None` if the text is something else.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads an object in which no name comes twice: what comes twice is read by some as the first and by others as the
    /// last.
    pub(super) fn read_distinct(text: &'a str) -> Option<Self> {
        let members = Self::read(text)?;
        let mut names: Vec<&str> = members.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.is_sorted_by(|one, next| one < next).then_some(members)
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(at).1)
    }

    /// Takes a text out; `None` if there is none, or if it is something else.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        serde_json::from_str(self.take(name)?.get()).ok()
    }

    /// Shows them by their names; a text that tells all by itself needs none.
    pub(super) fn draw(&self, rows: &mut Rows, tells_all: impl Fn(&str) -> bool) {
        for (name, value) in &self.0 {
            let told = escape::line(name);
            match serde_json::from_str::<String>(value.get()) {
                Ok(text) if tells_all(name) => draw_text(rows, &text, ""),
                Ok(text) if text.contains('\n') => {
                    rows.line(Side::PLAIN, Ink::Plain, &format!("{told}:"));
                    draw_text(rows, &text, "    ");
                }
                Ok(text) => rows.line(Side::PLAIN, Ink::Plain, &format!("{told}: {}", escape::line(&text))),
                Err(_) => draw_json(rows, &format!("{told}: {}", value.get())),
            }
        }
    }
}

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'a> Visitor<'a> for InOrder {
            type Value = Members<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

/// Shows JSON as it stands.
pub(super) fn draw_json(rows: &mut Rows, text: &str) {
    for line in escape::json(text).split('\n') {
        rows.line(Side::PLAIN, Ink::Plain, line);
    }
}

/// Shows a text; tabs are written out, a line end at the end is shown by an empty line.
fn draw_text(rows: &mut Rows, text: &str, indent: &str) {
    for line in text.split('\n') {
        rows.line(Side::PLAIN, Ink::Plain, &format!("{indent}{}", escape::line(line)));
    }
}
