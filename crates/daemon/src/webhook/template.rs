//! Templates: what a delivery says, put into words that the configuration gives.

use std::collections::BTreeMap;
use std::io;

use lockkeeper_core::limits as core_limits;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};

use crate::limits;

/// What templates may speak of.
const KNOWN: &[&str] = &["body", "event", "headers", "delivery", "webhook"];

/// The setting whose text becomes the prompt.
pub(super) const PROMPT: &str = "prompt";

/// Templates of one webhook, by the setting that they come from.
pub(super) struct Templates(Environment<'static>);

/// A delivery, as templates see it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) delivery: String,
    pub(crate) event: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: serde_json::Value,
}

impl Templates {
    pub(super) fn new() -> Self {
        let mut templates = Environment::new();
        // A missing field is an error that names it, never an empty place in a prompt.
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // Without this, the error of a release build does not know the name.
        templates.set_debug(true);
        templates.set_fuel(Some(limits::TEMPLATE_FUEL));
        templates.set_formatter(print);
        Self(templates)
    }

    /// Takes a template, or says what is wrong with it.
    pub(super) fn add(&mut self, setting: &'static str, text: &str) -> Result<(), String> {
        self.0.add_template_owned(setting, text.to_owned()).map_err(|error| told(&error))?;
        let template = self.0.get_template(setting).map_err(|error| told(&error))?;
        self.knows(template.undeclared_variables(false))
    }

    /// Looks at a condition, and says what is wrong with it.
    pub(super) fn check(&self, condition: &str) -> Result<(), String> {
        let condition = self.0.compile_expression(condition).map_err(|error| told(&error))?;
        self.knows(condition.undeclared_variables(false))
    }

    fn knows(&self, variables: impl IntoIterator<Item = String>) -> Result<(), String> {
        let given = |name: &String| {
            KNOWN.contains(&name.as_str()) || self.0.globals().any(|(global, _)| global == name)
        };
        match variables.into_iter().find(|name| !given(name)) {
            Some(name) => Err(format!("it speaks of {name}, and there is only {}", KNOWN.join(", "))),
            None => Ok(()),
        }
    }

    /// What a template makes of a delivery.
    pub(super) fn fill(&self, setting: &'static str, context: &Value) -> Result<String, String> {
        let template = self.0.get_template(setting).map_err(|error| told(&error))?;
        let mut text = Bounded(Vec::new());
        match template.render_captured_to(context.clone(), &mut text) {
            Ok(_) => Ok(String::from_utf8_lossy(&text.0).into_owned()),
            Err(error) if error.kind() == ErrorKind::WriteFailure => {
                Err(format!("{setting}: the text is longer than {} bytes", core_limits::PROMPT_BYTES))
            }
            Err(error) => Err(format!("{setting}: {}", told(&error))),
        }
    }

    /// Whether a condition is met.
    pub(super) fn holds(&self, condition: &str, context: &Value) -> Result<bool, String> {
        let of = |error: minijinja::Error| format!("when: {}", told(&error));
        let met = self.0.compile_expression(condition).map_err(of)?.eval(context.clone()).map_err(of)?;
        if met.is_undefined() {
            return Err(format!("when: `{condition}` is undefined"));
        }
        Ok(met.is_true())
    }
}

impl Message {
    pub(super) fn context(&self, webhook: &str) -> Value {
        let mut context = serde_json::json!({
            "body": self.body,
            "headers": self.headers,
            "delivery": self.delivery,
            "webhook": webhook,
        });
        // One that is not told is a field that is not there.
        if let (Some(event), Some(fields)) = (&self.event, context.as_object_mut()) {
            fields.insert("event".to_owned(), event.clone().into());
        }
        Value::from(Serde(context))
    }
}

/// Texts and numbers as they are, and the rest as the JSON that it came as. Nothing is no name of a session, a label or a
/// topic: all deliveries without one would be about the same.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    if value.is_none() && state.name() != PROMPT {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "the field is null"));
    }
    if !matches!(value.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Seq | ValueKind::Map) {
        return escape_formatter(out, state, value);
    }
    let json = serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    out.write_str(&json).map_err(minijinja::Error::from)
}

fn told(error: &minijinja::Error) -> String {
    let line =
        error.line().filter(|line| *line > 1).map(|line| format!(" (line {line})")).unwrap_or_default();
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps".to_owned(),
        (_, Some(detail)) => format!("{detail}{line}"),
        (kind, None) => format!("{kind}{line}"),
    }
}

/// A text that ends where a prompt must.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > core_limits::PROMPT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
