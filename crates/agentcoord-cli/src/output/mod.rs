//! The only writer to stdout and stderr. stdout is the answer, stderr is everything else.
//!
//! A command returns a view; what it looks like as a table, as ids and in JSON is the view's [`Render`].

pub(crate) mod json;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;

use std::io::{IsTerminal, Write};

use agentcoord::core::op::Actor;
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

pub(crate) use self::json::Meta;
pub(crate) use self::table::{Grid, Page, Tone};
pub(crate) use self::time::{Stamp, ago};
use crate::cli::Global;
use crate::config::{Settings, variable};
use crate::error::CliError;
use crate::exit::Exit;

/// How to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One object.
    Json,
    /// One item a line.
    Jsonl,
    /// Ids only, one a line.
    Id,
}

impl Format {
    /// The format as a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Id => "id",
        }
    }

    /// The format of a word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Table, Self::Json, Self::Jsonl, Self::Id].into_iter().find(|f| f.word() == word)
    }

    /// What flags and environment ask for, before anything else is known.
    pub(crate) fn of_flags(global: &Global) -> Self {
        let json = global.json.then_some(Self::Json);
        let variable = || variable("AGENTCOORD_OUTPUT").and_then(|word| Self::parse(&word));
        global.output.or(json).or_else(variable).unwrap_or_default()
    }

    /// As [`Format::of_flags`], for a command line that could not be understood.
    pub(crate) fn of_words(words: impl Iterator<Item = String>) -> Self {
        let mut global = Global::default();
        let mut previous = String::new();
        for word in words.take_while(|word| word != "--") {
            let value = word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")).filter(|v| !v.is_empty());
            let value = if matches!(previous.as_str(), "-o" | "--output") { Some(word.as_str()) } else { value };
            global.output = value.and_then(Self::parse).or(global.output);
            global.json |= word == "--json";
            previous = word;
        }
        Self::of_flags(&global)
    }
}

/// What a command answers with. The serialized form is the JSON `data`.
pub(crate) trait Render: Serialize + 'static {
    /// Draws it for people.
    fn table(&self, page: &mut Page);

    /// What `-o id` prints, one a line.
    fn ids(&self) -> Vec<String> {
        Vec::new()
    }

    /// What `-o jsonl` prints, one a line; lists give their items here (see [`json::lines`]).
    fn lines(&self) -> serde_json::Result<Vec<String>> {
        serde_json::to_string(self).map(|line| vec![line])
    }

    /// The exit code of the outcome.
    fn exit(&self) -> Exit {
        Exit::Done
    }

    /// True when stdout belonged to somebody else, and nothing is added to it in any format.
    fn silent(&self) -> bool {
        false
    }

    /// What counts as read once this was written out.
    fn receipt(&self) -> Option<&Receipt> {
        None
    }
}

/// What the board is told once an answer was written out whole: its messages were delivered.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// Whose inbox it was.
    pub(crate) actor: Actor,
    /// The last message.
    pub(crate) up_to: u64,
}

/// An answer of any command.
pub(crate) trait Answer {
    /// As [`Render::table`].
    fn table(&self, page: &mut Page);
    /// As [`Render::ids`].
    fn ids(&self) -> Vec<String>;
    /// As [`Render::lines`].
    fn lines(&self) -> serde_json::Result<Vec<String>>;
    /// The JSON envelope around the answer.
    fn json(&self, meta: &Meta) -> serde_json::Result<String>;
    /// As [`Render::exit`].
    fn exit(&self) -> Exit;
    /// As [`Render::silent`].
    fn silent(&self) -> bool;
    /// As [`Render::receipt`].
    fn receipt(&self) -> Option<&Receipt>;
}

impl<T: Render> Answer for T {
    fn table(&self, page: &mut Page) {
        Render::table(self, page);
    }

    fn ids(&self) -> Vec<String> {
        Render::ids(self)
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        Render::lines(self)
    }

    fn json(&self, meta: &Meta) -> serde_json::Result<String> {
        json::envelope(self, meta)
    }

    fn exit(&self) -> Exit {
        Render::exit(self)
    }

    fn silent(&self) -> bool {
        Render::silent(self)
    }

    fn receipt(&self) -> Option<&Receipt> {
        Render::receipt(self)
    }
}

/// A view, or an answer that is boxed already: what the dispatch of commands takes.
pub(crate) trait IntoAnswer {
    /// The answer.
    fn into_answer(self) -> Box<dyn Answer>;
}

