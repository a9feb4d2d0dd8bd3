//! `meltemi apply -f FILE`.

use super::{Outcome, block_on, duration};
use crate::mesh::ApiArgs;
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
    mesh: ApiArgs,
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

/// The documents of all files as one stream that remembers where each file begins.
pub struct Stream {
    pub text: String,
    /// First line of each file in the stream, from 1.
    starts: Vec<(usize, PathBuf)>,
}

impl Files {
    pub fn read(&self) -> anyhow::Result<Stream> {
        let mut stream = Stream {
            text: String::new(),
            starts: Vec::new(),
        };
        for path in &self.file {
            for file in expand(path)? {
                let text = read(&file)?;
                if !stream.text.is_empty() {
                    stream.text.push_str("\n---\n");
                }
                let line = stream.text.matches('\n').count() + 1;
                stream.starts.push((line, file));
                stream.text.push_str(&text);
            }
        }
        Ok(stream)
    }
}

impl Stream {
    /// The control plane counts lines of the stream; people want those of their files.
    pub fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let text = format!("{error:#}");
        let lines: Vec<String> = text.lines().map(|line| self.place(line)).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    }

    /// Tells people what an answer says of the files; programs have it in the answer. What is
    /// of no consequence is not told.
    pub fn warn(&self, answer: &Value, format: Format) {
        if format != Format::Text {
            return;
        }
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            let text = |key: &str| warning[key].as_str().unwrap_or_default();
            if text("severity") != "info" {
                eprintln!("{}: {}", text("severity"), self.place(text("text")));
            }
        }
    }

    fn place(&self, text: &str) -> String {
        let placed = || {
            let (number, rest) = text.strip_prefix("line ")?.split_once(": ")?;
            let number: usize = number.parse().ok()?;
            let (start, file) = self
                .starts
                .iter()
                .rev()
                .find(|(start, _)| *start <= number)?;
            Some(format!("{}:{}: {rest}", file.display(), number - start + 1))
        };
        placed().unwrap_or_else(|| text.to_owned())
    }
}

fn expand(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries =
        std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
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
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn run(args: Args) -> Outcome {
    let api = args.mesh.find()?;
    let stream = args.files.read()?;
    let post = async |path: &str| -> anyhow::Result<Value> {
        let answer = api.json(Method::POST, path, stream.text.clone()).await;
        answer.map_err(|error| stream.explain(&error))
    };
    block_on(async {
        if args.dry_run {
            let answer = post("/v1/diff").await?;
            stream.warn(&answer, args.output.output);
            output::print(args.output.output, &answer, || {
                answer["diff"].as_str().unwrap_or("").to_owned()
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let path = match args.wait {
            Some(wait) => format!("/v1/apply?wait={}", wait.as_secs().clamp(1, 600)),
            None => "/v1/apply".to_owned(),
        };
        let answer = post(&path).await?;
        let strings = |key: &str| -> Vec<String> {
            let list = answer[key].as_array().into_iter().flatten();
            list.filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        stream.warn(&answer, args.output.output);
        output::print(args.output.output, &answer, || outcomes(&answer))?;
        if answer["outcomes"].as_array().is_none_or(Vec::is_empty) {
            bail!("nothing was applied: the files hold no object of a kind that Meltemi knows");
        }
        let stale = strings("stale");
        if !stale.is_empty() {
            bail!(
                "not in force everywhere: {}; see `meltemi status`",
                stale.join(", ")
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_stream_become_lines_of_files() {
        let stream = Stream {
            text: String::new(),
            starts: vec![(1, "a.yaml".into()), (12, "b.yaml".into())],
        };
        let error = anyhow::anyhow!("line 3: VirtualService x: wrong\nline 14: y\nremedy");
        assert_eq!(
            stream.explain(&error).to_string(),
            "a.yaml:3: VirtualService x: wrong\nb.yaml:3: y\nremedy"
        );
    }
}
