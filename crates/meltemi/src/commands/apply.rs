//! `meltemi apply -f FILE`.

use super::{Outcome, block_on, duration};
use crate::mesh::Mesh;
use crate::output::{self, Format, OutputArgs};
use anyhow::{Context, bail};
use hyper::Method;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// Validate and show the difference; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Return when every proxy has accepted the change, or after this long
    #[arg(long, value_parser = duration, value_name = "DURATION", num_args = 0..=1, default_missing_value = "30s")]
    wait: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

/// `-f`, as kubectl's.
#[derive(clap::Args)]
pub struct Files {
    /// File, directory, or - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub file: Vec<PathBuf>,
}

impl Files {
    /// All documents of all files, as one stream.
    pub fn read(&self) -> anyhow::Result<String> {
        let mut stream = String::new();
        for path in &self.file {
            for file in expand(path)? {
                let text = read(&file)?;
                if !stream.is_empty() {
                    stream.push_str("\n---\n");
                }
                stream.push_str(&text);
            }
        }
        Ok(stream)
    }
}

fn expand(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let extension = file.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("yaml" | "yml" | "json"))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("{} has no .yaml, .yml or .json file", path.display());
    }
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn run(args: Args, mesh: Option<&str>) -> Outcome {
    let mesh = Mesh::find(mesh)?;
    let text = args.files.read()?;
    block_on(async move {
        if args.dry_run {
            let answer: Value = mesh.api().json(Method::POST, "/v1/diff", text).await?;
            output::print(args.output.output, &answer, || answer["diff"].as_str().unwrap_or("").to_owned())?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = match args.wait {
            Some(wait) => format!("/v1/apply?wait={}", wait.as_secs().clamp(1, 600)),
            None => "/v1/apply".to_owned(),
        };
        let answer: Value = mesh.api().json(Method::POST, &path, text).await?;
        let strings = |key: &str| -> Vec<String> {
            let list = answer[key].as_array().into_iter().flatten();
            list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        if args.output.output == Format::Text {
            for warning in strings("warnings") {
                eprintln!("warning: {warning}");
            }
        }
        output::print(args.output.output, &answer, || outcomes(&answer))?;
        let stale = strings("stale");
        if !stale.is_empty() {
            bail!("not in force everywhere: {}; see `meltemi status`", stale.join(", "));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn outcomes(answer: &Value) -> String {
    let list = answer["outcomes"].as_array().into_iter().flatten();
    list.map(|outcome| {
        let text = |key: &str| outcome[key].as_str().unwrap_or("");
        format!("{} {}\n", text("resource"), text("action"))
    })
    .collect()
}
