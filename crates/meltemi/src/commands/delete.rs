//! `meltemi delete KIND NAME` or `-f FILE`.

use super::apply::Files;
use super::{Outcome, Usage, block_on};
use crate::client::Client;
use crate::mesh::ApiArgs;
use anyhow::{bail, ensure};
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: ApiArgs,
    /// Kind, its plural or its short name
    #[arg(required_unless_present = "file", requires = "name")]
    kind: Option<String>,
    /// Name
    name: Option<String>,
    /// Namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The objects of this file, directory, or - for standard input
    #[arg(
        short,
        long = "filename",
        value_name = "FILE|DIR|-",
        conflicts_with = "kind"
    )]
    file: Vec<std::path::PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    let api = args.mesh.find()?;
    let keys = match (&args.kind, &args.name) {
        (Some(kind), Some(name)) => {
            let kind = super::get::kind(kind)?;
            vec![(kind.resource(), args.namespace.clone(), name.clone())]
        }
        _ => keys(&Files { file: args.file }.read()?.text)?,
    };
    ensure!(
        !keys.is_empty(),
        Usage("the files hold no object".to_owned())
    );
    block_on(async move {
        let mut failed = Vec::new();
        for (kind, namespace, name) in &keys {
            match delete(&api, kind, namespace, name).await {
                Ok(resource) => crate::output::write(&format!("{resource} deleted\n"))?,
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Kind, namespace and name of every object in a stream.
fn keys(text: &str) -> anyhow::Result<Vec<(String, String, String)>> {
    let mut keys = Vec::new();
    for document in meltemi_config::yaml::parse(text.as_bytes()) {
        let document = document?;
        let key = meltemi_api::identify(&document.root.to_value(), "default")
            .map_err(|error| anyhow::anyhow!("line {}: {error}", document.root.at.line))?;
        keys.push((key.kind.resource(), key.namespace, key.name));
    }
    Ok(keys)
}

async fn delete(api: &Client, kind: &str, namespace: &str, name: &str) -> anyhow::Result<String> {
    let namespace = if namespace.is_empty() { "-" } else { namespace };
    let path = format!("/v1/objects/{kind}/{namespace}/{name}");
    let answer: Value = api.json(Method::DELETE, &path, String::new()).await?;
    Ok(answer["resource"].as_str().unwrap_or(name).to_owned())
}
