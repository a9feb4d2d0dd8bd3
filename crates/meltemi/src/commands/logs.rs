//! `meltemi logs WORKLOAD`.

use super::{Outcome, block_on};
use crate::mesh::WorkloadArgs;
use anyhow::{Context, bail};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Bytes read from the end of a log at most when lines are counted.
const TAIL_BOUND: u64 = 16 << 20;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    workload: WorkloadArgs,
    /// Container (default: the first)
    #[arg(short, long, conflicts_with = "proxy")]
    container: Option<String>,
    /// The sidecar's log, access log included
    #[arg(short, long)]
    proxy: bool,
    /// Go on printing what is written
    #[arg(short, long)]
    follow: bool,
    /// Lines from the end (default: all)
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
}

pub fn run(args: Args) -> Outcome {
    let (mesh, pod) = args.workload.find()?;
    let container = match (&args.container, args.proxy) {
        (_, true) => "istio-proxy".to_owned(),
        (Some(container), _) => container.clone(),
        // A gateway has nothing but its proxy.
        (None, false) => pod
            .containers
            .first()
            .cloned()
            .unwrap_or_else(|| "istio-proxy".to_owned()),
    };
    let path = mesh.paths.log(&pod.namespace, &pod.name, &container);
    if !path.exists() {
        bail!(
            "pod {}/{} has no container \"{container}\"; it has {} and istio-proxy",
            pod.namespace,
            pod.name,
            pod.containers.join(", ")
        );
    }
    let position = print(&path, start(&path, args.tail)?)?;
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    block_on(follow(path, position))
}

async fn follow(path: PathBuf, mut position: u64) -> Outcome {
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(POLL) => {}
        }
        let length = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        // A shorter file was started anew.
        if length < position {
            position = 0;
        }
        if length > position {
            position = print(&path, position)?;
        }
    }
}

/// Prints from `position` to the end, and returns the end.
fn print(path: &Path, position: u64) -> anyhow::Result<u64> {
    let mut file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.seek(SeekFrom::Start(position))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    crate::output::write(&String::from_utf8_lossy(&text))?;
    Ok(position + text.len() as u64)
}

/// Where the last `lines` lines begin.
fn start(path: &Path, lines: Option<usize>) -> anyhow::Result<u64> {
    let Some(lines) = lines else { return Ok(0) };
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BOUND);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let end = text.len() - usize::from(text.ends_with(b"\n"));
    let mut breaks = text[..end].iter().rposition(|byte| *byte == b'\n');
    for _ in 1..lines {
        let Some(at) = breaks else { break };
        breaks = text[..at].iter().rposition(|byte| *byte == b'\n');
    }
    let offset = match (lines, breaks) {
        (0, _) => text.len(),
        (_, Some(at)) => at + 1,
        (_, None) => 0,
    };
    Ok(from + offset as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_counts_lines() {
        let dir = std::env::temp_dir().join(format!("meltemi-tail-{}", std::process::id()));
        std::fs::write(&dir, "one\ntwo\nthree\n").unwrap();
        let at = |lines| start(&dir, Some(lines)).unwrap();
        assert_eq!([at(0), at(1), at(2), at(3), at(9)], [14, 8, 4, 0, 0]);
        assert_eq!(start(&dir, None).unwrap(), 0);
        std::fs::remove_file(&dir).unwrap();
    }
}
