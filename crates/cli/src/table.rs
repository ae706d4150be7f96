//! Tables: as wide as they need to be, and on a terminal no wider than that.

use unicode_width::UnicodeWidthStr as _;

use crate::cut;
use crate::escape;
use crate::style::{Ink, Style};

/// A cell: text in a colour. The text is escaped here.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    ink: Ink,
}

impl Cell {
    /// A cell in a colour.
    pub(crate) fn inked(text: impl AsRef<str>, ink: Ink) -> Self {
        Self { text: escape::line(text.as_ref()).into_owned(), ink }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::inked(text, Ink::Plain)
    }
}

/// Rows under headings.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    /// Columns that get narrower on a narrow terminal, the first to do so first.
    giving_way: Vec<usize>,
    /// Columns that go before those are too narrow to tell anything, the first to do so first.
    going: Vec<usize>,
    rows: Vec<Vec<Cell>>,
}

const GAP: usize = 2;
/// A column that gives way tells enough as long as it is no narrower.
const READABLE: usize = 24;
/// Where no other column is left to go, it is no narrower than this.
const NARROWEST: usize = 8;

impl Table {
    /// An empty table. On a terminal that is too narrow for it empty columns go; then those that are `giving_way` get
    /// narrower, in this order, as long as they can be read; before that ends those that are `going` go, in this order, and
    /// then the last ones.
    pub(crate) fn new(headings: &[&'static str], giving_way: &[&str], going: &[&str]) -> Self {
        let find = |name: &&str| headings.iter().position(|heading| heading == name);
        Self {
            headings: headings.to_vec(),
            giving_way: giving_way.iter().filter_map(find).collect(),
            going: going.iter().filter_map(find).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text; `width` is that of the terminal, if it is for one.
    pub(crate) fn render(&self, style: Style, width: Option<usize>) -> String {
        let columns = self.columns(width);
        let headings: Vec<Cell> =
            self.headings.iter().map(|heading| Cell::inked(heading, Ink::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            let mut pad = 0;
            for (cell, width) in columns.iter().filter_map(|(column, width)| Some((row.get(*column)?, width)))
            {
                line.extend(std::iter::repeat_n(' ', pad));
                let shown = cut::fit(&cell.text, *width, style);
                pad = width + GAP - shown.width().min(*width);
                line.push_str(&style.ink(cell.ink, &shown));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The columns that are shown, and how wide.
    fn columns(&self, terminal: Option<usize>) -> Vec<(usize, usize)> {
        let mut columns: Vec<(usize, usize)> = (0..self.headings.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width());
                (column, cells.chain([self.headings[column].width()]).max().unwrap_or(0))
            })
            .collect();
        let Some(terminal) = terminal else { return columns };
        let empty = |column: &usize| self.rows.iter().all(|row| row[*column].text.is_empty());
        drop_columns(&mut columns, terminal, (1..self.headings.len()).filter(empty));
        for going in &self.going {
            let mut narrower = columns.clone();
            self.give_way(&mut narrower, terminal, READABLE);
            if over(&narrower, terminal) == 0 {
                break;
            }
            columns.retain(|(column, _)| column != going);
        }
        self.give_way(&mut columns, terminal, READABLE);
        self.give_way(&mut columns, terminal, NARROWEST);
        drop_columns(&mut columns, terminal, (1..self.headings.len()).rev());
        columns
    }

    /// Makes columns narrower that give way, as far as it is needed and they keep this width.
    fn give_way(&self, columns: &mut [(usize, usize)], terminal: usize, least: usize) {
        for giving_way in &self.giving_way {
            let over = over(columns, terminal);
            if let Some((_, width)) = columns.iter_mut().find(|(column, _)| column == giving_way) {
                let least = least.max(self.headings[*giving_way].width()).min(*width);
                *width = width.saturating_sub(over).max(least);
            }
        }
    }
}

/// Takes columns away until the others fit.
fn drop_columns(columns: &mut Vec<(usize, usize)>, terminal: usize, going: impl Iterator<Item = usize>) {
    for column in going {
        if over(columns, terminal) == 0 {
            return;
        }
        columns.retain(|(shown, _)| *shown != column);
    }
}

/// By how much columns are wider than a terminal.
fn over(columns: &[(usize, usize)], terminal: usize) -> usize {
    let total: usize = columns.iter().map(|(_, width)| width + GAP).sum();
    total.saturating_sub(GAP).saturating_sub(terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATUS", "REASON", "DIR"], &["DIR", "REASON"], &["DIR"]);
        table.row(["fix-tests", "running", "", "/code/app"].map(Cell::from));
        table.row(
            ["修复", "awaiting_input", "Bash: npm test\u{1b}[2J -- --watch=false", "/code/a-long/way/down"]
                .map(Cell::from),
        );
        table
    }

    #[test]
    fn a_table_in_a_pipe_is_never_cut() {
        insta::assert_snapshot!(table().render(Style::PLAIN, None));
    }

    #[test]
    fn a_table_gives_way_on_a_narrow_terminal() {
        let text = table().render(Style { colour: false, unicode: true }, Some(60));
        assert!(text.lines().all(|line| line.width() <= 60), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn columns_go_where_there_is_no_room_for_them() {
        let shown = |width| {
            let text = table().render(Style { colour: false, unicode: true }, Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
            text.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(shown(74), ["NAME", "STATUS", "REASON", "DIR"]);
        assert_eq!(shown(73), ["NAME", "STATUS", "REASON"]);
        assert_eq!(shown(35), ["NAME", "STATUS", "REASON"]);
        assert_eq!(shown(34), ["NAME", "STATUS"]);
        assert_eq!(shown(10), ["NAME"]);
    }

    #[test]
    fn an_empty_column_goes_before_another_one_is_cut() {
        let mut table = Table::new(&["NAME", "QUEUE", "REASON", "RULE"], &["REASON"], &["RULE"]);
        table.row(["fix-tests", "", "1 gate is open", "agent"].map(Cell::from));
        let style = Style { colour: false, unicode: true };
        assert_eq!(
            table.render(style, Some(32)),
            "NAME       REASON          RULE\nfix-tests  1 gate is open  agent\n"
        );
        assert_eq!(table.render(style, Some(28)), "NAME       REASON\nfix-tests  1 gate is open\n");
        assert_eq!(table.render(style, Some(20)), "NAME       REASON\nfix-tests  1 gate i…\n");
    }

    #[test]
    fn colours_do_not_change_the_columns() {
        let coloured = table().render(Style { colour: true, unicode: false }, None);
        assert!(coloured.contains("\x1b[2mNAME\x1b[0m"));
        let bare = coloured.replace("\x1b[2m", "").replace("\x1b[0m", "");
        assert_eq!(bare, table().render(Style::PLAIN, None));
    }
}
