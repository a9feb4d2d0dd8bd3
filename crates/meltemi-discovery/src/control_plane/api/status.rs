//! How the mesh is: its workloads, their proxies and certificates.

use super::Context;
use crate::control_plane::proxies::{Behind, Connection, Rejection, SyncState};
use crate::control_plane::state::{Current, State};
use crate::world::peer_authentication::MtlsMode;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use meltemi_api::k8s::Pod;
use meltemi_api::{Meta, Object, Severity, Spec};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long a proxy may take to tell its certificates.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Serialize)]
pub(super) struct Status {
    control_plane: ControlPlane,
    workloads: Vec<Workload>,
}

#[derive(Serialize)]
struct ControlPlane {
    ready: bool,
    uptime_seconds: u64,
    config_version: u64,
    generation: u64,
    objects: usize,
    services: usize,
    errors: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Workload {
    namespace: String,
    name: String,
    workload: String,
    service_account: String,
    ip: Option<String>,
    phase: String,
    ready: bool,
    /// Why not.
    reason: Option<String>,
    restarts: i32,
    /// It is to have a proxy: its traffic is not the mesh's otherwise.
    injected: bool,
    /// `None`: no sidecar is connected.
    proxy: Option<Proxy>,
    certificate: Option<Certificate>,
    mtls: &'static str,
}

#[derive(Serialize)]
struct Proxy {
    connected_seconds: u64,
    synced: bool,
    types: BTreeMap<String, SyncState>,
    /// Of the types that are not synced: how far.
    behind: BTreeMap<String, Behind>,
    rejections: Vec<Rejection>,
}

#[derive(Serialize)]
struct Certificate {
    spiffe: String,
    serial: String,
    not_after: String,
    /// Negative when it is over.
    seconds_left: i64,
    seconds_in_all: i64,
}

pub(super) async fn status(context: &Context<'_>) -> Status {
    let state = &context.state;
    let current = state.examined().await;
    let pods = current
        .published
        .objects
        .iter()
        .filter_map(|object| pod(object));
    let workloads = pods.map(|(meta, pod)| workload(state, meta, pod));
    Status {
        workloads: futures_util::future::join_all(workloads).await,
        control_plane: ControlPlane {
            ready: true,
            uptime_seconds: state.started.elapsed().as_secs(),
            config_version: current.published.objects.version(),
            generation: current.world.generation,
            objects: current.published.objects.len(),
            services: current.world.registry.services().len(),
            errors: current
                .published
                .errors
                .iter()
                .map(ToString::to_string)
                .collect(),
            // The end of the CA's certificate, when it is near.
            warnings: context
                .authority
                .expiry_warning(SystemTime::now())
                .into_iter()
                .chain(warnings(state, &current))
                .collect(),
        },
    }
}

/// Everything worth knowing that refuses nothing: of single objects, of all together, and
/// of what a connected proxy does not get.
fn warnings(state: &State, current: &Current) -> Vec<String> {
    let findings = current.published.warnings.iter().chain(current.findings());
    let mut warnings: Vec<String> = findings
        .filter(|finding| finding.severity != Severity::Info)
        .map(ToString::to_string)
        .collect();
    let issues = state.issues().into_iter();
    warnings
        .extend(issues.map(|issue| format!("{} {}: {}", issue.object, issue.field, issue.message)));
    warnings.dedup();
    warnings
}

fn pod(object: &Object) -> Option<(&Meta, &Pod)> {
    match &object.spec {
        Spec::Pod(pod) => Some((&object.meta, pod)),
        _ => None,
    }
}

async fn workload(state: &State, meta: &Meta, pod: &Pod) -> Workload {
    let status = pod.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.as_ref())
        .and_then(|conditions| {
            conditions
                .iter()
                .find(|condition| condition.type_ == "Ready")
        });
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let waiting = containers.into_iter().flatten().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().unwrap_or_default();
        // Without a message the Ready condition says more.
        let message = waiting
            .message
            .as_ref()
            .filter(|message| !message.is_empty())?;
        Some(format!("{reason}: {message}"))
    });
    let is_ready = ready.is_some_and(|condition| condition.status == "True");
    let owner = pod
        .metadata
        .owner_references
        .as_ref()
        .and_then(|owners| owners.first());
    let mtls = state
        .world()
        .peer_authentications
        .workload(&meta.namespace, &meta.labels);
    Workload {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        workload: owner.map_or_else(|| meta.name.clone(), workload_name),
        service_account: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_else(|| "default".to_owned()),
        ip: status.and_then(|status| status.pod_ip.clone()),
        phase: status
            .and_then(|status| status.phase.clone())
            .unwrap_or_else(|| "Unknown".to_owned()),
        ready: is_ready,
        reason: if is_ready {
            None
        } else {
            waiting
                .or_else(|| ready.and_then(|condition| condition.message.clone()))
                .or_else(|| ready.and_then(|condition| condition.reason.clone()))
        },
        restarts: containers
            .into_iter()
            .flatten()
            .map(|container| container.restart_count)
            .sum(),
        injected: injected(meta),
        proxy: state
            .proxies
            .of(&meta.namespace, &meta.name)
            .map(|connection| proxy(&connection, &state.current())),
        certificate: match &state.admin_dir {
            Some(directory) => {
                let socket = directory.join(format!("{}.{}.sock", meta.namespace, meta.name));
                certificate(&socket).await
            }
            None => None,
        },
        mtls: match mtls.mode {
            _ if !injected(meta) => "NONE",
            MtlsMode::Disable => "DISABLE",
            MtlsMode::Permissive => "PERMISSIVE",
            MtlsMode::Strict => "STRICT",
        },
    }
}

