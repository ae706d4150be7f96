//! Many calls that are asked about at once, each of which is over once it is answered.
//!
//! The real agent asks about the calls of one message one after the other; this is for sessions that have many open
//! questions.

use crate::agent::{Agent, Stop};
use crate::gate::Verdict;
use crate::result::Ending;
use crate::turn::Call;
use serde_json::Value;
use std::mem;

impl Agent {
    /// Calls a tool so many times, asks about every call, and then takes the answers in the order in which they come.
    pub(crate) fn ask_at_once(
        &mut self,
        calls: u32,
        name: &str,
        input: &Value,
    ) -> Result<Option<Ending>, Stop> {
        let calls = self.call_many(calls, name, input)?;
        self.message_stop()?;
        let asks = self.has_to_ask(name);
        let mut waiting = Vec::new();
        for mut call in calls {
            let opened = self.open_call(&call, asks)?;
            match self.verdict_unasked(&mut call, &opened, asks)? {
                Some(verdict) => self.finish_call(&call, verdict)?,
                None => waiting.push(call),
            }
        }
        while !waiting.is_empty() {
            let (id, verdict) = self.wait_for_answer()?;
            if matches!(verdict, Verdict::Abort) {
                return self.abort_all().map(Some);
            }
            if let Some(answered) = waiting.iter().position(|call| id == call.id.as_str()) {
                self.finish_call(&waiting.remove(answered), verdict)?;
            }
        }
        Ok(None)
    }

    /// Ends the turn with all calls that are not over, and takes back what was asked about them.
    fn abort_all(&mut self) -> Result<Ending, Stop> {
        self.withdraw_gates()?;
        let calls: Vec<Call> = self.turn.as_mut().map(|turn| mem::take(&mut turn.calls)).unwrap_or_default();
        Ok(self.abort_calls(&calls)?)
    }
}
