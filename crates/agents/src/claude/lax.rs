//! Members that are read if they have the type that we know, and are nothing otherwise.
//!
//! A version that changes the type of one member must not cost us the whole line.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A text, borrowed from the line where it has no escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Str<'a>(Option<Cow<'a, str>>);

impl<'a> Str<'a> {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text, or the empty one.
    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub(super) fn into_cow(self) -> Cow<'a, str> {
        self.0.unwrap_or_default()
    }
}

/// A number without sign and fraction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Int(pub(super) Option<u64>);

impl Int {
    pub(super) fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }

    pub(super) fn u32(self) -> u32 {
        u32::try_from(self.or_zero()).unwrap_or(u32::MAX)
    }
}

/// Any number.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Float(pub(super) Option<f64>);

impl Float {
    /// The number times `factor`, rounded to a whole one; none below zero.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    pub(super) fn scaled(self, factor: f64) -> Option<u64> {
        self.0.filter(|number| *number >= 0.0).map(|number| (number * factor).round() as u64)
    }
}

/// True, or anything else.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flag(pub(super) bool);

/// Reads a member that is kept raw.
pub(super) fn member<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// The methods of a visitor for what is not the type that we know.
macro_rules! absent {
    ($($visit:ident: $of:ty),*) => {
        $(fn $visit<E>(self, _: $of) -> Result<Self::Value, E> { Ok(Self::Value::default()) })*
    };
    (unit) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (nested) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

pub(super) use absent;

/// An object, or nothing.
#[derive(Debug)]
pub(super) struct Obj<T>(pub(super) Option<T>);

impl<T> Default for Obj<T> {
    fn default() -> Self {
        Self(None)
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Str<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'de>, E> {
        Ok(Str(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Str<'de>, E> {
        Ok(Str(Some(Cow::Owned(text.to_owned()))))
    }

    absent!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64);
    absent!(unit);
    absent!(nested);
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrVisitor)
    }
}

struct ObjVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjVisitor<T> {
    type Value = Obj<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Obj<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|object| Obj(Some(object)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Obj<T>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Obj(None))
    }

    absent!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);
    absent!(unit);
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Obj<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ObjVisitor(PhantomData))
    }
}

macro_rules! lax {
    ($visitor:ident -> $value:ty { $($body:tt)* }) => {
        struct $visitor;

        impl<'de> Visitor<'de> for $visitor {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            $($body)*
            absent!(visit_str: &str);
            absent!(unit);
            absent!(nested);
        }

        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any($visitor)
            }
        }
    };
}

lax!(IntVisitor -> Int {
    fn visit_u64<E>(self, number: u64) -> Result<Int, E> {
        Ok(Int(Some(number)))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Int, E> {
        Ok(Int(Float(Some(number)).scaled(1.0)))
    }
    absent!(visit_bool: bool, visit_i64: i64);
});

lax!(FloatVisitor -> Float {
    #[expect(clippy::cast_precision_loss, reason = "costs and delays are far below 2^53")]
    fn visit_u64<E>(self, number: u64) -> Result<Float, E> {
        Ok(Float(Some(number as f64)))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Float, E> {
        Ok(Float(Some(number)))
    }
    absent!(visit_bool: bool, visit_i64: i64);
});

lax!(FlagVisitor -> Flag {
    fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
        Ok(Flag(flag))
    }
    absent!(visit_u64: u64, visit_i64: i64, visit_f64: f64);
});
