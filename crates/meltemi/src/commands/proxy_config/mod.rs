//! `meltemi proxy-config KIND WORKLOAD`: a proxy's own account of its configuration, read
//! from its admin API.

mod cluster;
mod listener;
mod route;

use super::{Outcome, block_on};
use crate::client::Client;
use crate::mesh::WorkloadArgs;
use crate::output::{self, Format, OutputArgs, table};
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Args {
    /// What to show
    kind: Kind,
    #[command(flatten)]
    workload: WorkloadArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[value(alias = "listeners", alias = "l")]
    Listener,
    #[value(alias = "routes", alias = "r")]
    Route,
    #[value(alias = "clusters", alias = "c")]
    Cluster,
    #[value(alias = "endpoints", alias = "ep")]
    Endpoint,
    #[value(alias = "secrets", alias = "s")]
    Secret,
    Bootstrap,
    All,
}

pub fn run(args: Args) -> Outcome {
    let (mesh, pod) = args.workload.find()?;
    let admin = mesh.admin(&pod);
    block_on(async move {
        show(&admin, args.kind, args.output.output).await?;
        Ok(ExitCode::SUCCESS)
    })
}

async fn show(admin: &Client, kind: Kind, format: Format) -> anyhow::Result<()> {
    match kind {
        Kind::Listener => {
            let listeners = resources(admin, "ListenersConfigDump").await?;
            output::print(format, &listeners, || listener::text(&listeners))
        }
        Kind::Route => {
            let routes = resources(admin, "RoutesConfigDump").await?;
            output::print(format, &routes, || route::text(&routes))
        }
        Kind::Cluster => {
            let clusters = resources(admin, "ClustersConfigDump").await?;
            output::print(format, &clusters, || cluster::text(&clusters))
        }
        Kind::Endpoint => {
            let clusters: Value = admin.get("/clusters?format=json").await?;
            output::print(format, &clusters, || cluster::endpoints(&clusters))
        }
        Kind::Secret => {
            let certificates: Value = admin.get("/certs").await?;
            output::print(format, &certificates, || secrets(&certificates))
        }
        Kind::Bootstrap => {
            let dump: Value = admin.get("/config_dump").await?;
            let bootstrap = section(&dump, "BootstrapConfigDump");
            let bootstrap = bootstrap.get("bootstrap").unwrap_or(&Value::Null);
            output::print(json_unless(format), bootstrap, String::new)
        }
        Kind::All => {
            let dump: Value = admin.get("/config_dump?include_eds").await?;
            output::print(json_unless(format), &dump, String::new)
        }
    }
}

/// What has no table is printed as JSON.
fn json_unless(format: Format) -> Format {
    match format {
        Format::Text => Format::Json,
        other => other,
    }
}

fn section<'a>(dump: &'a Value, name: &str) -> &'a Value {
    dump["configs"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|config| config["@type"].as_str().is_some_and(|t| t.ends_with(name)))
        .unwrap_or(&Value::Null)
}

/// The resources of one section of `/config_dump`, static ones first.
async fn resources(admin: &Client, name: &str) -> anyhow::Result<Vec<Value>> {
    let dump: Value = admin.get("/config_dump").await?;
    let section = section(&dump, name);
    let mut found = Vec::new();
    for (list, path) in [
        ("static_listeners", "/listener"),
        ("dynamic_listeners", "/active_state/listener"),
        ("static_clusters", "/cluster"),
        ("dynamic_active_clusters", "/cluster"),
        ("static_route_configs", "/route_config"),
        ("dynamic_route_configs", "/route_config"),
    ] {
        let entries = section[list].as_array().into_iter().flatten();
        found.extend(entries.filter_map(|entry| entry.pointer(path).cloned()));
    }
    Ok(found)
}

fn secrets(certificates: &Value) -> String {
    let mut rows = Vec::new();
    for entry in certificates["certificates"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for (list, kind) in [("ca_cert", "CA"), ("cert_chain", "Cert Chain")] {
            for certificate in entry[list].as_array().into_iter().flatten() {
                let text = |key: &str| certificate[key].as_str().unwrap_or("").to_owned();
                let name = certificate["subject_alt_names"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find_map(|name| name["uri"].as_str().or(name["dns"].as_str()))
                    .unwrap_or("");
                rows.push(vec![
                    kind.to_owned(),
                    text("serial_number"),
                    name.to_owned(),
                    text("valid_from"),
                    text("expiration_time"),
                ]);
            }
        }
    }
    table(
        &[
            "TYPE",
            "SERIAL NUMBER",
            "IDENTITY",
            "NOT BEFORE",
            "NOT AFTER",
        ],
        &rows,
    )
}
