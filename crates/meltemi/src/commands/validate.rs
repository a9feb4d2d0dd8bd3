//! `meltemi validate FILE...`: what is wrong with files, without a mesh.

use super::{Outcome, Usage};
use crate::output::{self, OutputArgs};
use anyhow::Context;
use meltemi_api::Severity;
use meltemi_config::{ConfigError, offline};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Args {
    /// File, directory with what is below it, or - for standard input
    #[arg(value_name = "FILE|DIR|-", required_unless_present = "filename")]
    file: Vec<PathBuf>,
    /// The same, as kubectl's; may be repeated
    #[arg(short, long, value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the files say.
#[derive(Serialize, Default)]
struct Report {
    /// Files read.
    files: usize,
    /// Objects of kinds that Meltemi knows, and documents that cannot be read.
    objects: usize,
    /// Those that are wrong.
    invalid: usize,
    /// Those that are right but refused by a mesh, since Meltemi cannot do them yet.
    unsupported: usize,
    /// Objects of other kinds, by kind, which are not looked at.
    passed_over: BTreeMap<String, usize>,
    /// What is to be said, in order of files and lines.
    messages: Vec<ConfigError>,
}

impl Report {
    fn add(&mut self, checked: offline::Checked) {
        if let Some(kind) = checked.unknown_kind {
            *self.passed_over.entry(kind).or_default() += 1;
            return;
        }
        let has = |severity| checked.findings.iter().any(|f| f.severity == severity);
        self.objects += 1;
        self.invalid += usize::from(has(Severity::Error));
        self.unsupported += usize::from(has(Severity::Unsupported));
        self.messages.extend(checked.findings);
    }

    fn count(&self, severity: Severity) -> usize {
        let of = self.messages.iter().filter(|m| m.severity == severity);
        of.count()
    }

    /// One line a message, and a last one with the numbers. What is of no consequence is
    /// counted only.
    fn text(&self) -> String {
        let mut out = String::new();
        for message in &self.messages {
            if message.severity != Severity::Info {
                let _ = writeln!(out, "{}: {message}", message.severity);
            }
        }
        let count = |number: usize, one: &str, many: &str| {
            format!("{number} {}", if number == 1 { one } else { many })
        };
        let mut parts = vec![
            count(self.files, "file", "files"),
            count(self.objects, "object", "objects"),
            format!("{} invalid", self.invalid),
        ];
        if self.unsupported > 0 {
            parts.push(format!("{} not supported yet", self.unsupported));
        }
        for (severity, one, many) in [
            (Severity::Warning, "warning", "warnings"),
            (Severity::Notice, "notice", "notices"),
            (Severity::Info, "remark (-o json)", "remarks (-o json)"),
        ] {
            let number = self.count(severity);
            if number > 0 {
                parts.push(count(number, one, many));
            }
        }
        let _ = writeln!(out, "{}", parts.join(", "));
        if !self.passed_over.is_empty() {
            let kinds = self
                .passed_over
                .iter()
                .map(|(kind, n)| format!("{n} {kind}"));
            let kinds: Vec<String> = kinds.collect();
            let _ = writeln!(out, "passed over, of other kinds: {}", kinds.join(", "));
        }
        out
    }
}

pub fn run(args: Args) -> Outcome {
    let mut report = Report::default();
    for path in args.file.iter().chain(&args.filename) {
        for (name, text) in read(path)? {
            report.files += 1;
            for checked in offline::check_text(&name, &text, &args.namespace) {
                report.add(checked);
            }
        }
    }
    output::print(args.output.output, &report, || report.text())?;
    Ok(ExitCode::from(u8::from(report.invalid > 0)))
}

/// The files that a path names, with their text.
fn read(path: &Path) -> anyhow::Result<Vec<(Arc<Path>, Vec<u8>)>> {
    if path.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::stdin()
            .take(meltemi_config::yaml::MAX_FILE_BYTES + 1)
            .read_to_end(&mut text)
            .context("cannot read standard input")?;
        return Ok(vec![(Arc::from(Path::new("stdin")), text)]);
    }
    let usage = |error: Box<ConfigError>| anyhow::Error::new(Usage(error.to_string()));
    let files = offline::files(path).map_err(usage)?;
    files
        .into_iter()
        .map(|file| {
            let text = offline::read(&file).map_err(usage)?;
            Ok((file, text))
        })
        .collect()
}
