//! What a tool wants to change in a file, as people read changes: `-` goes, `+` comes.
//!
//! Only where the input is exactly of the form that is known; anything else is shown as it stands. What the lines do
//! not tell of the input stands above them, by its name.

use lockkeeper_api::{Gate, GateKind};
use serde_json::value::RawValue;

use super::Held;
use super::diff::{Run, diff};
use super::members::Members;
use super::rows::{Rows, Side};
use crate::escape;
use crate::style::Ink;

/// Lines that stay which are shown around those that do not, as everybody who shows changes has it.
const CONTEXT: usize = 3;

/// A change, as Claude Code's tools tell it: `Edit`, `MultiEdit`, `Write`, `NotebookEdit`.
pub(super) struct Change<'a> {
    /// The file, as the input names it.
    pub(super) path: String,
    rest: Members<'a>,
    what: What<'a>,
}

enum What<'a> {
    /// Pieces of the file are replaced.
    Pieces(Vec<Piece<'a>>),
    /// The file holds this afterwards.
    File(String),
    /// A cell of a notebook holds this afterwards.
    Cell(String),
}

struct Piece<'a> {
    old: String,
    new: String,
    rest: Members<'a>,
}

impl<'a> Change<'a> {
    /// Reads the change that a gate is about; `None` if it is about none, or if its input has another form.
    pub(super) fn read(gate: &'a Gate) -> Option<Self> {
        if gate.kind != GateKind::Permission {
            return None;
        }
        let mut members = Members::read_distinct(gate.input.as_str())?;
        let (path, what) = match gate.tool.as_str() {
            "Edit" => {
                let path = members.take_text("file_path")?;
                let piece = Piece::read(members)?;
                return Some(Self { path, rest: Members(Vec::new()), what: What::Pieces(vec![piece]) });
            }
            "MultiEdit" => {
                let path = members.take_text("file_path")?;
                let edits: Vec<&RawValue> = serde_json::from_str(members.take("edits")?.get()).ok()?;
                let read = |edit: &&'a RawValue| Piece::read(Members::read_distinct(edit.get())?);
                let pieces: Vec<Piece<'a>> = edits.iter().map(read).collect::<Option<_>>()?;
                // Without any there is nothing that the lines could tell.
                (path, What::Pieces((!pieces.is_empty()).then_some(pieces)?))
            }
            "Write" => (members.take_text("file_path")?, What::File(members.take_text("content")?)),
            "NotebookEdit" => {
                (members.take_text("notebook_path")?, What::Cell(members.take_text("new_source")?))
            }
            _ => return None,
        };
        Some(Self { path, rest: members, what })
    }

    /// Whether all of the file is written, so that what it holds tells what changes.
    pub(super) fn is_whole_file(&self) -> bool {
        match self.what {
            What::File(_) => true,
            What::Pieces(_) | What::Cell(_) => false,
        }
    }

    pub(super) fn draw(&self, rows: &mut Rows, held: &Held) {
        rows.line(Side::PLAIN, Ink::Bold, &escape::line(&self.path));
        self.rest.draw(rows, |_| false);
        match &self.what {
            What::Pieces(pieces) => {
                for (no, piece) in pieces.iter().enumerate() {
                    if pieces.len() > 1 {
                        head(rows, &format!("edit {} of {}", no + 1, pieces.len()));
                    }
                    piece.draw(rows);
                }
            }
            What::File(content) => draw_file(rows, content, held),
            What::Cell(source) => draw_runs(rows, Text::Piece, &[Run::Added(&Text::Piece.lines(source))]),
        }
    }
}

impl<'a> Piece<'a> {
    fn read(mut members: Members<'a>) -> Option<Self> {
        let old = members.take_text("old_string")?;
        let new = members.take_text("new_string")?;
        Some(Self { old, new, rest: members })
    }

    fn draw(&self, rows: &mut Rows) {
        self.rest.draw(rows, |_| false);
        if self.old == self.new {
            head(rows, "nothing changes");
        }
        let (old, new) = (Text::Piece.lines(&self.old), Text::Piece.lines(&self.new));
        draw_runs(rows, Text::Piece, &diff(&old, &new));
    }
}

/// All of a file, against what it holds if that is known.
fn draw_file(rows: &mut Rows, content: &str, held: &Held) {
    let new = Text::File.lines(content);
    if new.is_empty() {
        head(rows, "the file is empty afterwards");
    }
    let whole = rows.is_whole();
    match held {
        Held::Text(text) => {
            head(
                rows,
                if text == content { "the file holds this already" } else { "against the file as it is" },
            );
            let old = Text::File.lines(text);
            let runs = diff(&old, &new);
            if whole { draw_runs(rows, Text::File, &runs) } else { draw_folded(rows, &runs) }
        }
        Held::Nothing => {
            head(rows, "the file is not there yet");
            draw_runs(rows, Text::File, &[Run::Added(&new)]);
        }
        Held::Hidden(why) => {
            head(rows, &format!("the file is there and cannot be compared: {}", escape::line(why)));
            draw_runs(rows, Text::File, &[Run::Added(&new)]);
        }
        Held::Unknown => draw_runs(rows, Text::File, &[Run::Added(&new)]),
    }
}

/// What lines are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// A piece of a file, which mostly ends within a line. Where it ends with a line end, an empty line shows that.
    Piece,
    /// A whole file, which mostly ends with a line end. Where it does not, a line of the box's own says so.
    File,
}

impl Text {
    fn lines(self, text: &str) -> Vec<&str> {
        match self {
            Self::Piece if text.is_empty() => Vec::new(),
            Self::Piece => text.split('\n').collect(),
            Self::File => text.split_inclusive('\n').collect(),
        }
    }
}

/// A line of the box's own between the others. None of those begins so: each has its mark before it.
fn head(rows: &mut Rows, text: &str) {
    rows.line(Side::PLAIN, Ink::Cyan, &format!("@@ {text} @@"));
}

fn draw_runs(rows: &mut Rows, text: Text, runs: &[Run<'_>]) {
    for run in runs {
        draw_run(rows, text, run);
    }
}

/// The same, but of the lines that stay only those around the others.
fn draw_folded(rows: &mut Rows, runs: &[Run<'_>]) {
    let last = runs.len().saturating_sub(1);
    for (no, run) in runs.iter().enumerate() {
        let Run::Same(lines) = run else {
            draw_run(rows, Text::File, run);
            continue;
        };
        let before = if no == 0 { 0 } else { CONTEXT };
        let after = if no == last { 0 } else { CONTEXT };
        let folded = lines.len().saturating_sub(before + after);
        // One line takes no more room than saying that it is not shown.
        if folded < 2 {
            draw_run(rows, Text::File, run);
            continue;
        }
        draw_run(rows, Text::File, &Run::Same(&lines[..before]));
        head(rows, &format!("{folded} lines stay as they are"));
        rows.fold(folded);
        draw_run(rows, Text::File, &Run::Same(&lines[lines.len() - after..]));
    }
}

fn draw_run(rows: &mut Rows, text: Text, run: &Run<'_>) {
    let (mark, ink, lines) = match run {
        Run::Same(lines) => (" ", Ink::Plain, lines),
        Run::Gone(lines) => ("-", Ink::Red, lines),
        Run::Added(lines) => ("+", Ink::Green, lines),
    };
    for line in *lines {
        let bare = line.strip_suffix('\n');
        rows.line(Side::marked(mark), ink, &escape::line(bare.unwrap_or(line)));
        if text == Text::File && bare.is_none() {
            rows.line(Side::PLAIN, Ink::Cyan, "\\ no line end at the end of the file");
        }
    }
}
