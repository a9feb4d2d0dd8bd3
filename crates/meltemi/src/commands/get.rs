//! `meltemi get KIND [NAME]`.

use super::{Outcome, Usage, block_on};
use crate::mesh::ApiArgs;
use crate::output::{self, Format, OutputArgs, age, table};
use anyhow::bail;
use meltemi_api::Kind;
use serde::Deserialize;
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: ApiArgs,
    /// Kind, its plural or its short name (vs, dr, gw, se, svc, po ...)
    kind: String,
    /// Name (default: all)
    name: Option<String>,
    /// Namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Deserialize)]
struct Answer {
    objects: Vec<Entry>,
}

/// An object and what the control plane says of it.
#[derive(Deserialize)]
struct Entry {
    object: Value,
    origin: Option<Origin>,
    warnings: Vec<String>,
    issues: Vec<String>,
    /// What proxies refuse because of it.
    refusals: Vec<String>,
    errors: Vec<String>,
    held: bool,
    /// `None` for kinds that do not configure the mesh.
    standing: Option<Standing>,
}

/// An object among the connected proxies.
#[derive(Deserialize)]
struct Standing {
    reconciled: usize,
    proxies: usize,
}

#[derive(Deserialize)]
struct Origin {
    file: String,
    line: u32,
}

/// The kind that a user's word names, or what to write instead.
pub fn kind(text: &str) -> anyhow::Result<Kind> {
    match Kind::from_user(text) {
        Some(kind) => Ok(kind),
        None => {
            let plurals: Vec<_> = Kind::ALL.iter().map(|kind| kind.resource()).collect();
            bail!(Usage(format!(
                "there is no kind \"{text}\"; choose one of {}",
                plurals.join(", ")
            )))
        }
    }
}

pub fn run(args: Args) -> Outcome {
    let kind = kind(&args.kind)?;
    let api = args.mesh.find()?;
    block_on(async move {
        let mut path = format!("/v1/objects?kind={}", kind.resource());
        if !args.all_namespaces && kind.namespaced() {
            path.push_str(&format!("&namespace={}", encode(&args.namespace)));
        }
        if let Some(name) = &args.name {
            path.push_str(&format!("&name={}", encode(name)));
        }
        let Answer { objects } = api.get(&path).await?;
        if objects.is_empty() && args.name.is_none() && args.output.output == Format::Text {
            let all = args.all_namespaces || !kind.namespaced();
            let place = if all {
                "there are no".to_owned()
            } else {
                format!("namespace {} (-A: all) has no", args.namespace)
            };
            eprintln!("{place} {}", kind.resource());
            return Ok(ExitCode::SUCCESS);
        }
        if let (Some(name), true) = (&args.name, objects.is_empty()) {
            bail!(
                "{kind} {}/{name} does not exist; `meltemi get {} -A` lists what does",
                args.namespace,
                kind.resource()
            );
        }
        for entry in &objects {
            for text in entry
                .errors
                .iter()
                .chain(&entry.warnings)
                .chain(&entry.issues)
                .chain(&entry.refusals)
            {
                eprintln!("warning: {text}");
            }
        }
        print(&objects, args.name.is_some(), args.output.output)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Text as a segment of a path.
pub fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn print(objects: &[Entry], one: bool, format: Format) -> anyhow::Result<()> {
    let values: Vec<&Value> = objects.iter().map(|entry| &entry.object).collect();
    match (format, values.as_slice()) {
        (Format::Text, _) => output::write(&text(objects)),
        (_, [value]) if one => output::print(format, value, String::new),
        _ => output::print(
            format,
            &serde_json::json!({"apiVersion": "v1", "kind": "List", "items": values}),
            String::new,
        ),
    }
}

fn text(objects: &[Entry]) -> String {
    let now = jiff::Timestamp::now();
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|entry| {
            let meta = &entry.object["metadata"];
            let text = |key: &str| meta[key].as_str().unwrap_or("-").to_owned();
            let created = meta["creationTimestamp"]
                .as_str()
                .and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let state = if entry.held {
                "last good version in force"
            } else if entry.errors.is_empty()
                && entry.warnings.is_empty()
                && entry.issues.is_empty()
            {
                "ok"
            } else {
                "warnings"
            };
            vec![
                text("namespace"),
                text("name"),
                state.to_owned(),
                entry.standing.as_ref().map_or_else(
                    || "-".to_owned(),
                    |standing| format!("{}/{}", standing.reconciled, standing.proxies),
                ),
                created.map_or_else(
                    || "-".to_owned(),
                    |at| age(now.as_second() - at.as_second()),
                ),
                entry.origin.as_ref().map_or_else(
                    || "-".to_owned(),
                    |origin| format!("{}:{}", origin.file, origin.line),
                ),
            ]
        })
        .collect();
    table(
        &["NAMESPACE", "NAME", "STATE", "PROXIES", "AGE", "FROM"],
        &rows,
    )
}
