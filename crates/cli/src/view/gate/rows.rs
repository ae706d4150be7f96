//! The rows of a box: no line leaves it, and there are no more of them than somebody can look at.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthStr as _;

use super::Size;
use crate::cut;
use crate::style::{Ink, Style};

/// Rows at the beginning and at the end of a box that is not shown whole. Together they are about two screens: what is
/// decided about can still be scrolled back to, and an input of ten megabytes takes no more room than that.
const FIRST_ROWS: usize = 60;
const LAST_ROWS: usize = 20;
/// Columns of a row where there is no terminal to tell, and the box is not shown whole: one line may be megabytes long.
const PIPE_COLUMNS: usize = 1000;

/// What stands before the text of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    frame: Frame,
    /// Repeated where the line goes on, so that a piece of a line that goes is never read as one that stays.
    mark: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Top,
    Side,
    /// Where a line goes on that was too long.
    Wrapped,
    Bottom,
}

impl Side {
    pub(super) const TOP: Self = Self { frame: Frame::Top, mark: "" };
    pub(super) const PLAIN: Self = Self { frame: Frame::Side, mark: "" };
    pub(super) const BOTTOM: Self = Self { frame: Frame::Bottom, mark: "" };

    /// A line with a mark of its own.
    pub(super) fn marked(mark: &'static str) -> Self {
        Self { frame: Frame::Side, mark }
    }
}

/// A box that is being drawn.
pub(super) struct Rows {
    style: Style,
    columns: Option<usize>,
    size: Size,
    text: String,
    /// Rows of the text.
    drawn: usize,
    /// The last rows, where not all are shown.
    last: VecDeque<Row>,
    hidden: usize,
    folded: usize,
}

struct Row {
    side: Side,
    ink: Ink,
    text: String,
}

impl Rows {
    /// An empty box, on a terminal of so many columns.
    pub(super) fn new(size: Size, columns: Option<usize>, style: Style) -> Self {
        let columns = match size {
            Size::Whole => columns,
            Size::Bounded => columns.or(Some(PIPE_COLUMNS)),
        };
        Self {
            style,
            columns,
            size,
            text: String::new(),
            drawn: 0,
            last: VecDeque::new(),
            hidden: 0,
            folded: 0,
        }
    }

    /// Whether all is shown, however long it is.
    pub(super) fn is_whole(&self) -> bool {
        self.size == Size::Whole
    }

    /// A line, in as many rows as it takes. The text must be escaped already.
    pub(super) fn line(&mut self, side: Side, ink: Ink, text: &str) {
        let taken = self.sign(side.frame).width() + side.mark.width() + 1;
        let pieces = self
            .columns
            .map_or(cut::Pieces::one(text), |columns| cut::wrap(text, columns.saturating_sub(taken).max(1)));
        let mut side = side;
        for piece in pieces {
            self.row(side, ink, piece);
            side.frame = Frame::Wrapped;
        }
    }

    fn row(&mut self, side: Side, ink: Ink, text: &str) {
        if self.size == Size::Whole || self.drawn < FIRST_ROWS {
            self.draw(side, ink, text);
            return;
        }
        self.last.push_back(Row { side, ink, text: text.to_owned() });
        // One more is kept: it takes no more room than saying that it is not shown.
        if self.last.len() > LAST_ROWS + 1 {
            self.last.pop_front();
            self.hidden += 1;
        }
    }

    fn draw(&mut self, side: Side, ink: Ink, text: &str) {
        let sign = self.style.ink(Ink::Yellow, self.sign(side.frame));
        self.text.push_str(&sign);
        if !text.is_empty() || !side.mark.trim_end().is_empty() {
            self.text.push(' ');
            self.text.push_str(&self.style.ink(ink, &format!("{}{text}", side.mark)));
        }
        self.text.push('\n');
        self.drawn += 1;
    }

    fn sign(&self, frame: Frame) -> &'static str {
        let signs = self.style.signs();
        match frame {
            Frame::Top => signs.top,
            Frame::Side => signs.side,
            Frame::Wrapped => signs.wrapped,
            Frame::Bottom => signs.bottom,
        }
    }

    /// Lines were left out for which a line stands.
    pub(super) fn fold(&mut self, lines: usize) {
        self.folded += lines;
    }

    /// The box, and how many lines are not shown; `told` says that of the rows in it.
    pub(super) fn finish(mut self, told: impl FnOnce(usize) -> String) -> (String, usize) {
        let mut last = std::mem::take(&mut self.last);
        if self.hidden > 0 {
            last.pop_front();
            self.hidden += 1;
            let told = format!("{} {}", self.style.signs().more, told(self.hidden));
            let columns = self.columns.unwrap_or(PIPE_COLUMNS).saturating_sub(3).max(1);
            for (no, piece) in cut::wrap(&told, columns).enumerate() {
                let frame = if no == 0 { Frame::Side } else { Frame::Wrapped };
                self.draw(Side { frame, mark: "" }, Ink::Bold, piece);
            }
        }
        for row in last {
            self.draw(row.side, row.ink, &row.text);
        }
        (self.text, self.hidden + self.folded)
    }
}
