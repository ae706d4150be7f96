//! What a follower writes, and on which line the cursor stands then.

use std::fmt::Display;
use std::time::Duration;

use super::Face;
use crate::clock;
use crate::cut;
use crate::failure::Outcome;
use crate::out::Out;
use crate::style::Style;

/// The beat of the line that says that something is under way.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// Beats without anything to show before that line comes.
const QUIET: u32 = 2;
/// Clears the line that the cursor stands on.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// Where a follower writes.
pub(super) struct Screen<'a> {
    out: &'a Out,
    face: Face,
    /// What the view may look like.
    pub(super) style: Style,
    line: Line,
    /// Beats since anything was shown.
    quiet_beats: u32,
}

/// The line that the cursor stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// One of the view, or an empty one.
    View,
    /// A question.
    Question,
    /// The one that says that something is under way.
    UnderWay,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a Out, face: Face) -> Self {
        let style = match face {
            Face::Output => out.style,
            Face::Answer => out.note_style,
        };
        Self { out, face, style, line: Line::View, quiet_beats: 0 }
    }

    /// Whether the view is on a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.out.terminal && self.face == Face::Output
    }

    /// Whether the line that says that something is under way can be shown, and taken away again.
    pub(super) fn is_live(&self) -> bool {
        self.is_terminal() && self.style.colour
    }

    /// Shows a text of the view.
    pub(super) fn show(&mut self, text: &str) -> Outcome<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.leave_line()?;
        self.quiet_beats = 0;
        match self.face {
            Face::Output => self.out.raw(text.as_bytes())?,
            Face::Answer => self.out.note(text.trim_end_matches('\n')),
        }
        Ok(())
    }

    /// Shows a question; the cursor stands behind it then.
    pub(super) fn put(&mut self, question: &str) -> Outcome<()> {
        self.show(question)?;
        self.line = Line::Question;
        Ok(())
    }

    /// Says something about following, rather than about the session. The text must be escaped already.
    pub(super) fn say(&mut self, text: &str) -> Outcome<()> {
        self.leave_line()?;
        let style = self.out.note_style;
        self.out.note(style.dim(&format!("{} {text}", style.signs().dot)));
        Ok(())
    }

    /// Writes data to standard output, if the view is not there.
    pub(super) fn data_alone(&self, data: impl Display) -> Outcome<()> {
        match self.face {
            Face::Answer => Ok(self.out.line(data)?),
            Face::Output => Ok(()),
        }
    }

    /// Whether the cursor stands behind a question.
    pub(super) fn stands_behind_question(&self) -> bool {
        self.line == Line::Question
    }

    /// Whoever typed a line behind the question has ended it.
    pub(super) fn line_was_typed(&mut self) {
        self.line = Line::View;
    }

    /// A second has passed; once nothing was shown for a while, a line says what is under way. It is drawn again in its place, so that it
    /// has to fit the width.
    pub(super) fn beat(&mut self, under_way: Option<(&str, &str)>, width: Option<usize>) -> Outcome<()> {
        self.quiet_beats = self.quiet_beats.saturating_add(1);
        if self.quiet_beats < QUIET || self.line == Line::Question {
            return Ok(());
        }
        let Some((what, hint)) = under_way else { return self.clear_line() };
        let dot = self.style.signs().dot;
        let line = format!("{dot} {what} {} {dot} {hint}", clock::span(1000 * i64::from(self.quiet_beats)));
        // A terminal may go to the next line once its last column is written.
        let columns = width.map_or(usize::MAX, |width| width.saturating_sub(1));
        let line = self.style.dim(&cut::fit(&line, columns, self.style));
        self.out.raw(format!("{CLEAR_LINE}{line}").as_bytes())?;
        self.line = Line::UnderWay;
        Ok(())
    }

    /// Makes room on the line that the cursor stands on.
    fn leave_line(&mut self) -> Outcome<()> {
        if self.line == Line::Question {
            self.out.raw(b"\n")?;
            self.line = Line::View;
        }
        self.clear_line()
    }

    /// Takes away the line that says that something is under way.
    pub(super) fn clear_line(&mut self) -> Outcome<()> {
        if self.line == Line::UnderWay {
            self.out.raw(CLEAR_LINE.as_bytes())?;
            self.line = Line::View;
        }
        Ok(())
    }
}
