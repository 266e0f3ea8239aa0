//! The page that people read: lines and aligned tables without borders, cut to the terminal.

use std::io::IsTerminal;

use tabled::builder::Builder;
use tabled::grid::util::string::get_line_width;
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
    pub(crate) fn block(&mut self, foreign: &str, indent: usize) {
        for line in text::block(foreign).lines() {
            self.out.push_str(&" ".repeat(indent));
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    /// Foreign text of any kind, indented: a diff as a diff, else as a block.
    pub(crate) fn text(&mut self, foreign: &str, indent: usize) {
        if text::is_diff(foreign) { self.diff(foreign, indent) } else { self.block(foreign, indent) }
    }

    /// A diff, indented; what comes and what goes has its colour.
    pub(crate) fn diff(&mut self, foreign: &str, indent: usize) {
        for line in text::block(foreign).lines() {
            let code = match line.as_bytes().first() {
                _ if ["+++", "---", "diff ", "index "].iter().any(|head| line.starts_with(head)) => Some("1"),
                Some(b'+') => Some("32"),
                Some(b'-') => Some("31"),
                Some(b'@') => Some("36"),
                _ => None,
            };
            self.painted(code, &format!("{}{line}", " ".repeat(indent)));
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
        let Some(rows) = grid.fit(most, self.width) else { return };
        let mut table = Builder::from_iter(rows).build();
        table.with(Style::empty()).with(Padding::new(0, GAP, 0, 0));
        table.with(Width::truncate(self.width + GAP).suffix("…").priority(PriorityMax::right()));
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
    prose: Vec<&'static str>,
    path: Option<&'static str>,
    rows: Vec<(Tone, Vec<String>)>,
}

/// Narrower than this no column of prose is made.
const PROSE: usize = 12;
/// Narrower than this no column of paths is made.
const PATH: usize = 16;
/// Blanks between columns.
const GAP: usize = 2;

impl Grid {
    /// A table with these columns.
    pub(crate) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), prose: Vec::new(), path: None, rows: Vec::new() }
    }

    /// Names the columns that are cut first where the terminal is too narrow.
    pub(crate) fn prose<const N: usize>(mut self, columns: [&'static str; N]) -> Self {
        self.prose = columns.to_vec();
        self
    }

    /// Names the column that is cut next, and from the left: the end of a path says most.
    pub(crate) fn path(mut self, column: &'static str) -> Self {
        self.path = Some(column);
        self
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, tone: Tone, cells: [String; N]) {
        self.rows.push((tone, cells.to_vec()));
    }

    /// The header and at most `most` rows, in the columns that have anything, cut to `width` as far as prose and paths
    /// can give way. None when there is nothing to show.
    fn fit(&self, most: usize, width: usize) -> Option<Vec<Vec<String>>> {
        let shown = || self.rows.iter().take(most).map(|(_, cells)| cells);
        let has_any = |i: &usize| shown().any(|cells| !cells[*i].is_empty());
        let columns: Vec<usize> = (0..self.header.len()).filter(has_any).collect();
        if columns.is_empty() {
            return None;
        }
        let header = columns.iter().map(|i| self.header[*i].to_owned()).collect();
        let cells = shown().map(|cells| columns.iter().map(|i| text::line(&cells[*i])).collect());
        let mut rows: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
        let mut widths: Vec<usize> =
            (0..columns.len()).map(|i| rows.iter().map(|row| get_line_width(&row[i])).max().unwrap_or(0)).collect();
        let named = |names: &[&str]| -> Vec<usize> {
            (0..columns.len()).filter(|i| names.contains(&self.header[columns[*i]])).collect()
        };
        let (prose, path) = (named(&self.prose), named(self.path.as_slice()));
        let mut over = (widths.iter().sum::<usize>() + GAP * (columns.len() - 1)).saturating_sub(width);
        for (group, least) in [(&prose, PROSE), (&path, PATH)] {
            while over > 0
                && let Some(widest) = group.iter().copied().max_by_key(|i| widths[*i])
                && widths[widest] > least
            {
                widths[widest] -= 1;
                over -= 1;
            }
        }
        for row in &mut rows {
            for i in &prose {
                row[*i] = cut(&row[*i], widths[*i], false);
            }
            for i in &path {
                row[*i] = cut(&row[*i], widths[*i], true);
            }
        }
        Some(rows)
    }
}

/// Text cut to a width, at its end or at its beginning.
fn cut(text: &str, width: usize, keep_end: bool) -> String {
    if get_line_width(text) <= width {
        return text.to_owned();
    }
    let mut chars: Vec<char> = text.chars().collect();
    if keep_end {
        chars.reverse();
    }
    let mut kept = String::new();
    for c in chars {
        kept.push(c);
        if get_line_width(&kept) >= width {
            kept.pop();
            break;
        }
    }
    if keep_end { std::iter::once('…').chain(kept.chars().rev()).collect() } else { kept + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> Page {
        Page { out: String::new(), width, height: None, colour: false }
    }

    fn grid() -> Grid {
        let mut grid = Grid::new(["PATH", "HOLDER", "EMPTY", "INTENT"]).prose(["INTENT"]).path("PATH");
        let cells = ["src/long/module/implementation.rs", "brave-heron", "", "a long story that nobody needs"];
        grid.row(Tone::Plain, cells.map(str::to_owned));
        grid
    }

    #[test]
    fn prose_gives_way_before_paths_and_paths_keep_their_end() {
        let mut wide = page(62);
        wide.grid(grid(), 9, "");
        assert_eq!(
            wide.finish().lines().last(),
            Some("src/long/module/implementation.rs  brave-heron  a long story …")
        );
        let mut narrow = page(50);
        narrow.grid(grid(), 9, "");
        assert_eq!(narrow.finish().lines().last(), Some("…dule/implementation.rs  brave-heron  a long stor…"));
    }

    #[test]
    fn every_line_fits_however_narrow_the_terminal_is() {
        for width in 20..100 {
            let mut page = page(width);
            page.grid(grid(), 9, "");
            let out = page.finish();
            assert!(out.lines().all(|line| line.chars().count() <= width), "{width}:\n{out}");
            assert!(!out.contains("EMPTY"));
        }
    }

    #[test]
    fn wide_characters_are_measured_as_they_are_shown() {
        assert_eq!(cut("日本語のテキスト", 7, false), "日本語…");
        assert_eq!(cut("日本語のテキスト", 7, true), "…キスト");
        assert_eq!(cut("short", 7, true), "short");
    }
}
