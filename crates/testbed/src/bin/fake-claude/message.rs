//! The messages of the model that there is not: their stream events and their complete lines.

use crate::agent::{Agent, Stop};
use crate::flags::Kind;
use crate::play::may_die_at;
use crate::shapes;
use crate::wire::timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

impl Agent {
    /// Says that the model is being asked.
    pub(crate) fn request(&mut self) -> io::Result<()> {
        let mut members = json!({"status": "requesting"});
        if let Some(turn) = &mut self.turn {
            turn.rounds += 1;
            if self.facts.kind == Kind::Newer && !turn.uuids.is_empty() {
                members["user_message_uuids"] = json!(turn.uuids);
            }
        }
        self.system("status", members)
    }

    /// Replays the prompts of the turn, once.
    pub(crate) fn acknowledge_prompts(&mut self) -> io::Result<()> {
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.acknowledged) else { return Ok(()) };
        turn.acknowledged = true;
        let prompts = std::mem::take(&mut turn.prompts);
        for prompt in &prompts {
            self.acknowledge(prompt)?;
        }
        Ok(())
    }

    pub(crate) fn begin_message(&mut self) -> io::Result<()> {
        self.request()?;
        if self.facts.kind == Kind::Newer {
            self.acknowledge_prompts()?;
        }
        let id = self.wire.id("msg");
        let mut extra = json!({"ttft_ms": 1});
        if let Some(turn) = &mut self.turn {
            turn.open = Some((id.clone(), String::new()));
            turn.block = 0;
            turn.silent = false;
            if self.facts.kind == Kind::Newer {
                extra["thinking_display"] = "updates".into();
                if !turn.named_prompts && !turn.uuids.is_empty() {
                    extra["owed_rows"] = json!([]);
                    extra = shapes::with(extra, shapes::answering(&turn.uuids));
                }
            }
        }
        let message = json!({
            "id": id, "type": "message", "role": "assistant", "model": self.facts.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": shapes::message_usage(),
        });
        self.event(&json!({"type": "message_start", "message": message}), extra)
    }

    /// Writes an event of the model's stream, if those are wanted.
    pub(crate) fn event(&mut self, event: &Value, extra: Value) -> io::Result<()> {
        if !self.flags.partial {
            return Ok(());
        }
        let uuid = self.wire.uuid();
        let mut line = json!({
            "type": "stream_event", "event": event, "session_id": self.session.id, "parent_tool_use_id": null,
            "uuid": uuid,
        });
        if self.facts.kind == Kind::Newer {
            let open = self.turn.as_ref().and_then(|turn| turn.open.as_ref());
            line["api_message_id"] = open.map(|(id, _)| id.clone()).into();
        }
        self.wire.line(&shapes::with(line, extra))
    }

    pub(crate) fn begin_text(&mut self) -> io::Result<()> {
        self.begin_block(&json!({"type": "text", "text": ""}))
    }

    pub(crate) fn begin_block(&mut self, empty: &Value) -> io::Result<()> {
        let index = self.turn.as_ref().map_or(0, |turn| turn.block);
        self.event(&json!({"type": "content_block_start", "index": index, "content_block": empty}), json!({}))
    }

    pub(crate) fn delta(&mut self, text: &str) -> io::Result<()> {
        let index = self.turn.as_ref().map_or(0, |turn| turn.block);
        if let Some((_, so_far)) = self.turn.as_mut().and_then(|turn| turn.open.as_mut()) {
            so_far.push_str(text);
        }
        let delta = json!({"type": "text_delta", "text": text});
        self.event(&json!({"type": "content_block_delta", "index": index, "delta": delta}), json!({}))?;
        may_die_at("delta");
        Ok(())
    }

    /// Completes the open text block: its line comes before the stream's own end of the block.
    pub(crate) fn end_text(&mut self) -> io::Result<()> {
        let text = self
            .turn
            .as_mut()
            .and_then(|turn| turn.open.as_mut())
            .map(|(_, text)| std::mem::take(text))
            .unwrap_or_default();
        self.block_line(&json!({"type": "text", "text": text}))?;
        self.end_block()?;
        self.note_said(&text);
        Ok(())
    }

    pub(crate) fn note_said(&mut self, text: &str) {
        let Some(turn) = &mut self.turn else { return };
        text.clone_into(&mut turn.said);
        let uuids = turn.uuids.clone();
        for uuid in uuids {
            self.session.note_answer(&uuid, text);
        }
    }

    pub(crate) fn end_block(&mut self) -> io::Result<()> {
        let index = self.turn.as_ref().map_or(0, |turn| turn.block);
        self.event(&json!({"type": "content_block_stop", "index": index}), json!({}))?;
        if let Some(turn) = &mut self.turn {
            turn.block += 1;
        }
        Ok(())
    }

    /// Writes an `assistant` line with one block of the open message.
    pub(crate) fn block_line(&mut self, block: &Value) -> io::Result<()> {
        if self.facts.kind == Kind::Older {
            self.acknowledge_prompts()?;
        }
        let line = self.assistant_line(block);
        self.wire.line(&line)
    }

    pub(crate) fn assistant_line(&mut self, block: &Value) -> Value {
        let id = self
            .turn
            .as_ref()
            .and_then(|turn| turn.open.as_ref())
            .map_or_else(|| "msg_none".to_owned(), |(id, _)| id.clone());
        let (uuid, request) = (self.wire.uuid(), self.wire.id("req"));
        let mut line = json!({
            "type": "assistant", "message": shapes::message(&self.facts, &id, block), "parent_tool_use_id": null,
            "session_id": self.session.id, "uuid": uuid, "request_id": request,
        });
        if self.facts.kind == Kind::Newer {
            line["timestamp"] = timestamp().into();
            if let Some(turn) = self.turn.as_mut().filter(|turn| !turn.named_prompts) {
                turn.named_prompts = true;
                line = shapes::with(line, shapes::answering(&turn.uuids));
            }
        }
        line
    }

    /// Ends the open message.
    pub(crate) fn end_message(&mut self, stop_reason: &str) -> io::Result<()> {
        self.message_delta(stop_reason)?;
        self.message_stop()
    }

    pub(crate) fn message_delta(&mut self, stop_reason: &str) -> io::Result<()> {
        let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
        let usage = shapes::message_usage();
        self.event(&json!({"type": "message_delta", "delta": delta, "usage": usage}), json!({}))
    }

    pub(crate) fn message_stop(&mut self) -> io::Result<()> {
        self.event(&json!({"type": "message_stop"}), json!({}))?;
        if let Some(turn) = &mut self.turn {
            turn.open = None;
        }
        Ok(())
    }

    /// Says a text, in up to four deltas.
    pub(crate) fn say_text(&mut self, text: &str) -> Result<(), Stop> {
        self.begin_message()?;
        self.begin_text()?;
        let characters: Vec<char> = text.chars().collect();
        for chunk in characters.chunks(characters.len().div_ceil(4).max(1)) {
            self.delta(&chunk.iter().collect::<String>())?;
        }
        self.end_text()?;
        self.end_message("end_turn")?;
        Ok(())
    }

    /// Writes many `assistant` lines, fast: one is made and the others are cut from it. A stamped one says when it was written.
    pub(crate) fn lines(
        &mut self,
        count: u32,
        pause: Duration,
        bytes: usize,
        stamped: bool,
    ) -> Result<(), Stop> {
        const PLACE: &str = "@@@@@@";
        const STAMP: &str = "%%%%%%%%%%%%%%%%%%%%";
        const LOOK_AT_EVERY: u32 = 256;
        self.request()?;
        self.acknowledge_prompts()?;
        let (message, uuid) = (self.wire.id("msg"), self.wire.uuid());
        if let Some(turn) = &mut self.turn {
            turn.silent = false;
            turn.open = Some((format!("{message}{PLACE}"), String::new()));
        }
        let padding = "x".repeat(bytes);
        let stamp = if stamped { format!(" at {STAMP} ") } else { String::new() };
        let block = json!({"type": "text", "text": format!("line {PLACE}{stamp}{padding}")});
        let mut line = self.assistant_line(&block);
        line["uuid"] = format!("{PLACE}{}", &uuid[PLACE.len()..]).into();
        let text = line.to_string();
        // A number is as long as its place.
        let stamp_at = text.find(STAMP);
        let pieces: Vec<&str> = text.split(PLACE).collect();
        let mut buffer = Vec::with_capacity(text.len() + 1);
        for n in 1..=count {
            let number = format!("{n:06}");
            buffer.clear();
            for (index, piece) in pieces.iter().enumerate() {
                if index > 0 {
                    buffer.extend_from_slice(number.as_bytes());
                }
                buffer.extend_from_slice(piece.as_bytes());
            }
            buffer.push(b'\n');
            if let Some(at) = stamp_at {
                let now = clock_gettime(ClockId::Monotonic);
                let stamp =
                    format!("{:020}", i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec));
                buffer[at..at + STAMP.len()].copy_from_slice(stamp.as_bytes());
            }
            if pause.is_zero() {
                self.wire.buffered(&buffer)?;
                if n % LOOK_AT_EVERY == 0 {
                    self.look()?;
                }
            } else {
                self.wire.raw(&buffer)?;
                self.pause(pause)?;
            }
        }
        self.wire.flush()?;
        if let Some(turn) = &mut self.turn {
            turn.open = None;
        }
        self.note_said(&format!("line {count:06}"));
        Ok(())
    }
}
