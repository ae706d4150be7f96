//! `stream_event`: what the model streams.

use serde::Deserialize;

use crate::claude::lax::{Int, Obj, Str};

/// An event of the model's API, inside `stream_event`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Event<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Str<'a>,
    pub(crate) index: Int,
    pub(crate) delta: Obj<Delta<'a>>,
    pub(crate) content_block: Obj<BlockStart<'a>>,
    pub(crate) message: Obj<MessageStart<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Delta<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Str<'a>,
    pub(crate) text: Str<'a>,
    pub(crate) thinking: Str<'a>,
    pub(crate) partial_json: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct BlockStart<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Str<'a>,
    pub(crate) id: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct MessageStart<'a> {
    pub(crate) id: Str<'a>,
}
