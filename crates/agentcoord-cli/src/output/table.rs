//! The page that people read: lines and aligned tables without borders, cut to the terminal.

use std::io::IsTerminal;

use tabled::builder::Builder;
use tabled::settings::peaker::PriorityMax;
use tabled::settings::{Padding, Style, Width};

use super::text;
use crate::cli::Colour;
use crate::config::variable;

/// Width when nothing says how wide the terminal is.
const WIDTH: usize = 120;
/// Rows of a screen when nothing says how high the terminal is.
const HEIGHT: usize = 40;

/// How a row wants to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Asks for attention.
    Warn,
    /// Is wrong.
    Bad,
    /// Is of little interest.
    Faint,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

/// A page under construction.
#[derive(Debug)]
pub(crate) struct Page {
    out: String,
    width: usize,
    /// Rows of the screen; none when the answer goes to no screen.
    height: Option<usize>,
    colour: bool,
}

impl Page {
    /// A page for stdout. `COLUMNS` and `LINES` count before the terminal's own size.
    pub(crate) fn of_terminal(colour: Colour) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let size = if terminal { rustix::termios::tcgetwinsize(&stdout).ok() } else { None };
        let number = |name: &str| variable(name).and_then(|v| v.parse::<usize>().ok()).filter(|n| *n > 0);
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        Self {
            out: String::new(),
            width: number("COLUMNS").or(size.map(|s| s.ws_col.into()).filter(|n| *n > 0)).unwrap_or(WIDTH).max(20),
            height: number("LINES").or(size.map(|s| s.ws_row.into()).filter(|n| *n > 0)),
            colour: match colour {
                Colour::Always => true,
                Colour::Never => false,
                Colour::Auto => terminal && !dumb,
            },
        }
    }

    /// Rows that a list may take on a screen; everything when there is no screen.
    pub(crate) fn rows(&self) -> usize {
        self.height.map_or(usize::MAX, |height| height.saturating_sub(3).max(5))
    }

    /// Rows of a screen, real or not.
    pub(crate) fn screen(&self) -> usize {
        self.height.unwrap_or(HEIGHT).saturating_sub(3).max(10)
    }

    /// A line of text, which may be foreign.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(&text::line(line.as_ref()));
        self.out.push('\n');
    }

    /// Several lines of foreign text, indented.
    #[allow(dead_code, reason = "messages and descriptions are shown with it")]
    pub(crate) fn block(&mut self, foreign: &str, indent: usize) {
        for line in text::block(foreign).lines() {
            self.out.push_str(&" ".repeat(indent));
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    /// An empty line, unless the page is empty or has one.
    pub(crate) fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// A line in a tone.
    pub(crate) fn toned(&mut self, tone: Tone, line: impl AsRef<str>) {
        let line = text::line(line.as_ref());
        self.painted(tone.code(), &line);
    }

    fn painted(&mut self, code: Option<&str>, line: &str) {
        match code.filter(|_| self.colour) {
            Some(code) => self.out.push_str(&format!("\u{1b}[{code}m{line}\u{1b}[0m\n")),
            None => {
                self.out.push_str(line);
                self.out.push('\n');
            }
        }
    }

    /// Names and values, one a line; empty values are left out.
    pub(crate) fn fields<'a>(&mut self, fields: impl IntoIterator<Item = (&'a str, Option<String>)>) {
        let fields: Vec<_> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in fields {
            self.out.push_str(&format!("{name:width$}  {}\n", text::line(&value)));
        }
    }

    /// A table, at most `most` rows of it; then how many more there are and which command shows them.
    pub(crate) fn grid(&mut self, grid: Grid, most: usize, more: &str) {
        let hidden = grid.rows.len().saturating_sub(most);
        let tones: Vec<Tone> = grid.rows.iter().take(most).map(|(tone, _)| *tone).collect();
        let mut builder = Builder::default();
        let columns: Vec<usize> = (0..grid.header.len())
            .filter(|i| grid.rows.iter().take(most).any(|(_, cells)| cells.get(*i).is_some_and(|c| !c.is_empty())))
            .collect();
        if columns.is_empty() {
            return;
        }
        builder.push_record(columns.iter().map(|i| grid.header[*i]));
        for (_, cells) in grid.rows.iter().take(most) {
            builder.push_record(columns.iter().map(|i| text::line(cells.get(*i).map_or("", String::as_str))));
        }
        let mut table = builder.build();
        table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
        table.with(Width::truncate(self.width + 2).suffix("…").priority(PriorityMax::right()));
        for (i, line) in table.to_string().lines().enumerate() {
            let code = if i == 0 { Some("1") } else { tones.get(i - 1).and_then(|tone| tone.code()) };
            self.painted(code, line.trim_end());
        }
        if hidden > 0 {
            self.toned(Tone::Faint, format!("{hidden} more   {more}"));
        }
    }

    /// The finished page.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// A table: a header and rows. Columns in which every cell is empty are left out.
#[derive(Debug)]
pub(crate) struct Grid {
    header: Vec<&'static str>,
    rows: Vec<(Tone, Vec<String>)>,
}

impl Grid {
    /// A table with these columns.
    pub(crate) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, tone: Tone, cells: [String; N]) {
        self.rows.push((tone, cells.to_vec()));
    }
}
