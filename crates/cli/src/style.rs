//! Colours and signs. Neither is ever the only carrier of a meaning.

use lockkeeper_api::{OutcomeWord, Status};

/// What may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Colours.
    pub(crate) colour: bool,
    /// Signs beyond ASCII.
    pub(crate) unicode: bool,
}

/// A colour or weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As the terminal has it.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Went well.
    Green,
    /// Wants somebody.
    Yellow,
    /// Went wrong.
    Red,
    /// At work.
    Cyan,
}

/// Signs of the view.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs {
    pub(crate) tool: &'static str,
    pub(crate) result: &'static str,
    pub(crate) thinking: &'static str,
    pub(crate) ok: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) cut: &'static str,
    pub(crate) retry: &'static str,
    pub(crate) dot: &'static str,
    pub(crate) prompt: &'static str,
    pub(crate) top: &'static str,
    pub(crate) side: &'static str,
    /// Where a line of a box goes on that was too long.
    pub(crate) wrapped: &'static str,
    pub(crate) bottom: &'static str,
    pub(crate) more: &'static str,
}

const UNICODE: Signs = Signs {
    tool: "⏺",
    result: "⎿",
    thinking: "✻",
    ok: "✓",
    bad: "✗",
    cut: "■",
    retry: "↻",
    dot: "·",
    prompt: "❯",
    top: "╭─",
    side: "│",
    wrapped: "┆",
    bottom: "╰─",
    more: "…",
};

const ASCII: Signs = Signs {
    tool: "*",
    result: "|_",
    thinking: "~",
    ok: "+",
    bad: "x",
    cut: "#",
    retry: "@",
    dot: "-",
    prompt: ">",
    top: "+-",
    side: "|",
    wrapped: ":",
    bottom: "+-",
    more: "...",
};

impl Style {
    /// Neither colours nor signs beyond ASCII.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colour: false, unicode: false };

    /// The signs that may be used.
    pub(crate) fn signs(self) -> &'static Signs {
        if self.unicode { &UNICODE } else { &ASCII }
    }

    /// A text in a colour. The text must be escaped already.
    pub(crate) fn ink(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Dim => "2",
            Ink::Bold => "1",
            Ink::Green => "32",
            Ink::Yellow => "33",
            Ink::Red => "31",
            Ink::Cyan => "36",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A text that matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.ink(Ink::Dim, text)
    }

    /// A text that matters more.
    pub(crate) fn bold(self, text: &str) -> String {
        self.ink(Ink::Bold, text)
    }
}

/// The colour of a status.
pub(crate) fn status_ink(status: Status) -> Ink {
    match status {
        Status::AwaitingInput | Status::Unknown => Ink::Yellow,
        Status::Running | Status::Starting | Status::Interrupting | Status::Stopping => Ink::Cyan,
        Status::Failed => Ink::Red,
        Status::Completed => Ink::Green,
        Status::Queued | Status::Idle => Ink::Plain,
        Status::Suspended | Status::Stopped => Ink::Dim,
    }
}

/// The colour of an outcome.
pub(crate) fn outcome_ink(outcome: OutcomeWord) -> Ink {
    match outcome {
        OutcomeWord::Completed => Ink::Green,
        OutcomeWord::Interrupted | OutcomeWord::Preempted | OutcomeWord::Unknown => Ink::Yellow,
        OutcomeWord::Refused | OutcomeWord::Limit | OutcomeWord::Failed => Ink::Red,
    }
}
