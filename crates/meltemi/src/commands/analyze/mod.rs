//! `meltemi analyze [FILE|DIR|-]...`: mistakes, with Istio's message codes.

mod sources;

use super::{Outcome, Usage};
use crate::mesh::MeshArgs;
use crate::output::{self, Colour, Format, OutputArgs, colour, table};
use anyhow::bail;
use meltemi_analysis::{
    Analyzer, Index, Level, Message, Options, Platform, Suppression, Suppressions, analyze,
    analyzers, by_default, codes,
};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code when there are messages of the failure threshold (istioctl's).
const FOUND: u8 = 79;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    /// Files and directories, - for standard input (default: the running mesh)
    #[arg(value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,
    /// Look at the files as if they were applied to the running mesh
    #[arg(long)]
    use_mesh: bool,
    /// Files of another cluster of the same mesh; may be repeated
    #[arg(long, value_name = "NAME=FILE|DIR", value_parser = sources::cluster)]
    cluster: Vec<(String, PathBuf)>,
    /// Read directories with their sub-directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Mesh settings (MeshConfig) to assume
    #[arg(long, value_name = "FILE", alias = "meshConfigFile")]
    mesh_config_file: Option<PathBuf>,
    /// Only what concerns this namespace; also that of objects that name none
    #[arg(short, long)]
    namespace: Option<String>,
    /// All namespaces (the default)
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Do not report a code for some resources, such as "IST0103=Pod *.default"; may be repeated
    #[arg(short = 'S', long, value_name = "CODE=RESOURCE")]
    suppress: Vec<Suppression>,
    /// Run only this analyzer; may be repeated
    #[arg(long, value_name = "NAME")]
    analyzer: Vec<String>,
    /// List the analyzers
    #[arg(short = 'L', long)]
    list_analyzers: bool,
    /// Exit with code 79 when there are messages of this level: Info, Warning, Error
    #[arg(long, value_name = "LEVEL", default_value = "Error")]
    failure_threshold: Level,
    /// Show messages from this level on
    #[arg(long, value_name = "LEVEL", default_value = "Info")]
    output_threshold: Level,
    #[command(flatten)]
    output: OutputArgs,
}

pub fn run(args: Args) -> Outcome {
    if args.list_analyzers {
        output::write(&list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = sources::Sources {
        paths: &args.paths,
        clusters: &args.cluster,
        recursive: args.recursive,
    };
    let uses_mesh = args.use_mesh || (args.paths.is_empty() && args.cluster.is_empty());
    let mesh = uses_mesh.then(|| args.mesh.find()).transpose()?;
    let files = files.read(mesh.as_ref())?;
    let defaults = Options::default();
    let options = Options {
        default_namespace: args.namespace.clone().unwrap_or(defaults.default_namespace),
        mesh_config: args
            .mesh_config_file
            .as_deref()
            .map(sources::text)
            .transpose()?,
        platform: if uses_mesh {
            Platform::Local
        } else {
            Platform::Kubernetes
        },
        assume_gateway: !uses_mesh,
        ..defaults
    };
    let index = Index::read(&files, &options);
    let chosen = choose(&args.analyzer, &index)?;
    warn_of_unknown_codes(&args.suppress);
    let mut messages = Suppressions(args.suppress).filter(&index, analyze(&index, &chosen));
    if let Some(namespace) = &args.namespace {
        messages.retain(|message| concerns(message, namespace));
    }
    let failed = messages
        .iter()
        .any(|message| message.level() >= args.failure_threshold);
    messages.retain(|message| message.level() >= args.output_threshold);
    output::print(args.output.output, &messages, || text(&messages))?;
    if args.output.output == Format::Text {
        eprintln!("{}", summary(&messages, files.len()));
    }
    Ok(ExitCode::from(if failed { FOUND } else { 0 }))
}

/// Objects without a namespace, and documents that are no objects, concern every namespace.
fn concerns(message: &Message, namespace: &str) -> bool {
    message.resource.as_ref().is_none_or(|resource| {
        resource.namespace == namespace
            || (resource.namespace.is_empty()
                && (resource.kind != "Namespace" || resource.name == namespace))
    })
}

fn choose(names: &[String], index: &Index) -> anyhow::Result<Vec<&'static dyn Analyzer>> {
    if names.is_empty() {
        return Ok(by_default(index));
    }
    let mut chosen = Vec::new();
    for name in names {
        match analyzers().iter().find(|analyzer| analyzer.name() == name) {
            Some(analyzer) => chosen.push(*analyzer),
            None => {
                let known = analyzers().iter().map(|analyzer| analyzer.name());
                bail!(Usage(match meltemi_api::nearest(name, known) {
                    Some(near) => format!("there is no analyzer {name}; did you mean {near}?"),
                    None => format!(
                        "there is no analyzer {name}; `meltemi analyze --list-analyzers` lists them"
                    ),
                }))
            }
        }
    }
    Ok(chosen)
}

fn warn_of_unknown_codes(suppressions: &[Suppression]) {
    for suppression in suppressions {
        if !codes().iter().any(|code| code.id == suppression.code) {
            eprintln!(
                "warning: no analyzer reports {}; suppressing it has no effect",
                suppression.code
            );
        }
    }
}

fn list() -> String {
    let rows: Vec<Vec<String>> = analyzers()
        .iter()
        .map(|analyzer| vec![analyzer.name().to_owned(), analyzer.about().to_owned()])
        .collect();
    table(&["NAME", "LOOKS FOR"], &rows)
}

fn text(messages: &[Message]) -> String {
    messages
        .iter()
        .map(|message| {
            let line = message.to_string();
            let level = message.level();
            let coloured = match level {
                Level::Error => colour(Colour::Red, level.as_str()),
                Level::Warning => colour(Colour::Yellow, level.as_str()),
                Level::Info => level.as_str().to_owned(),
            };
            line.replacen(level.as_str(), &coloured, 1) + "\n"
        })
        .collect()
}

fn summary(messages: &[Message], files: usize) -> String {
    let looked = match files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    };
    if messages.is_empty() {
        return format!("nothing found in {looked}");
    }
    let counts: Vec<String> = Level::ALL
        .into_iter()
        .rev()
        .filter_map(|level| {
            let count = messages
                .iter()
                .filter(|message| message.level() == level)
                .count();
            (count > 0).then(|| format!("{level}: {count}"))
        })
        .collect();
    format!("{} in {looked}", counts.join(", "))
}
