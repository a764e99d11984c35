//! Rows as aligned columns, as wide as the terminal allows. Writes nothing itself.
//!
//! Where the terminal is too narrow, columns that may be cut short are cut first, and then columns are left out
//! from the right. Where nobody looks at a terminal, everything is written in full.

use console::{Term, measure_text_width, pad_str, truncate_str};

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) head: &'static str,
    /// How narrow it may become on a terminal; `None`: it is shown whole or not at all.
    pub(super) least: Option<usize>,
}

/// Columns with their widths.
#[derive(Debug)]
pub(super) struct Layout {
    columns: Vec<Column>,
    widths: Vec<usize>,
    /// On a terminal cells are cut to the width of their column.
    is_cut: bool,
}

const GAP: usize = 2;

impl Column {
    /// One whose cells are never cut.
    pub(super) const fn whole(head: &'static str) -> Self {
        Self { head, least: None }
    }

    /// One whose cells may be cut to so many characters.
    pub(super) const fn short(head: &'static str, least: usize) -> Self {
        Self { head, least: Some(least) }
    }
}

/// How wide the terminal is that standard output goes to; `None`: it is none.
pub(super) fn terminal_width() -> Option<usize> {
    let terminal = Term::stdout();
    let size = terminal.is_term().then(|| terminal.size_checked()).flatten();
    size.map(|(_, width)| usize::from(width))
}

impl Layout {
    /// Lays out columns for rows like these.
    pub(super) fn fit(columns: &[Column], rows: &[Vec<String>], terminal: Option<usize>) -> Self {
        let wanted = |index: usize, column: &Column| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| measure_text_width(cell));
            cells.chain([column.head.len()]).max().unwrap_or_default()
        };
        let widths = columns.iter().enumerate().map(|(index, column)| wanted(index, column)).collect();
        let mut layout = Self { columns: columns.to_vec(), widths, is_cut: terminal.is_some() };
        if let Some(width) = terminal {
            layout.narrow(width);
        }
        layout
    }

    fn narrow(&mut self, width: usize) {
        while self.columns.len() > 1 && self.total() - self.spare().sum::<usize>() > width {
            self.columns.pop();
            self.widths.pop();
        }
        while self.total() > width {
            let over = self.total() - width;
            let spare = self.spare().enumerate().map(|(index, spare)| (spare, index)).max();
            match spare {
                // A little at a time, so that the widest does not pay for all.
                Some((spare, index)) if spare > 0 => {
                    if let Some(width) = self.widths.get_mut(index) {
                        *width -= spare.min(over.div_ceil(2));
                    }
                }
                Some(_) | None => return,
            }
        }
    }

    /// By how much each column can be narrowed.
    fn spare(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().zip(&self.widths).map(|(column, width)| {
            let least = column.least.map_or(*width, |least| least.max(column.head.len()));
            width.saturating_sub(least)
        })
    }

    fn total(&self) -> usize {
        self.widths.iter().sum::<usize>() + GAP * self.widths.len().saturating_sub(1)
    }

    /// Whether every one of so many columns has found its place.
    pub(super) fn has_all(&self, columns: usize) -> bool {
        self.columns.len() == columns
    }

    /// The line above all rows.
    pub(super) fn head(&self) -> String {
        self.line(self.columns.iter().map(|column| column.head))
    }

    /// One row.
    pub(super) fn row(&self, cells: &[String]) -> String {
        self.line(cells.iter().map(String::as_str))
    }

    fn line<'c>(&self, cells: impl Iterator<Item = &'c str>) -> String {
        let mut line = String::new();
        for (cell, width) in cells.zip(&self.widths) {
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = if self.is_cut { truncate_str(cell, *width, "…") } else { cell.into() };
            line.push_str(&pad_str(&cell, *width, console::Alignment::Left, None));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A whole table, head included.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], terminal: Option<usize>) -> String {
    let layout = Layout::fit(columns, rows, terminal);
    let mut text = layout.head();
    for row in rows {
        text.push('\n');
        text.push_str(&layout.row(row));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::whole("PREFIX"), Column::short("NAME", 4), Column::whole("ID")];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        vec![row(["sk_1", "a rather long name", "id-1"]), row(["sk_22", "ä", "id-2"])]
    }

    #[test]
    fn without_a_terminal_everything_is_written_in_full() {
        assert_eq!(
            table(&COLUMNS, &rows(), None),
            "PREFIX  NAME                ID\n\
             sk_1    a rather long name  id-1\n\
             sk_22   ä                   id-2\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_what_may_be_cut_and_then_leaves_columns_out() {
        for width in 6..40 {
            let text = table(&COLUMNS, &rows(), Some(width));
            let widest = text.lines().map(measure_text_width).max().unwrap_or_default();
            assert!(widest <= width, "{width}:\n{text}");
        }
        assert!(table(&COLUMNS, &rows(), Some(24)).contains("a rather …"));
        assert!(Layout::fit(&COLUMNS, &rows(), Some(18)).has_all(3));
        assert!(!Layout::fit(&COLUMNS, &rows(), Some(17)).has_all(3));
        assert_eq!(table(&COLUMNS, &rows(), Some(3)).lines().next(), Some("PREFIX"));
    }

    #[test]
    fn wide_characters_take_two_places() {
        let rows = vec![vec!["家".to_owned(), "x".to_owned()]];
        let text = table(&[Column::whole("N"), Column::whole("X")], &rows, None);
        assert_eq!(text, "N   X\n家  x\n");
    }
}
