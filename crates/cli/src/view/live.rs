//! What the agent says and thinks: as it streams, or whole.

use lockkeeper_api::id::ItemKey;
use lockkeeper_api::{Extent, Live, LiveKind};

use super::{Messages, View};
use crate::escape;
use crate::style::Ink;

impl View {
    pub(super) fn live(&mut self, live: &Live) {
        if self.messages != Messages::Streamed {
            return;
        }
        match live.kind {
            LiveKind::Message => self.live_message(live),
            LiveKind::Reasoning => {
                if self.thinking.as_ref() != Some(&live.key) {
                    self.thinking = Some(live.key.clone());
                    self.note(Ink::Dim, self.style.signs().thinking, "thinking");
                }
            }
            LiveKind::ToolInput => {}
        }
    }

    fn live_message(&mut self, live: &Live) {
        if live.dropped {
            if self.streaming.as_ref().is_some_and(|(key, _)| *key == live.key) {
                self.finish_line();
                self.note(Ink::Dim, self.style.signs().retry, "the agent starts this answer anew");
            }
            return;
        }
        if self.whole.contains(&live.key) {
            return;
        }
        let known =
            [&self.streaming, &self.broken_off].into_iter().flatten().any(|(key, _)| *key == live.key);
        if live.offset > 0 && !known {
            // The middle of a message whose beginning was missed is shown when it is whole.
            return;
        }
        let written = self.resume_message(&live.key);
        let end = live.offset + live.text.len() as u64;
        if live.offset > written || end <= written {
            return;
        }
        let skip = usize::try_from(written - live.offset).unwrap_or(usize::MAX);
        if let Some(rest) = live.text.get(skip..) {
            self.out.push_str(&escape::block(rest));
            self.streaming = Some((live.key.clone(), end));
            self.last_tool = None;
        }
    }

    pub(super) fn message(&mut self, key: &ItemKey, text: &str, extent: Extent) {
        if self.messages == Messages::Hidden || text.trim().is_empty() {
            self.finish_line();
            return;
        }
        let broken_off = self.streaming.as_ref().is_none_or(|(streaming, _)| streaming != key);
        let written = self.resume_message(key);
        self.streaming = None;
        self.whole.insert(key.clone());
        let rest = rest_of(text, written).trim_end();
        let alone = broken_off && rest.is_empty();
        let mark = if alone { cut_mark(extent).trim_start() } else { cut_mark(extent) };
        if alone && mark.is_empty() {
            return;
        }
        self.out.push_str(&escape::block(rest));
        self.out.push_str(&self.style.dim(mark));
        self.out.push('\n');
        self.last_tool = None;
        self.fresh = false;
    }

    pub(super) fn reasoning(&mut self, key: &ItemKey, text: &str) {
        if self.messages == Messages::Hidden || self.thinking.as_ref() == Some(key) || text.trim().is_empty()
        {
            return;
        }
        self.thinking = Some(key.clone());
        self.note(Ink::Dim, self.style.signs().thinking, &self.short(text));
    }

    /// Ends a message that was being written out.
    pub(super) fn finish_line(&mut self) {
        if let Some(streaming) = self.streaming.take() {
            self.broken_off = Some(streaming);
            self.out.push('\n');
            self.fresh = false;
        }
    }

    /// How much of a message has been written out already; makes room for its rest.
    fn resume_message(&mut self, key: &ItemKey) -> u64 {
        if let Some((streaming, written)) = &self.streaming
            && streaming == key
        {
            return *written;
        }
        self.finish_line();
        if let Some((broken_off, written)) = self.broken_off.take_if(|(broken_off, _)| broken_off == key) {
            self.streaming = Some((broken_off, written));
            return written;
        }
        self.paragraph();
        0
    }
}

/// What a message says beyond what was written out of it.
fn rest_of(text: &str, written: u64) -> &str {
    usize::try_from(written).ok().and_then(|written| text.get(written..)).unwrap_or_default()
}

/// A mark for a message that was cut.
fn cut_mark(extent: Extent) -> &'static str {
    match extent {
        Extent::Whole => "",
        Extent::Partial => " [cut]",
    }
}
