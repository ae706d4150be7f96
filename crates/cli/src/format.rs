//! The forms of data: a table for people, JSON for programs.

use std::io;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::clock::{self, Times};
use crate::context::Context;
use crate::escape;
use crate::table::Table;

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON document per line
    Jsonl,
}

/// How data is shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Shown {
    /// The form of the output
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT", help_heading = "Output")]
    pub(crate) output: Format,
    /// Show times as RFC 3339
    #[arg(long, help_heading = "Output")]
    pub(crate) exact: bool,
}

impl Shown {
    /// How people want to read times.
    pub(crate) fn times(self) -> Times {
        if self.exact { Times::Exact } else { Times::Relative(clock::now()) }
    }

    /// Shows a list: as JSON if that is wanted, else as the table.
    pub(crate) fn list<T: Serialize>(
        self,
        context: &Context,
        items: &[T],
        table: impl FnOnce() -> Table,
    ) -> io::Result<()> {
        match self.output {
            Format::Table => print_table(context, &table()),
            Format::Json => context.out.line(escape::json(&serde_json::to_string_pretty(items)?)),
            Format::Jsonl => items.iter().try_for_each(|item| print_jsonl(context, item)),
        }
    }

    /// Shows that there is nothing to list, where programs want to read it.
    pub(crate) fn nothing(self, context: &Context) -> io::Result<()> {
        match self.output {
            Format::Table | Format::Jsonl => Ok(()),
            Format::Json => context.out.line("[]"),
        }
    }

    /// Shows one thing: as JSON if that is wanted, else as the text.
    pub(crate) fn one<T: Serialize>(
        self,
        context: &Context,
        item: &T,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        match self.output {
            Format::Table => context.out.raw(text().as_bytes()),
            Format::Json => context.out.line(escape::json(&serde_json::to_string_pretty(item)?)),
            Format::Jsonl => print_jsonl(context, item),
        }
    }
}

/// What a command did to several things: each is shown as soon as it is done, but for the one JSON document.
pub(crate) struct Series<'a, T> {
    context: &'a Context,
    output: Format,
    items: Vec<T>,
}

impl<'a, T: Serialize> Series<'a, T> {
    /// Nothing so far.
    pub(crate) fn new(context: &'a Context, shown: Shown) -> Self {
        Self { context, output: shown.output, items: Vec::new() }
    }

    /// Shows one thing: as JSON if that is wanted, else as the text.
    pub(crate) fn push(&mut self, item: T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
        match self.output {
            Format::Table => self.context.out.raw(text(&item).as_bytes()),
            Format::Json => {
                self.items.push(item);
                Ok(())
            }
            Format::Jsonl => print_jsonl(self.context, &item),
        }
    }

    /// Shows the document, if one is wanted. To be called whatever went wrong: what was done was done.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.output {
            Format::Table | Format::Jsonl => Ok(()),
            Format::Json => self.context.out.line(escape::json(&serde_json::to_string_pretty(&self.items)?)),
        }
    }
}

/// A path as people write it: from their home directory, if it is in there.
pub(crate) fn path(path: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    match path.strip_prefix(&home) {
        Some(rest) if !home.is_empty() && (rest.is_empty() || rest.starts_with('/')) => format!("~{rest}"),
        Some(_) | None => path.to_owned(),
    }
}

/// Shows a table as wide as the terminal.
pub(crate) fn print_table(context: &Context, table: &Table) -> io::Result<()> {
    context.out.raw(table.render(context.out.style, context.out.width).as_bytes())
}

/// Shows one thing on one line.
pub(crate) fn print_jsonl(context: &Context, item: &impl Serialize) -> io::Result<()> {
    context.out.line(escape::json_line(&serde_json::to_string(item)?))
}
