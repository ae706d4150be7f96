//! `lk ls --watch` and `lk gates --watch`: a list that is drawn again whenever something happens.
//!
//! It has a screen of its own, as pagers do, and gives the terminal back as it was.

use std::fmt::Write as _;
use std::time::Duration;

use lockkeeper_api::client::{ClientError, EventStream};
use lockkeeper_api::{EventQuery, Frame};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Outcome};
use crate::out::Out;
use crate::start;
use crate::style::Style;
use crate::table::Table;

/// The shortest time between two looks at what is listed: a busy agent has many events a second.
const BEAT: Duration = Duration::from_millis(250);
/// Beats after which the times are drawn anew.
const BEATS_A_SECOND: u32 = 4;

/// Rings the bell of the terminal.
const BELL: &str = "\x07";

/// What is listed.
pub(super) trait Watched {
    /// One row.
    type Item;

    /// Kinds of events after which the list may be another; all kinds if nothing is said.
    const KINDS: Option<&'static str>;

    /// The list as it is.
    async fn list(&self, context: &Context) -> Result<Vec<Self::Item>, ClientError>;

    /// The list as people read it.
    fn table(&self, items: &[Self::Item]) -> Table;

    /// What it means that there is nothing.
    fn nothing(&self) -> &'static str;

    /// Whether what is told of an item may change without an event of its own.
    fn may_change(item: &Self::Item) -> bool;

    /// Whether somebody who looks elsewhere is to be called, now that the list is another.
    fn calls(before: &[Self::Item], now: &[Self::Item]) -> bool;
}

/// Watches until somebody leaves.
pub(super) async fn run<W: Watched>(watched: &W, context: &Context) -> Outcome {
    if !context.out.terminal {
        return Err(Failure::usage("--watch needs a terminal")
            .next("`lk events -f -o jsonl` tells programs what happens"));
    }
    let items = match watched.list(context).await {
        Ok(items) => items,
        Err(ClientError::NoDaemon { .. }) => {
            start::note_no_daemon(context)?;
            return Ok(exit::OK);
        }
        Err(error) => return Err(error.into()),
    };
    let query = EventQuery { kind: W::KINDS.map(str::to_owned), ..EventQuery::default() };
    let stream = context.client.subscribe(None, &query).await?;
    // Something may have happened in between.
    let mut list = List { watched, context, items, stream, state: State::Stale, calls: false };
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut ends = signal(SignalKind::terminate())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut beats: u32 = 0;
    let _screen = Screen::enter(&context.out)?;
    list.draw()?;
    loop {
        tokio::select! {
            frame = list.stream.next(), if list.state != State::Away => list.frame(frame)?,
            _ = interrupts.recv() => return Ok(exit::OK),
            _ = ends.recv() => return Ok(exit::INTERRUPTED),
            _ = resized.recv() => list.draw()?,
            _ = beat.tick() => {
                beats = beats.wrapping_add(1);
                let second = beats.is_multiple_of(BEATS_A_SECOND);
                if second {
                    list.doubt();
                }
                if list.look().await? || second {
                    list.draw()?;
                }
            }
        }
    }
}

struct List<'a, W: Watched> {
    watched: &'a W,
    context: &'a Context,
    items: Vec<W::Item>,
    stream: EventStream,
    state: State,
    /// Whether the next drawing calls somebody.
    calls: bool,
}

/// How the list stands to what is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    /// Something happened since.
    Stale,
    /// No daemon runs.
    Away,
}

impl<W: Watched> List<'_, W> {
    fn frame(&mut self, frame: Result<Frame, ClientError>) -> Outcome<()> {
        match frame {
            Ok(Frame::Event(_) | Frame::Ready(_) | Frame::Gap(_)) => self.state = State::Stale,
            Ok(Frame::Live(_) | Frame::Heartbeat(_)) => {}
            Err(error) if error.is_gone() => self.state = State::Away,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What is told may have changed without an event.
    fn doubt(&mut self) {
        if self.items.iter().any(W::may_change) && self.state == State::Present {
            self.state = State::Stale;
        }
    }

    /// Asks for the list if it may have changed; tells whether there is something to draw.
    async fn look(&mut self) -> Outcome<bool> {
        match self.state {
            State::Present => return Ok(false),
            State::Stale => {}
            State::Away => match self.stream.reconnect().await {
                Ok(()) => {}
                Err(error) if error.is_gone() => return Ok(true),
                Err(error) => return Err(error.into()),
            },
        }
        match self.watched.list(self.context).await {
            Ok(items) => {
                self.calls |= W::calls(&self.items, &items);
                (self.items, self.state) = (items, State::Present);
            }
            Err(error) if error.is_gone() => self.state = State::Away,
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    fn draw(&mut self) -> Outcome<()> {
        let size = terminal_size::terminal_size();
        let (columns, rows) =
            size.map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        let style = self.context.out.style;
        let table = self.watched.table(&self.items).render(style, Some(columns));
        let note = match self.state {
            State::Away => "no daemon runs; waiting for one",
            State::Present | State::Stale if self.items.is_empty() => self.watched.nothing(),
            State::Present | State::Stale => "",
        };
        let bell = if std::mem::take(&mut self.calls) { BELL } else { "" };
        self.context.out.raw(format!("{}{bell}", screen(&table, note, rows, style)).as_bytes())?;
        Ok(())
    }
}

/// A whole screen: as much of the table as fits, and a last line. Every line is cleared behind its text.
pub(super) fn screen(table: &str, note: &str, rows: usize, style: Style) -> String {
    let room = rows.saturating_sub(1).max(1);
    let lines: Vec<&str> = table.lines().collect();
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut text = "\x1b[H".to_owned();
    for line in &lines[..shown] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{line}\x1b[K\r\n");
    }
    if shown < lines.len() {
        let more = format!("{} {} more", style.signs().more, lines.len() - shown);
        let _ = write!(text, "{}\x1b[K\r\n", style.dim(&more));
    }
    let last = if note.is_empty() { "Ctrl-C leaves" } else { note };
    let _ = write!(text, "{}\x1b[K\x1b[J", style.dim(last));
    text
}

/// The other screen of the terminal, without its cursor.
struct Screen<'a>(&'a Out);

impl<'a> Screen<'a> {
    fn enter(out: &'a Out) -> Outcome<Self> {
        out.raw(b"\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self(out))
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = self.0.raw(b"\x1b[?25h\x1b[?1049l");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_too_long_says_how_much_is_missing() {
        let table = "NAME\na\nb\nc\nd\n";
        let lines = |rows| {
            let text = screen(table, "", rows, Style::PLAIN);
            let text = text.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
            text.split("\r\n").map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(24), ["NAME", "a", "b", "c", "d", "Ctrl-C leaves"]);
        assert_eq!(lines(6), ["NAME", "a", "b", "c", "d", "Ctrl-C leaves"]);
        assert_eq!(lines(5), ["NAME", "a", "b", "... 2 more", "Ctrl-C leaves"]);
        assert_eq!(lines(1), ["... 5 more", "Ctrl-C leaves"]);
    }
}
