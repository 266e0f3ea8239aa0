//! The file of an import, which is read twice: once to be checked, once to be written.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};

use agentcoord::core::limits;

use crate::context::Context;
use crate::error::CliError;

/// Longest line that can be a task: its long texts, and room for the rest and for escapes.
pub(super) const LINE_BYTES: usize = 4 * limits::BLOB_BYTES;

/// Lines that can be read again. What can be read only once is kept in a file without a name.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    file: File,
}

impl Source {
    pub(super) fn open(context: &Context, name: &str) -> Result<Self, CliError> {
        let unreadable = |e| unreadable(name, &e);
        if name == "-" {
            let file = spooled(std::io::stdin().lock()).map_err(|e| self::unreadable("stdin", &e))?;
            return Ok(Self { name: "stdin".to_owned(), file });
        }
        let mut file = File::open(context.settings().cwd.join(name)).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            file = spooled(file).map_err(unreadable)?;
        }
        Ok(Self { name: name.to_owned(), file })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes, as far as that is known.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len())
    }

    /// The lines from the first one on.
    pub(super) fn lines(&mut self) -> Result<Lines<'_>, CliError> {
        self.file.rewind().map_err(|e| unreadable(&self.name, &e))?;
        let reader = BufReader::with_capacity(256 * 1024, &self.file);
        Ok(Lines { name: &self.name, reader, number: 0, bytes: Vec::new() })
    }
}

/// The lines of a source, one at a time.
pub(super) struct Lines<'a> {
    name: &'a str,
    reader: BufReader<&'a File>,
    number: usize,
    bytes: Vec<u8>,
}

impl Lines<'_> {
    /// The next line and its number, from 1. Of one that is too long, one byte more than [`LINE_BYTES`].
    pub(super) fn next(&mut self) -> Result<Option<(usize, &[u8])>, CliError> {
        self.bytes.clear();
        let mut some = (&mut self.reader).take(LINE_BYTES as u64 + 1);
        let read = some.read_until(b'\n', &mut self.bytes).map_err(|e| unreadable(self.name, &e))?;
        self.number += 1;
        Ok((read > 0).then_some((self.number, &self.bytes)))
    }
}

fn spooled(mut source: impl Read) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut source, &mut file)?;
    Ok(file)
}

fn unreadable(name: &str, cause: &std::io::Error) -> CliError {
    CliError::invalid(format!("{name} cannot be read: {cause}"))
}
