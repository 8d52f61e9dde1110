//! Results on standard output, as text or JSON; remarks and progress on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::settings::Global;

/// How this command shows what it found.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
    quiet: bool,
}

impl Output {
    /// As the options say.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Output {
            json: global.json,
            quiet: global.quiet,
        }
    }

    /// The result: one JSON value, or the text. Both say the same facts.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn show(&self, value: &Value, text: impl FnOnce() -> String) -> Outcome<()> {
        if self.json {
            let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Local(error.to_string()))?;
            return print(&text);
        }
        print(&text())
    }

    /// Text that has one form only, such as CSV.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn show_text(&self, text: &str) -> Outcome<()> {
        print(text)
    }

    /// One line of a stream of results: compact JSON, or the text.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn show_line(&self, value: &Value, text: impl FnOnce() -> String) -> Outcome<()> {
        if self.json {
            print(&value.to_string())
        } else {
            print(&text())
        }
    }

    /// A remark for people.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says why the command ended.
    pub fn failure(&self, failure: &Failure) {
        let text = if self.json {
            failure.json().map(|value| value.to_string())
        } else {
            failure.text()
        };
        if let Some(text) = text {
            eprintln!("{text}");
        }
    }

    /// Whether people want to see how far something is.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// A spinner on a terminal, nothing elsewhere.
    #[must_use]
    pub fn spinner(&self) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// A line on standard output. A reader that has gone away (`| head`) ends the command without a word.
fn print(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() {
        ""
    } else {
        "\n"
    };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// A table without lines; columns whose header begins with `>` are set to the right.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        header
            .iter()
            .map(|name| name.trim_start_matches('>'))
            .collect::<Vec<_>>(),
    );
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)).collect::<Vec<_>>());
    }
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if name.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Names and values under each other; empty values are left out.
#[must_use]
pub fn record(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let shown = fields.iter().filter(|(_, value)| !value.is_empty());
    let lines: Vec<String> = shown
        .map(|(name, value)| format!("{name:<width$}  {}", printable(value)))
        .collect();
    lines.join("\n")
}

/// Text from others must not steer the terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect()
}
