//! `meltemi explain WORKLOAD URL`: what becomes of one call, and which rule decides.

use super::{Outcome, Usage, block_on};
use crate::mesh::ApiArgs;
use crate::output::{self, OutputArgs};
use anyhow::Context;
use meltemi_api::{Object, Origin};
use meltemi_config::{Objects, read_once};
use meltemi_simulation::{Explanation, Journey, Mesh, Part, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args)]
#[command(
    after_help = "Exit code 1: the call does not come through.\n\nExamples:\n  meltemi explain productpage http://reviews:9080/ -H end-user=jason\n  meltemi explain istio-ingressgateway http://localhost:8080/productpage -f samples/bookinfo"
)]
pub struct Args {
    #[command(flatten)]
    mesh: ApiArgs,
    /// Who calls: pod, workload or app name, NAMESPACE/NAME; a gateway stands for a client
    /// outside
    workload: String,
    /// What is called: http, https, http2, grpc, tcp or tls
    url: String,
    /// Configuration in place of a running mesh's: file or directory; may be repeated
    #[arg(short, long = "filename", value_name = "FILE|DIR")]
    file: Vec<PathBuf>,
    /// Namespace of the workload
    #[arg(short, long)]
    namespace: Option<String>,
    /// Header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Method of the request
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// `NAME=VALUE`, or `NAME: VALUE` as curl has it.
fn header(text: &str) -> Result<(String, String), String> {
    let at = text
        .find([':', '='])
        .ok_or_else(|| format!("\"{text}\" is not NAME=VALUE"))?;
    let (name, value) = text.split_at(at);
    Ok((name.trim().to_owned(), value[1..].trim().to_owned()))
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    call: &'a Journey,
}

pub fn run(args: Args) -> Outcome {
    let objects = match args.file.is_empty() {
        true => {
            let api = args.mesh.find()?;
            let mut objects = Objects::default();
            block_on(async {
                objects = decode(api.get("/v1/objects").await?)?;
                Ok(ExitCode::SUCCESS)
            })?;
            objects
        }
        false => {
            for path in &args.file {
                std::fs::metadata(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
            }
            let published = read_once(&args.file, &[]);
            for error in &published.errors {
                eprintln!("warning: {error}");
            }
            published.objects
        }
    };
    let mesh = Mesh::new(objects);
    let wanted = match args.namespace {
        Some(namespace) => format!("{namespace}/{}", args.workload),
        None => args.workload,
    };
    let from = mesh.proxy(&wanted)?;
    let request = Request {
        url: args.url,
        method: args.method,
        headers: args.headers,
        ..Request::default()
    };
    let journey = mesh
        .follow(&from, &request)
        .map_err(|error| Usage(error.to_string()))?;
    let explanation = mesh.explain(&from, &journey);
    let answer = Answer {
        explanation: &explanation,
        call: &journey,
    };
    output::print(args.output.output, &answer, || text(&explanation))?;
    Ok(ExitCode::from(u8::from(journey.refusal().is_some())))
}

/// The objects of a running mesh, as its API lists them.
fn decode(answer: Value) -> anyhow::Result<Objects> {
    #[derive(Deserialize)]
    struct Listed {
        object: Value,
        origin: Option<Origin>,
    }
    #[derive(Deserialize)]
    struct List {
        objects: Vec<Listed>,
    }
    let list: List = serde_json::from_value(answer).context("the mesh's objects")?;
    let mut objects: Vec<Arc<Object>> = Vec::new();
    for listed in list.objects {
        let mut object = meltemi_api::decode(&listed.object, "default")
            .map_err(|error| anyhow::anyhow!("the mesh's objects: {error}"))?;
        object.meta.origin = listed.origin;
        objects.push(Arc::new(object));
    }
    Ok(Objects::new(1, objects))
}

pub fn text(explanation: &Explanation) -> String {
    let mut text = explanation.sentence.clone() + "\n";
    if let Some(remedy) = &explanation.remedy {
        text.push_str(&format!("  remedy: {remedy}\n"));
    }
    let others: Vec<Vec<String>> = explanation
        .evidence
        .iter()
        .map(|evidence| {
            let note = match evidence.part {
                Part::PassedOver => format!("{}: {}", evidence.part.as_str(), evidence.note),
                _ if evidence.note.is_empty() => evidence.part.as_str().to_owned(),
                _ => format!("{}: {}", evidence.part.as_str(), evidence.note),
            };
            vec![
                evidence.rule.to_string(),
                evidence.place.clone().unwrap_or_default(),
                note,
            ]
        })
        .collect();
    if !others.is_empty() {
        text.push('\n');
        text.push_str(&output::table(&["RULE", "PLACE", "PART"], &others));
    }
    text
}
