//! `meltemi status`: everything that runs, and how it is.

use super::{Outcome, block_on};
use crate::mesh::{Mesh, MeshArgs};
use crate::output::{self, Colour, OutputArgs, age, colour, table};
use meltemi_api::ObjectKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

/// Warnings printed to a person at once.
const SHOWN_WARNINGS: usize = 10;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The mesh and what its control plane says.
#[derive(Serialize)]
struct Status {
    mesh: Value,
    /// `None`: the control plane does not answer.
    control_plane: Option<ControlPlane>,
    workloads: Vec<Workload>,
}

#[derive(Deserialize)]
struct Answer {
    control_plane: ControlPlane,
    workloads: Vec<Workload>,
}

#[derive(Deserialize, Serialize)]
struct ControlPlane {
    ready: bool,
    uptime_seconds: u64,
    config_version: u64,
    generation: u64,
    objects: u64,
    services: u64,
    errors: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct Workload {
    namespace: String,
    name: String,
    workload: String,
    service_account: String,
    ip: Option<String>,
    phase: String,
    ready: bool,
    reason: Option<String>,
    restarts: i64,
    injected: bool,
    proxy: Option<Proxy>,
    certificate: Option<Certificate>,
    mtls: String,
}

#[derive(Deserialize, Serialize)]
struct Proxy {
    connected_seconds: u64,
    synced: bool,
    types: BTreeMap<String, String>,
    behind: BTreeMap<String, Behind>,
    rejections: Vec<Rejection>,
}

/// How far a proxy is behind what is in force.
#[derive(Clone, Copy, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Behind {
    versions: u64,
    seconds: u64,
}

#[derive(Deserialize, Serialize)]
struct Rejection {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    /// The objects that caused it.
    objects: Vec<ObjectKey>,
}

#[derive(Deserialize, Serialize)]
struct Certificate {
    spiffe: String,
    serial: String,
    not_after: String,
    seconds_left: i64,
    seconds_in_all: i64,
}

impl Certificate {
    /// What is wrong with it. A proxy asks for the next one when half of the time is left.
    fn trouble(&self) -> Option<String> {
        let left = self.seconds_left;
        if left <= 0 {
            let since = age(-left);
            Some(format!(
                "ended {since} ago: mutual TLS with it fails, until the CA issues the next one"
            ))
        } else if left < self.seconds_in_all / 4 {
            let left = age(left);
            Some(format!(
                "ends in {left} and should have been renewed: the CA does not issue the next one"
            ))
        } else {
            None
        }
    }
}

impl Status {
    fn healthy(&self) -> bool {
        let well = |workload: &Workload| {
            let follows = workload.proxy.as_ref().is_some_and(|proxy| proxy.synced);
            let certificate = workload.certificate.as_ref();
            let trusted = certificate.is_none_or(|certificate| certificate.seconds_left > 0);
            workload.ready && trusted && (follows || !workload.injected)
        };
        self.control_plane
            .as_ref()
            .is_some_and(|plane| plane.errors.is_empty())
            && self.workloads.iter().all(well)
    }
}

pub fn run(args: Args) -> Outcome {
    let mesh = args.mesh.find()?;
    block_on(async move {
        let answer = mesh.api().get::<Answer>("/v1/status").await;
        let (control_plane, workloads) = match answer {
            Ok(answer) => (Some(answer.control_plane), answer.workloads),
            Err(error) => {
                eprintln!(
                    "warning: the control plane does not answer, proxies go on with what they have, and with \
                     their certificates until these end; `meltemi logs control-plane` says more: {error:#}"
                );
                (None, Vec::new())
            }
        };
        let status = Status {
            mesh: serde_json::to_value(&mesh.info)?,
            control_plane,
            workloads,
        };
        output::print(args.output.output, &status, || text(&mesh, &status))?;
        Ok(ExitCode::from(u8::from(!status.healthy())))
    })
}

