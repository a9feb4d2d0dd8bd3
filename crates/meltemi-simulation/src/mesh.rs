//! A configuration with its workloads, each of which can be asked about calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use meltemi_api::{Kind, Object, ObjectKey};
use meltemi_config::Objects;
use meltemi_discovery::{Flavor, Proxy, ProxyKind, World, WorldOptions};
use meltemi_registry::Instance;

use crate::pods;
use crate::simulation::Simulation;

/// A workload that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no workload {wanted:?}; there {}", listed(.known))]
pub struct NoWorkload {
    wanted: String,
    known: Vec<String>,
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "is none at all: add the Deployments to the configuration".to_owned()
    } else {
        format!("are {}", known.join(", "))
    }
}

/// Objects, and what the control plane makes of them.
pub struct Mesh {
    objects: Objects,
    world: World,
    simulations: RefCell<HashMap<Proxy, Rc<Simulation>>>,
}

impl Mesh {
    /// Workloads without Pods get one each, so that calls have where to go.
    pub fn new(objects: Objects) -> Self {
        let known = objects.iter().map(|object| &**object);
        let pods = pods::missing(known.clone());
        let world = World::build(known.chain(&pods), &WorldOptions::default(), 1);
        Self {
            objects,
            world,
            simulations: RefCell::default(),
        }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// The object of that key, as it was written.
    pub fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key).map(|object| &**object)
    }

    /// The objects of a kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects.of_kind(kind).map(|object| &**object)
    }

    /// The proxy of a workload: by the name of a Pod or of what it belongs to, or by the label
    /// `app` or `istio`; `NAMESPACE/NAME` where a name is not enough.
    ///
    /// # Errors
    /// When there is none.
    pub fn proxy(&self, wanted: &str) -> Result<Proxy, NoWorkload> {
        let (namespace, name) = match wanted.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, wanted),
        };
        let answers = |instance: &&Instance| {
            let workload = &instance.workload;
            let label = |key: &str| workload.labels.get(key).is_some_and(|value| value == name);
            namespace.is_none_or(|namespace| workload.namespace == namespace)
                && (workload.name == name
                    || workload.workload == name
                    || label("app")
                    || label("istio"))
        };
        match self.world.registry.instances().find(answers) {
            Some(instance) => Ok(self.proxy_of(instance)),
            None => Err(NoWorkload {
                wanted: wanted.to_owned(),
                known: self
                    .world
                    .registry
                    .instances()
                    .map(|instance| &instance.workload)
                    .map(|workload| format!("{}/{}", workload.namespace, workload.workload))
                    .collect(),
            }),
        }
    }

    /// The proxy of that `POD.NAMESPACE`.
    pub(crate) fn proxy_named(&self, id: &str) -> Option<Proxy> {
        let (name, namespace) = id.rsplit_once('.')?;
        let instance = self.world.registry.instance(namespace, name)?;
        Some(self.proxy_of(instance))
    }

    /// The workload at an address.
    pub(crate) fn at(&self, ip: IpAddr) -> Option<&Instance> {
        self.world.registry.instance_at(ip)
    }

    pub(crate) fn proxy_of(&self, instance: &Instance) -> Proxy {
        let workload = &instance.workload;
        let namespace = &workload.namespace;
        Proxy {
            kind: match instance.gateway {
                true => ProxyKind::Gateway,
                false => ProxyKind::Sidecar,
            },
            flavor: Flavor::Meltemi,
            id: format!("{}.{namespace}", workload.name),
            pod: workload.name.clone(),
            namespace: namespace.clone(),
            dns_domain: format!("{namespace}.svc.{}", self.world.domain),
            ips: instance.ips().collect(),
            labels: workload.labels.clone(),
            service_account: workload.service_account.clone(),
            workload_name: workload.workload.clone(),
            cluster: String::new(),
            cluster_id: workload.cluster_id.clone(),
            mesh_id: self.world.mesh.trust_domain.clone(),
            locality: workload.locality.clone(),
            network: workload.network.clone(),
            dns_capture: !instance.gateway,
            discovers_hosts: false,
            intercepts: true,
            tproxy: false,
            loopback: None,
        }
    }

    /// A proxy's configuration; translated once.
    pub fn simulation(&self, proxy: &Proxy) -> Rc<Simulation> {
        let mut simulations = self.simulations.borrow_mut();
        let known = simulations
            .entry(proxy.clone())
            .or_insert_with(|| Rc::new(Simulation::new(&self.world, proxy)));
        Rc::clone(known)
    }
}
