//! Pods of `meltemi run`: a process of the command line's as a workload of the mesh.

use crate::paths::write_atomically;
use crate::plan::{Owner, OwnerKind, PodKind, PodPlan};
use k8s_openapi::api::core::v1::{PodSpec, Service};
use meltemi_config::Objects;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// Files of Services that exist only for a run begin so.
pub(super) const PREFIX: &str = "run.";

/// A process to add to the mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunRequest {
    /// Service it belongs to; one that does not exist is made for as long as it runs. None: it
    /// only calls others.
    #[serde(default)]
    pub service: Option<String>,
    /// Namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Port the process listens on.
    #[serde(default)]
    pub port: Option<u16>,
    /// Labels beside those that the Service selects.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Service account, `default` unless given.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Without a sidecar.
    #[serde(default)]
    pub plain: bool,
}

fn default_namespace() -> String {
    "default".into()
}

/// The Services made for runs, and the runs that need each.
pub(super) struct Runs {
    directory: PathBuf,
    services: HashMap<PathBuf, Vec<String>>,
}

impl Runs {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            services: HashMap::new(),
        }
    }

    /// The pod for a request; its Service is written if there is none.
    pub(super) fn plan(
        &mut self,
        request: &RunRequest,
        objects: &Objects,
    ) -> Result<Arc<PodPlan>, String> {
        let base = request.service.clone().unwrap_or_else(|| "run".into());
        if base.len() > 40
            || !base
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            return Err(format!(
                "\"{base}\" is not a service name: lower-case letters, digits and dashes, at most 40"
            ));
        }
        let suffix: String = std::iter::repeat_with(fastrand::alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .take(5)
            .collect();
        let name = format!("{base}-run-{suffix}");
        let existing = request
            .service
            .as_deref()
            .and_then(|service| objects.find::<Service>(&request.namespace, service));
        let mut labels = BTreeMap::from([("app".to_owned(), base.clone())]);
        labels.extend(request.labels.clone());
        match existing
            .and_then(|service| service.spec.as_ref())
            .and_then(|spec| spec.selector.clone())
        {
            Some(selector) => labels.extend(selector),
            None if existing.is_some() => {
                return Err(format!(
                    "Service {base} has no selector, so that no process can join it"
                ));
            }
            None => {}
        }
        let ports: Vec<_> = request
            .port
            .iter()
            .map(|port| json!({"containerPort": port}))
            .collect();
        let spec: PodSpec = serde_json::from_value(json!({
            "serviceAccountName": request.service_account,
            "containers": [{"name": base, "ports": ports}],
        }))
        .map_err(|error| error.to_string())?;
        if !request.plain {
            crate::plan::label_for_mesh(&mut labels, &base, PodKind::Application { sidecar: true });
        }
        let plan = Arc::new(PodPlan {
            namespace: request.namespace.clone(),
            owner: Owner {
                kind: OwnerKind::Run,
                namespace: request.namespace.clone(),
                name: base.clone(),
            },
            annotations: BTreeMap::new(),
            spec,
            hash: crate::plan::digest(name.as_bytes()),
            kind: PodKind::Application {
                sidecar: !request.plain,
            },
            name,
            labels,
        });
        if let (Some(service), None, Some(port)) = (&request.service, existing, request.port) {
            self.add_service(service, port, &plan)?;
        }
        // A Service that an earlier run made is needed by this one too.
        if let Some(service) = &request.service
            && let Some(users) = self
                .services
                .get_mut(&self.directory.join(file_name(&request.namespace, service)))
            && !users.contains(&plan.key())
        {
            users.push(plan.key());
        }
        Ok(plan)
    }

    fn add_service(&mut self, service: &str, port: u16, plan: &PodPlan) -> Result<(), String> {
        let path = self.directory.join(file_name(&plan.namespace, service));
        let object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service, "namespace": plan.namespace, "labels": {"app": service}},
            "spec": {
                "selector": {"app": service},
                // Without a protocol in its name the port is sniffed: HTTP and plain TCP both work.
                "ports": [{"port": port, "targetPort": port}],
            },
        });
        write_atomically(&path, object.to_string().as_bytes())
            .map_err(|error| format!("write {}: {error}", path.display()))?;
        self.services.entry(path).or_default().push(plan.key());
        Ok(())
    }

    /// A pod is gone: so are the Services that only it needed.
    pub(super) fn ended(&mut self, key: &str) {
        self.services.retain(|path, users| {
            users.retain(|user| user != key);
            if users.is_empty()
                && let Err(error) = std::fs::remove_file(path)
            {
                tracing::warn!(path = %path.display(), %error, "a Service stays");
            }
            !users.is_empty()
        });
    }
}

fn file_name(namespace: &str, service: &str) -> String {
    format!("{PREFIX}{namespace}.{service}.yaml")
}
