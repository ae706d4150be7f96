//! A server that asks the user for something within a tool call.

use crate::LOOK_EVERY;
use crate::agent::{Agent, Stop};
use crate::flags::Kind;
use crate::gate::{By, Gate};
use crate::tools::Fate;
use crate::turn::Call;
use serde_json::{Value, json};
use std::path::Path;

const SERVER: &str = "asker";
const TOOL: &str = "mcp__asker__ask";

impl Agent {
    /// Calls a tool of a server, which asks for this; its result is what it is answered.
    pub(crate) fn elicit(&mut self, asked: &Value, done: Option<&Path>) -> Result<(), Stop> {
        let input = json!({"ask": asked});
        let id = self.call_tool(TOOL, &input)?;
        if !self.may_run(TOOL, &input, &id)? {
            return Ok(());
        }
        if let Some(turn) = &mut self.turn {
            turn.calls.push(Call { id: id.clone(), name: TOOL.to_owned(), input, asked: false });
        }
        let answer = if asked["url"].is_string() && self.facts.kind == Kind::Older {
            json!({"code": -32602, "message": "MCP error -32602: Client does not support URL-mode elicitation requests"})
        } else {
            self.send_elicitation(asked)?;
            self.until_elicited(asked, done)?
        };
        if let Some(turn) = &mut self.turn {
            turn.calls.retain(|call| call.id != id);
        }
        let content = json!([{"type": "text", "text": answer.to_string()}]);
        let block = json!({"tool_use_id": id, "type": "tool_result", "content": content});
        Ok(self.tool_result(&block, &content, Fate::Ran(By::Person))?)
    }

    fn send_elicitation(&mut self, asked: &Value) -> Result<(), Stop> {
        let newer = self.facts.kind == Kind::Newer;
        if newer {
            self.change_state("requires_action")?;
        }
        let mut request = json!({
            "subtype": "elicitation", "mcp_server_name": SERVER, "message": asked["message"],
        });
        if asked["url"].is_string() {
            request["mode"] = "url".into();
            request["url"] = asked["url"].clone();
            request["elicitation_id"] = asked["elicitationId"].clone();
        } else {
            request["mode"] = "form".into();
            request["requested_schema"] = asked["requestedSchema"].clone();
            if let (true, Some(properties)) = (newer, asked["requestedSchema"]["properties"].as_object()) {
                request["property_order"] = properties.keys().cloned().collect::<Vec<String>>().into();
            }
        }
        let request = json!({"type": "control_request", "request_id": self.wire.uuid(), "request": request});
        self.wire.line(&request)?;
        self.gates.push(Gate::new(request, self.ended));
        Ok(())
    }

    /// Waits for the answer, and tells once that the page was visited.
    fn until_elicited(&mut self, asked: &Value, mut done: Option<&Path>) -> Result<Value, Stop> {
        loop {
            match self.gates.iter().find(|gate| gate.is_elicitation()) {
                Some(gate) if gate.is_answered() => break,
                Some(_) => self.pause(LOOK_EVERY)?,
                None => return Err(Stop::Interrupted),
            }
            if done.take_if(|done| done.exists()).is_some() {
                let name = &asked["elicitationId"];
                let complete = json!({"mcp_server_name": SERVER, "elicitation_id": name});
                self.system("elicitation_complete", complete)?;
            }
        }
        self.change_state("running")?;
        let gate = self.gates.pop_if(|gate| gate.is_elicitation());
        let answer = gate.and_then(Gate::into_answer).filter(|it| it["subtype"] == "success");
        Ok(answer.map_or_else(|| json!({"action": "cancel"}), |answer| answer["response"].clone()))
    }
}