impl<T: Render> IntoAnswer for T {
    fn into_answer(self) -> Box<dyn Answer> {
        Box::new(self)
    }
}

impl IntoAnswer for Box<dyn Answer> {
    fn into_answer(self) -> Box<dyn Answer> {
        self
    }
}

/// Writes an answer to stdout. The second value: whether all of it was taken.
pub(crate) fn emit(answer: &dyn Answer, meta: &Meta, settings: &Settings) -> (Exit, bool) {
    if answer.silent() {
        return (answer.exit(), false);
    }
    match rendered(answer, meta, settings) {
        Ok(text) => match write(&text) {
            Written::All => (answer.exit(), true),
            Written::Closed => (answer.exit(), false),
            Written::Failed(exit) => (exit, false),
        },
        Err(cause) => {
            (fail(&CliError::internal("the answer cannot be written as JSON", cause), settings.format), false)
        }
    }
}

/// An answer as text.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn rendered(answer: &dyn Answer, meta: &Meta, settings: &Settings) -> serde_json::Result<String> {
    let list = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect::<String>();
    match settings.format {
        Format::Table => {
            let mut page = Page::of_terminal(settings.colour);
            answer.table(&mut page);
            Ok(page.finish())
        }
        Format::Id => Ok(list(answer.ids().iter().map(|id| text::line(id)).collect())),
        Format::Jsonl => answer.lines().map(|lines| list(lines.iter().map(|line| json::visible(line)).collect())),
        Format::Json => answer.json(meta).map(|text| json::visible(&text) + "\n"),
    }
}

/// What became of a text on its way to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was taken.
    All,
    /// The reader has gone away, which is no failure.
    Closed,
    /// It could not be written; the error was told.
    Failed(Exit),
}

/// Writes text to stdout.
pub(crate) fn write(text: &str) -> Written {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Written::All,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Written::Closed,
        Err(error) => Written::Failed(fail(&CliError::internal("stdout", error), Format::Table)),
    }
}

/// Writes text to stdout. A reader that has gone away is no failure.
pub(crate) fn print(text: &str) -> Exit {
    match write(text) {
        Written::All | Written::Closed => Exit::Done,
        Written::Failed(exit) => exit,
    }
}

/// stdout, for an answer that is too long to be kept in memory.
pub(crate) fn stdout() -> impl Write {
    std::io::stdout().lock()
}

/// True when a person looks at stdout.
pub(crate) fn is_screen() -> bool {
    std::io::stdout().is_terminal()
}

/// Resolves when whoever reads stdout has gone away: a command that only waits would not notice by writing.
///
/// # Errors
/// When no thread can be started for it.
pub(crate) fn reader_gone() -> Result<impl Future<Output = ()>, CliError> {
    let (sender, gone) = tokio::sync::oneshot::channel();
    let wait = move || {
        let stdout = std::io::stdout();
        loop {
            // Asked for nothing, the kernel still tells of errors and of an end.
            let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                // Then a write will tell.
                Err(_) => return,
            }
        }
        sender.send(()).unwrap_or_default();
    };
    let thread = std::thread::Builder::new().name("agentcoord-stdout".to_owned()).spawn(wait);
    drop(thread.map_err(|cause| CliError::internal("a thread cannot be started", cause))?);
    Ok(async move {
        if gone.await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Writes text to stderr, foreign parts and all: lines stay, nothing else moves the cursor. When even that fails there
/// is nobody to tell.
pub(crate) fn complain(foreign: &str) {
    draw(&text::block(foreign));
}

/// Writes to stderr what may move the cursor: nothing foreign.
pub(crate) fn draw(own: &str) {
    drop(std::io::stderr().lock().write_all(own.as_bytes()));
}

/// Where log lines go: as [`complain`] writes them.
pub(crate) struct Complaints;

impl Write for Complaints {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        complain(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Passes on what a command wrote to stderr, as it is.
pub(crate) fn relay(bytes: &[u8]) {
    drop(std::io::stderr().lock().write_all(bytes));
}

/// True when a person watches stderr.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Writes an error to stderr and says how the process ends.
pub(crate) fn fail(error: &CliError, format: Format) -> Exit {
    match format {
        Format::Json | Format::Jsonl => complain(&json::error(error)),
        Format::Table | Format::Id => complain(&text::error(error)),
    }
    error.exit
}
