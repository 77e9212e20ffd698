//! Tables: the same one for the terminal and for Markdown.

use std::fmt::Write;

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A time in seconds.
    Seconds(f64),
    /// A quotient of two times.
    Ratio(f64),
    /// A share, shown as a percentage.
    Share(f64),
    /// A number of things.
    Count(u64),
    /// Not measured.
    Nothing,
}

impl Cell {
    fn show(&self) -> String {
        match self {
            Cell::Text(text) => text.replace('|', "\\|"),
            Cell::Seconds(s) if *s >= 1.0 => format!("{s:.3} s"),
            Cell::Seconds(s) if *s >= 1e-3 => format!("{:.3} ms", s * 1e3),
            Cell::Seconds(s) => format!("{:.1} µs", s * 1e6),
            Cell::Ratio(ratio) => format!("{ratio:.2}"),
            Cell::Share(share) => format!("{:.1}%", share * 100.0),
            Cell::Count(count) => count.to_string(),
            Cell::Nothing => "-".into(),
        }
    }
}

/// A table with what it shows.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its heading.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Markdown whose columns are aligned in plain text, too.
    pub fn markdown(&self) -> String {
        let mut lines: Vec<Vec<String>> = vec![self.columns.iter().map(|name| name.to_string()).collect()];
        lines.extend(self.rows.iter().map(|row| row.iter().map(Cell::show).collect()));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(2);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.note);
        for (index, line) in lines.iter().enumerate() {
            text.push('|');
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                // Names stand left, numbers right. Writing to a string can't fail.
                let _ = if column == 0 { write!(text, " {cell:<width$} |") } else { write!(text, " {cell:>width$} |") };
            }
            text.push('\n');
            if index == 0 {
                let rules = widths.iter().enumerate().map(|(column, width)| match column {
                    0 => format!("{}|", "-".repeat(width + 2)),
                    _ => format!("{}:|", "-".repeat(width + 1)),
                });
                text.push('|');
                text.extend(rules);
                text.push('\n');
            }
        }
        text
    }
}
