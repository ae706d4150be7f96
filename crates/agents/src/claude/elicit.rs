//! What servers of the agent ask its user for.

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::elicitation::Elicitation;
use lockkeeper_core::gate::{Ask, GateKind};
use lockkeeper_core::json::Json;
use serde_json::value::RawValue;

use super::line::{ControlRequest, SystemLine};
use super::tools::{empty_object, json};
use super::uses::tool_use;
use crate::Decoded;
use crate::clip::clip;
use crate::limits::ASKS;

/// What a gate of this kind calls what is asked.
const TOOL: &str = "elicitation";

/// What was asked and not answered.
#[derive(Debug, Default)]
pub(super) struct Elicitations(Vec<Open>);

#[derive(Debug)]
struct Open {
    request: Json,
    server: String,
    /// The name of the visit to a page, by which the agent tells that it is over; empty if there is none.
    visit: String,
}

impl Elicitations {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `elicitation`.
    pub(super) fn asked(&mut self, id: &RawValue, request: &ControlRequest<'_>, out: &mut Vec<Decoded>) {
        if self.0.len() == ASKS {
            self.0.remove(0);
        }
        let server = request.mcp_server_name.text().to_owned();
        let visit = request.elicitation_id.text().to_owned();
        self.0.push(Open { request: json(id), server: server.clone(), visit });
        let elicitation = Elicitation {
            server,
            message: request.message.text().to_owned(),
            url: (request.mode.text() == "url").then(|| request.url.text().to_owned()),
            requested_schema: request.requested_schema.map(json),
        };
        let input = Json::of(&elicitation).unwrap_or_else(empty_object);
        let tool_use = Box::new(tool_use(TOOL, &input));
        let ask = Ask {
            request: json(id),
            kind: GateKind::Elicitation,
            tool: TOOL.to_owned(),
            input,
            title: request.title.get().or(request.description.get()).map(clip),
            call: None,
            reason: None,
            // The agent does not say for which tool or subagent the server asks, and a server may ask at any time.
            beside_turn: true,
            announced: false,
            suggestions: None,
        };
        out.push(Decoded::Says(AgentSays::Asked { ask, tool_use }));
    }

    /// Our answer was written, or `control_cancel_request` came.
    pub(super) fn closed(&mut self, id: &RawValue) {
        self.0.retain(|open| open.request.as_str() != id.get());
    }

    /// `elicitation_complete`: a page was visited. The agent goes on waiting for an answer.
    pub(super) fn completed(&self, line: &SystemLine<'_>, out: &mut Vec<Decoded>) {
        let (server, visit) = (line.mcp_server_name.text(), line.elicitation_id.text());
        let open = self.0.iter().find(|open| open.visit == visit && open.server == server);
        if let Some(open) = open.filter(|open| !open.visit.is_empty()) {
            out.push(Decoded::Says(AgentSays::AskFulfilled { request: open.request.clone() }));
        }
    }
}
