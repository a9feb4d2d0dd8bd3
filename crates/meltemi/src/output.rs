//! How answers are printed: tables for people, JSON and YAML for programs.

use anyhow::Context;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// `-o`: how an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    // For people: a table, or lines.
    #[default]
    Text,
    Json,
    Yaml,
}

/// The `-o` flag of every command that prints an answer.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Output format
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        global = true
    )]
    pub output: Format,
}

/// Prints `value` as JSON or YAML, or calls `text` for people.
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let rendered = match format {
        Format::Text => text(),
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
        Format::Yaml => serde_saphyr::to_string(value).context("cannot write this as YAML")?,
    };
    write(&rendered)
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
pub fn write(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// An error with its causes, each said once: some errors repeat theirs.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Columns aligned as kubectl's: upper-case heads, three blanks between.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - visible(cell) + 3));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// Characters of a cell without its colour codes.
fn visible(cell: &str) -> usize {
    let mut count = 0;
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(|c| *c == 'm');
        } else {
            count += 1;
        }
    }
    count
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Green = 32,
    Yellow = 33,
    Red = 31,
}

/// Colours text when standard output is a terminal and `NO_COLOR` is not set.
pub fn colour(colour: Colour, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{}m{text}\u{1b}[0m", colour as u8)
    } else {
        text.to_owned()
    }
}

/// A span of time as kubectl writes ages: `42s`, `5m`, `3h`, `2d`.
pub fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "expired".to_owned(),
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_their_colour() {
        let rows = vec![
            vec!["\u{1b}[32mok\u{1b}[0m".to_owned(), "x".to_owned()],
            vec!["stale".to_owned(), "y".to_owned()],
        ];
        let text = table(&["STATE", "NAME"], &rows);
        assert_eq!(
            text,
            "STATE   NAME\n\u{1b}[32mok\u{1b}[0m      x\nstale   y\n"
        );
    }

    #[test]
    fn causes_are_said_once() {
        let cause = std::io::Error::other("no such thing");
        let error = anyhow::Error::new(cause).context("cannot do it: no such thing");
        assert_eq!(chain(&error.context("a")), "a: cannot do it: no such thing");
    }

    #[test]
    fn ages_are_short() {
        assert_eq!(
            [age(5), age(600), age(86_400), age(-1)],
            ["5s", "10m", "24h", "expired"]
        );
    }
}
