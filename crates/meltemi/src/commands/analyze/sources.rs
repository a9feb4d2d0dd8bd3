//! The files that are looked at.

use crate::mesh::Mesh;
use anyhow::{Context, bail};
use meltemi_analysis::SourceFile;
use meltemi_config::source;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Layers: what the user names stands in for what the supervisor says of pods and gateways,
/// and that for what is in the mesh's directory.
const MESH: u8 = 0;
const PLATFORM: u8 = 1;
const NAMED: u8 = 2;

/// Longest standard input, in bytes (as for a file of a directory).
const MAX_INPUT: u64 = meltemi_config::yaml::MAX_FILE_BYTES;

pub struct Sources<'a> {
    pub paths: &'a [PathBuf],
    pub clusters: &'a [(String, PathBuf)],
    pub recursive: bool,
}

/// `NAME=FILE|DIR`.
pub fn cluster(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err(format!("\"{text}\": write NAME=FILE or NAME=DIR")),
    }
}

/// A file's name and text.
pub fn text(path: &Path) -> anyhow::Result<(Arc<Path>, String)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path.into(), text))
}

impl Sources<'_> {
    /// Reads what is named, and the running mesh's files with it.
    pub fn read(&self, mesh: Option<&Mesh>) -> anyhow::Result<Vec<SourceFile>> {
        let mut all = Vec::new();
        for path in self.paths {
            all.extend(self.named(path, None)?);
        }
        for (cluster, path) in self.clusters {
            all.extend(self.named(path, Some(cluster))?);
        }
        if let Some(mesh) = mesh {
            for (directory, layer) in [
                (mesh.info.dir.clone(), MESH),
                (mesh.run.join("builtin"), PLATFORM),
                (mesh.run.join("pods"), PLATFORM),
            ] {
                for file in below(&directory) {
                    // A pod may go while we read.
                    match read(&file, layer, None) {
                        Err(_) if layer == PLATFORM && !file.exists() => {}
                        read => all.push(read?),
                    }
                }
            }
        }
        Ok(all)
    }

    fn named(&self, path: &Path, cluster: Option<&str>) -> anyhow::Result<Vec<SourceFile>> {
        if path.as_os_str() == "-" {
            return Ok(vec![standard_input(cluster)?]);
        }
        if !path.is_dir() {
            return Ok(vec![read(path, NAMED, cluster)?]);
        }
        let files: Vec<Arc<Path>> = below(path)
            .into_iter()
            .filter(|file| self.recursive || file.parent() == Some(path))
            .collect();
        if files.is_empty() {
            let deeper = if self.recursive {
                ""
            } else {
                "; --recursive looks into its sub-directories"
            };
            bail!(
                "{} has no .yaml, .yml or .json file{deeper}",
                path.display()
            );
        }
        files
            .iter()
            .map(|file| read(file, NAMED, cluster))
            .collect()
    }
}

fn below(directory: &Path) -> Vec<Arc<Path>> {
    let (files, problems) = source::files(directory);
    for problem in problems {
        eprintln!("warning: {problem}");
    }
    files
}

fn read(path: &Path, layer: u8, cluster: Option<&str>) -> anyhow::Result<SourceFile> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(SourceFile {
        name: path.into(),
        bytes,
        cluster: cluster.map(Arc::from),
        layer,
    })
}

fn standard_input(cluster: Option<&str>) -> anyhow::Result<SourceFile> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    Ok(SourceFile {
        name: Path::new("-").into(),
        bytes,
        cluster: cluster.map(Arc::from),
        layer: NAMED,
    })
}
