//! Schemas of the core's words, which know nothing of `OpenAPI`.

use lockkeeper_core::manner::Unasked;
use lockkeeper_core::policy::{RuleScope, ToolKind};
use lockkeeper_core::session::Status;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

fn words<'a>(description: &str, words: impl IntoIterator<Item = &'a str>) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some(description))
        .enum_values(Some(words))
        .build()
}

/// The same words for members that are null where there is nothing to say.
pub(crate) mod or_null {
    use utoipa::openapi::schema::{Object, SchemaType, Type};

    macro_rules! or_null {
        ($($name:ident)*) => { $(
            pub(crate) fn $name() -> Object {
                or_null(super::$name())
            }
        )* };
    }

    or_null! { class parked stage extent tool_outcome effect unasked }

    fn or_null(mut words: Object) -> Object {
        words.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
        words.enum_values.get_or_insert_default().push(serde_json::Value::Null);
        words
    }
}

pub(crate) fn status() -> Object {
    words("The status, derived from the session's state.", Status::ALL.map(Status::word))
}

pub(crate) fn class() -> Object {
    words(
        "How urgent a prompt is. Within a class, first come is first served.",
        ["background", "normal", "urgent"],
    )
}

pub(crate) fn on_preempt() -> Object {
    words("What becomes of a turn that is cut short.", ["continue", "hold", "drop"])
}

pub(crate) fn parked() -> Object {
    words("Why a prompt waits until somebody lets it go.", ["by_choice", "tool_unknown"])
}

pub(crate) fn claim_state() -> Object {
    words("How a claim stands.", ["waiting", "held", "suspended"])
}

pub(crate) fn lifetime() -> Object {
    words("Whether the session ends with its turn.", ["one_shot", "kept"])
}

pub(crate) fn stage() -> Object {
    words("How far the turn came.", ["sending", "accepted", "written", "running"])
}

pub(crate) fn turn_by() -> Object {
    words("Whose idea the turn was.", ["prompt", "agent"])
}

pub(crate) fn gate_kind() -> Object {
    words("What the gate asks for.", ["permission", "question", "plan", "elicitation", "login"])
}

pub(crate) fn withdrawal() -> Object {
    words("Why the gate closed without a decision.", ["by_agent", "interrupted", "stopped", "process_gone"])
}

pub(crate) fn extent() -> Object {
    words("Whether the item is all of it, or was cut.", ["whole", "partial"])
}

pub(crate) fn tool_outcome() -> Object {
    words("How the tool call ended.", ["ok", "failed", "denied", "cut", "unknown"])
}

/// Any JSON value, kept to the byte.
pub(crate) fn json() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("Any JSON value, kept to the byte."))
        .build()
}

pub(crate) fn layer() -> Object {
    words("Whose rules they are.", ["admin", "user", "project", "session"])
}

pub(crate) fn effect() -> Object {
    words("What a rule does with a step.", ["allow", "notify", "ask", "deny"])
}

pub(crate) fn risk() -> Object {
    words("How dangerous a step is.", ["low", "medium", "high"])
}

pub(crate) fn through() -> Object {
    words("By what right it was decided.", ["person", "rule", "bypass", "expiry", "agent"])
}

pub(crate) fn rule_scope() -> Object {
    words("How far a rule reaches that is made of a decision.", RuleScope::ALL.map(RuleScope::word))
}

pub(crate) fn unasked() -> Object {
    words("What an agent does without asking.", Unasked::ALL.map(Unasked::word))
}

pub(crate) fn tool_kinds() -> utoipa::openapi::Array {
    let kinds = ToolKind::ALL.map(ToolKind::word);
    utoipa::openapi::Array::new(words("What kind of thing a tool does.", kinds))
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::{gate, item, prompt, session, turn};
    use serde::Serialize;

    use super::*;

    fn check<T: Serialize>(schema: &Object, values: &[T]) {
        let said = serde_json::to_value(schema.enum_values.as_ref()).unwrap_or_default();
        let written = serde_json::to_value(values).unwrap_or_default();
        assert_eq!(said, written);
    }

    #[test]
    fn the_words_of_the_schemas_are_those_that_serde_writes() {
        use gate::{GateKind as G, Withdrawal as W};
        use item::{Extent as E, ToolOutcome as T};
        use lockkeeper_core::claim::ClaimState as C;
        use session::Stage as S;
        check(&status(), &Status::ALL);
        check(&class(), &[prompt::Class::Background, prompt::Class::Normal, prompt::Class::Urgent]);
        check(
            &on_preempt(),
            &[prompt::OnPreempt::Continue, prompt::OnPreempt::Hold, prompt::OnPreempt::Drop],
        );
        check(&parked(), &[prompt::Parked::ByChoice, prompt::Parked::ToolUnknown]);
        check(&claim_state(), &[C::Waiting, C::Held, C::Suspended]);
        check(&lifetime(), &[session::Lifetime::OneShot, session::Lifetime::Kept]);
        check(&stage(), &[S::Sending, S::Accepted, S::Written, S::Running]);
        check(&turn_by(), &[turn::TurnBy::Prompt, turn::TurnBy::Agent]);
        check(&gate_kind(), &[G::Permission, G::Question, G::Plan, G::Elicitation, G::Login]);
        check(&withdrawal(), &[W::ByAgent, W::Interrupted, W::Stopped, W::ProcessGone]);
        check(&extent(), &[E::Whole, E::Partial]);
        check(&tool_outcome(), &[T::Ok, T::Failed, T::Denied, T::Cut, T::Unknown]);
    }
}
