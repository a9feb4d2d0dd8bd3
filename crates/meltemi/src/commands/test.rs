//! `meltemi test FILE|DIR...`: unit tests of mesh configuration.

use super::{Outcome, Usage};
use crate::output::{self, Colour, colour};
use anyhow::{Context, bail};
use meltemi_simulation::suite::{self, Report};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    /// Files of tests, and directories that hold some
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
    /// Only tests whose name contains this text
    #[arg(
        long,
        default_value = "",
        value_name = "TEXT",
        hide_default_value = true
    )]
    filter: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
    /// XML as JUnit writes it, for CI
    Junit,
}

pub fn run(args: Args) -> Outcome {
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, true, &mut files)?;
    }
    if files.is_empty() {
        bail!(Usage(
            "there are no tests: no file has a list `tests` at its top (docs/test.md)".to_owned()
        ));
    }
    let mut reports = Vec::new();
    for file in &files {
        reports.push(suite::run(file, &args.filter)?);
    }
    let results = || reports.iter().flat_map(|report| &report.results);
    let failed = results().filter(|result| !result.passed()).count();
    let passed = results().count() - failed;
    match args.output {
        Format::Text => output::write(&text(&reports, passed, failed))?,
        Format::Json => output::write(&(serde_json::to_string_pretty(&reports)? + "\n"))?,
        Format::Junit => output::write(&junit(&reports))?,
    }
    if passed + failed == 0 {
        bail!(Usage(format!(
            "no test's name contains \"{}\"",
            args.filter
        )));
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// The files of tests below a path; one that is named itself has to be one.
fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_dir() {
        let entries =
            std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut found = Vec::new();
        for entry in entries {
            found.push(entry?.path());
        }
        found.sort();
        for path in found {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden {
                collect(&path, false, files)?;
            }
        }
        return Ok(());
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_yaml = matches!(extension, Some("yaml" | "yml"));
    if named {
        files.push(path.to_owned());
    } else if is_yaml {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if suite::is_suite(&text) {
            files.push(path.to_owned());
        }
    }
    Ok(())
}

fn text(reports: &[Report], passed: usize, failed: usize) -> String {
    let mut out = String::new();
    for report in reports {
        out.push_str(&format!("{}\n", report.file.display()));
        for result in &report.results {
            let mark = match result.passed() {
                true => colour(Colour::Green, "ok  "),
                false => colour(Colour::Red, "FAIL"),
            };
            out.push_str(&format!("  {mark}  {}", result.name));
            if result.passed() {
                out.push('\n');
                continue;
            }
            out.push_str(&format!("  ({})\n", result.place));
            for failure in &result.failures {
                out.push_str(&format!("        {failure}\n"));
            }
            if let Some(explanation) = &result.explanation {
                out.push_str(&format!("        why: {}\n", explanation.sentence));
                if let Some(remedy) = &explanation.remedy {
                    out.push_str(&format!("        remedy: {remedy}\n"));
                }
            }
        }
    }
    out.push_str(&format!("{passed} passed, {failed} failed\n"));
    out
}

fn junit(reports: &[Report]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        let failed = report.results.iter().filter(|result| !result.passed());
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\">",
            escape(&report.file.display().to_string()),
            report.results.len(),
            failed.count()
        );
        for result in &report.results {
            let _ = write!(
                out,
                "    <testcase name=\"{}\" classname=\"{}\"",
                escape(&result.name),
                escape(&result.place)
            );
            if result.passed() {
                out.push_str("/>\n");
                continue;
            }
            let why = result.explanation.as_ref();
            let why = why.map_or("", |explanation| explanation.sentence.as_str());
            let _ = writeln!(
                out,
                ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                escape(&result.failures.join("; ")),
                escape(why)
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// XML 1.0: markup escaped, characters that it does not allow left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_keeps_its_shape_whatever_the_names() {
        assert_eq!(escape("a<b & \"c\"\u{1}"), "a&lt;b &amp; &quot;c&quot;");
    }
}