/// Istio's annotation and label that leave the sidecar out.
fn injected(meta: &Meta) -> bool {
    let key = "sidecar.istio.io/inject";
    let word = meta.labels.get(key).or(meta.annotations.get(key));
    word.is_none_or(|word| word != "false")
}

/// Between a Deployment and its pods stands a ReplicaSet, `DEPLOYMENT-HASH`.
fn workload_name(owner: &OwnerReference) -> String {
    match owner.name.rsplit_once('-') {
        Some((deployment, _)) if owner.kind == "ReplicaSet" => deployment.to_owned(),
        _ => owner.name.clone(),
    }
}

fn proxy(connection: &Connection, current: &Current) -> Proxy {
    let generation = current.world.generation;
    let types = connection.states(generation);
    Proxy {
        connected_seconds: connection.since.elapsed().as_secs(),
        synced: !types.is_empty() && types.values().all(|state| *state == SyncState::Synced),
        types,
        behind: connection.behind(generation, current.since),
        rejections: connection.rejections(),
    }
}

/// The workload certificate, as the proxy's own `/certs` shows it; none when it does not.
async fn certificate(socket: &Path) -> Option<Certificate> {
    let answer = tokio::time::timeout(ADMIN_TIMEOUT, get(socket, "/certs")).await;
    let certificates: Value = serde_json::from_slice(&answer.ok()??).ok()?;
    let chains = certificates["certificates"].as_array()?;
    chains.iter().find_map(|entry| {
        let leaf = entry["cert_chain"].get(0)?;
        let names = leaf["subject_alt_names"].as_array()?;
        let spiffe = names.iter().find_map(|name| name["uri"].as_str())?;
        let not_after = leaf["expiration_time"].as_str()?;
        let valid_from = leaf["valid_from"].as_str()?;
        let from: jiff::Timestamp = valid_from.parse().ok()?;
        let to: jiff::Timestamp = not_after.parse().ok()?;
        Some(Certificate {
            spiffe: spiffe.to_owned(),
            serial: leaf["serial_number"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            not_after: not_after.to_owned(),
            seconds_left: to.as_second() - jiff::Timestamp::now().as_second(),
            seconds_in_all: to.as_second() - from.as_second(),
        })
    })
}

async fn get(socket: &Path, path: &str) -> Option<Bytes> {
    let stream = tokio::net::UnixStream::connect(socket).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let request = hyper::Request::get(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        Some(response.into_body().collect().await.ok()?.to_bytes())
    };
    tokio::select! {
        answer = exchange => answer,
        _ = connection => None,
    }
}