fn text(mesh: &Mesh, status: &Status) -> String {
    let mut out = format!("mesh {}   {}\n", mesh.info.name, mesh.info.dir.display());
    if let Some(url) = &mesh.info.url {
        let _ = writeln!(out, "ingress  {url}");
    }
    out.push('\n');
    let rows: Vec<Vec<String>> = status.workloads.iter().map(row).collect();
    out.push_str(&table(
        &[
            "NAMESPACE",
            "WORKLOAD",
            "POD",
            "ADDRESS",
            "READY",
            "RESTARTS",
            "PROXY",
            "MTLS",
            "CERTIFICATE",
        ],
        &rows,
    ));
    let mut notes: Vec<String> = Vec::new();
    for workload in &status.workloads {
        let name = format!("{}/{}", workload.namespace, workload.name);
        if let (false, Some(reason)) = (workload.ready, &workload.reason) {
            notes.push(format!("{name} is not ready: {reason}"));
        }
        let certificate = workload.certificate.as_ref();
        if let Some(trouble) = certificate.and_then(Certificate::trouble) {
            notes.push(format!(
                "the certificate of {name} {trouble}; `meltemi logs {} --proxy` says why",
                workload.workload
            ));
        }
        for rejection in workload.proxy.iter().flat_map(|proxy| &proxy.rejections) {
            let objects: Vec<String> = rejection.objects.iter().map(ToString::to_string).collect();
            let because = match objects.is_empty() {
                true => String::new(),
                false => format!(" (from {})", objects.join(", ")),
            };
            notes.push(format!(
                "{name} refused its {}: {}{because}",
                rejection.kind, rejection.message
            ));
        }
    }
    if let Some(plane) = &status.control_plane {
        notes.extend(
            plane
                .errors
                .iter()
                .map(|error| format!("configuration: {error}")),
        );
    }
    for note in notes {
        let _ = writeln!(out, "\n{} {note}", colour(Colour::Red, "✗"));
    }
    let warnings = status
        .control_plane
        .iter()
        .flat_map(|plane| &plane.warnings);
    for warning in warnings.clone().take(SHOWN_WARNINGS) {
        let _ = writeln!(out, "\n{} {warning}", colour(Colour::Yellow, "!"));
    }
    let more = warnings.count().saturating_sub(SHOWN_WARNINGS);
    if more > 0 {
        let _ = writeln!(out, "\n  and {more} more warnings: meltemi status -o json");
    }
    out
}

fn row(workload: &Workload) -> Vec<String> {
    let ready = if workload.ready {
        colour(Colour::Green, "yes")
    } else {
        colour(Colour::Red, "no")
    };
    vec![
        workload.namespace.clone(),
        workload.workload.clone(),
        workload.name.clone(),
        workload.ip.clone().unwrap_or_else(|| "-".to_owned()),
        ready,
        workload.restarts.to_string(),
        if workload.injected {
            proxy(workload.proxy.as_ref())
        } else {
            "none".to_owned()
        },
        workload.mtls.clone(),
        match &workload.certificate {
            Some(certificate) if certificate.seconds_left <= 0 => colour(Colour::Red, "ended"),
            Some(certificate) => format!("{} left", age(certificate.seconds_left)),
            None => "-".to_owned(),
        },
    ]
}

fn proxy(proxy: Option<&Proxy>) -> String {
    let Some(proxy) = proxy else {
        return colour(Colour::Red, "not connected");
    };
    let of = |state: &str| -> Vec<&str> {
        let types = proxy.types.iter().filter(|(_, value)| *value == state);
        types.map(|(kind, _)| kind.as_str()).collect()
    };
    let refused = of("NACK");
    if !refused.is_empty() {
        let refused = refused.join(",");
        return colour(Colour::Red, &format!("refused {refused}{}", behind(proxy)));
    }
    if proxy.synced {
        colour(Colour::Green, "synced")
    } else {
        let stale = of("STALE").join(",");
        colour(Colour::Yellow, &format!("stale {stale}{}", behind(proxy)))
    }
}

/// ` (3 versions, 12s)`, of the type that is behind most.
fn behind(proxy: &Proxy) -> String {
    match proxy.behind.values().max() {
        Some(Behind { versions, seconds }) => {
            let plural = if *versions == 1 { "" } else { "s" };
            let seconds = i64::try_from(*seconds).unwrap_or(i64::MAX);
            format!(" ({versions} version{plural}, {})", age(seconds))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_were_not_renewed_are_told_apart() {
        let trouble = |seconds_left| {
            let certificate = Certificate {
                spiffe: String::new(),
                serial: String::new(),
                not_after: String::new(),
                seconds_left,
                seconds_in_all: 3600,
            };
            certificate.trouble()
        };
        assert_eq!(trouble(1800), None);
        assert_eq!(trouble(900), None);
        let late = trouble(600).expect("a note");
        assert!(
            late.starts_with("ends in 10m and should have been renewed"),
            "{late}"
        );
        let over = trouble(-120).expect("a note");
        assert!(
            over.starts_with("ended 2m ago: mutual TLS with it fails"),
            "{over}"
        );
        assert!(trouble(0).is_some());
    }
}
