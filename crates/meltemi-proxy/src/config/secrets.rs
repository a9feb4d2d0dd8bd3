//! Secrets and the TLS configurations made of them.

use super::OwnSecrets;
use super::handle::Shared;
use crate::compile::secret::{self, SecretSource};
use crate::compile::{Error, References, SecretReference};
use crate::model::{ClientTls, ClientTlsConfigs, CommonTls, ServerTls};
use crate::tls::{self, Secret};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::SystemTime;

/// Names of the workload's own secrets.
pub const OWN_CERTIFICATE: &str = "default";
const OWN_TRUST: &str = "ROOTCA";

/// All secrets that TLS contexts name, and the contexts that wait for them.
pub struct Secrets {
    shared: Arc<Shared>,
    /// There is an own identity: then names are answered as Istio's agent does.
    agent: bool,
    wanted: HashMap<Box<str>, SecretSource>,
    /// From `static_resources.secrets`.
    fixed: HashMap<Box<str>, SecretSource>,
    have: HashMap<Arc<str>, Arc<Secret>>,
    files: HashMap<PathBuf, Option<SystemTime>>,
    servers: Vec<Weak<ServerTls>>,
    clients: Vec<Weak<ClientTls>>,
    /// Equal client contexts share their configuration.
    cache: HashMap<String, Weak<ClientTlsConfigs>>,
    generation: u64,
    /// Number of contexts at which those that are gone are looked for.
    prune_at: usize,
}

impl Secrets {
    pub fn new(shared: Arc<Shared>, agent: bool) -> Self {
        Self {
            shared,
            agent,
            wanted: HashMap::new(),
            fixed: HashMap::new(),
            have: HashMap::new(),
            files: HashMap::new(),
            servers: Vec::new(),
            clients: Vec::new(),
            cache: HashMap::new(),
            generation: 1,
            prune_at: 1024,
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.have.contains_key(name)
    }

    /// Adds a secret of the bootstrap.
    pub fn add_fixed(&mut self, name: &str, source: SecretSource) {
        self.fixed.insert(name.into(), source);
    }

    /// Takes note of what a resource refers to, and configures its contexts if their
    /// secrets are there.
    ///
    /// # Errors
    /// When a name is asked for from two sources, or a certificate in a file or in the
    /// configuration itself is unusable.
    pub fn register(&mut self, references: &References) -> Result<(), Error> {
        for SecretReference { name, source, .. } in &references.secrets {
            self.want(name, source)?;
        }
        self.prune();
        self.servers
            .extend(references.server_tls.iter().map(Arc::downgrade));
        self.clients
            .extend(references.client_tls.iter().map(Arc::downgrade));
        for context in &references.server_tls {
            self.configure_server(context).map_err(Error::new)?;
        }
        for context in &references.client_tls {
            self.configure_client(context).map_err(Error::new)?;
        }
        Ok(())
    }

    /// Forgets the secrets that are not among these, and returns their names.
    pub fn retain(&mut self, wanted: &HashSet<&str>) -> Vec<Box<str>> {
        let gone: Vec<Box<str>> = self
            .wanted
            .keys()
            .filter(|name| !wanted.contains(&***name))
            .cloned()
            .collect();
        for name in &gone {
            if let Some(source) = self.wanted.remove(name) {
                for path in source.files() {
                    self.files.remove(&path);
                }
            }
            if self.agent && matches!(&**name, OWN_CERTIFICATE | OWN_TRUST) {
                continue;
            }
            self.have.remove(&**name);
            self.shared
                .secrets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&**name);
        }
        gone
    }

    /// Drops the traces of contexts that are gone, once in a while.
    fn prune(&mut self) {
        if self.servers.len() + self.clients.len() < self.prune_at {
            return;
        }
        self.servers.retain(|context| context.strong_count() > 0);
        self.clients.retain(|context| context.strong_count() > 0);
        self.cache.retain(|_, configs| configs.strong_count() > 0);
        self.prune_at = 2 * (self.servers.len() + self.clients.len()).max(512);
    }

    fn want(&mut self, name: &str, source: &SecretSource) -> Result<(), Error> {
        let source = self.effective(name, source)?;
        if let Some(known) = self.wanted.get(name) {
            if *known != source {
                return Err(Error::new(format!(
                    "secret {name:?} is asked for from two sources"
                )));
            }
            if self.has(name) {
                return Ok(());
            }
        }
        self.wanted.insert(name.into(), source.clone());
        match self.read(&source) {
            Ok(Some(found)) => {
                self.have.insert(name.into(), Arc::new(found));
                self.export(name);
            }
            Ok(None) => {}
            // A name that Istio's agent would read from a file may come later.
            Err(error) if self.agent && secret::file_source(name).is_some() => {
                tracing::warn!(secret = name, %error, "not readable yet");
            }
            Err(error) => return Err(Error::new(format!("secret {name:?}: {error}"))),
        }
        Ok(())
    }

    /// Where a secret really comes from.
    fn effective(&self, name: &str, source: &SecretSource) -> Result<SecretSource, Error> {
        Ok(match source {
            SecretSource::Fixed => self.fixed.get(name).cloned().ok_or_else(|| {
                Error::new(format!("secret {name:?} is not among the static secrets"))
            })?,
            SecretSource::Sds { .. } if self.agent => {
                secret::file_source(name).unwrap_or(SecretSource::Ads)
            }
            other => other.clone(),
        })
    }

    fn read(&mut self, source: &SecretSource) -> Result<Option<Secret>, String> {
        for path in source.files() {
            let time = modified(&path);
            self.files.insert(path, time);
        }
        secret::load(source)
    }

    /// Names to subscribe to by ADS.
    pub fn by_ads(&self) -> BTreeSet<String> {
        self.wanted
            .iter()
            .filter(|(name, source)| {
                **source == SecretSource::Ads
                    && !(self.agent && matches!(&***name, OWN_CERTIFICATE | OWN_TRUST))
            })
            .map(|(name, _)| name.to_string())
            .collect()
    }

    /// Names to ask SDS servers of their own for, with the cluster that leads there.
    pub fn by_sds(&self) -> BTreeSet<(Box<str>, Box<str>)> {
        self.wanted
            .iter()
            .filter_map(|(name, source)| match source {
                SecretSource::Sds { cluster } => Some((cluster.clone(), name.clone())),
                _ => None,
            })
            .collect()
    }

    /// The workload's own identity is new.
    pub fn own(&mut self, own: &OwnSecrets) {
        let mut changed = HashSet::new();
        for (name, secret) in [(OWN_CERTIFICATE, &own.certificate), (OWN_TRUST, &own.trust)] {
            if let Some(secret) = secret {
                self.have.insert(name.into(), secret.clone());
                self.export(name);
                changed.insert(Box::from(name));
            }
        }
        self.reconfigure(&changed);
    }

    /// A discovered secret is new.
    ///
    /// # Errors
    /// When its content is unusable; the former one stays in force.
    pub fn discovered(&mut self, name: &str, source: &SecretSource) -> Result<(), Error> {
        let secret = self
            .read(source)
            .and_then(|secret| secret.ok_or_else(|| "holds no secret".to_owned()))
            .map_err(Error::new)?;
        self.have.insert(name.into(), Arc::new(secret));
        self.export(name);
        self.reconfigure(&HashSet::from([Box::from(name)]));
        Ok(())
    }

    /// Whether any file is watched at all.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Reads secrets again whose files have changed; true when any has.
    pub fn poll_files(&mut self) -> bool {
        let changed: HashSet<PathBuf> = self
            .files
            .iter()
            .filter(|(path, time)| modified(path) != **time)
            .map(|(path, _)| path.clone())
            .collect();
        if changed.is_empty() {
            return false;
        }
        let affected: Vec<(Box<str>, SecretSource)> = self
            .wanted
            .iter()
            .filter(|(_, source)| source.files().iter().any(|path| changed.contains(path)))
            .map(|(name, source)| (name.clone(), source.clone()))
            .collect();
        let mut renewed = HashSet::new();
        for (name, source) in affected {
            match self.read(&source) {
                Ok(Some(secret)) => {
                    tracing::info!(secret = %name, "read again from its files");
                    self.have.insert((*name).into(), Arc::new(secret));
                    self.export(&name);
                    renewed.insert(name);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(secret = %name, %error, "refused, keeping what is in force");
                }
            }
        }
        self.reconfigure(&renewed);
        !renewed.is_empty()
    }

    fn export(&self, name: &str) {
        let mut exported = self
            .shared
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = self.have.get(name) {
            exported.insert(name.into(), secret.clone());
        }
    }

    /// Configures the contexts again that use one of these secrets.
    fn reconfigure(&mut self, changed: &HashSet<Box<str>>) {
        if changed.is_empty() {
            return;
        }
        self.generation += 1;
        self.cache.clear();
        let uses = |common: &CommonTls| {
            common
                .certificates
                .iter()
                .chain(&common.validation.trust)
                .any(|name| changed.contains(name))
        };
        self.servers.retain(|context| context.strong_count() > 0);
        self.clients.retain(|context| context.strong_count() > 0);
        let servers: Vec<_> = self.servers.iter().filter_map(Weak::upgrade).collect();
        for context in servers.iter().filter(|context| uses(&context.spec.common)) {
            if let Err(error) = self.configure_server(context) {
                tracing::warn!(%error, "TLS context of a listener keeps its former secrets");
            }
        }
        let clients: Vec<_> = self.clients.iter().filter_map(Weak::upgrade).collect();
        for context in clients.iter().filter(|context| uses(&context.spec)) {
            if let Err(error) = self.configure_client(context) {
                tracing::warn!(%error, "TLS context of a cluster keeps its former secrets");
            }
        }
    }

    fn complete(&self, common: &CommonTls) -> bool {
        common
            .certificates
            .iter()
            .chain(&common.validation.trust)
            .all(|name| self.has(name))
    }

    fn configure_server(&self, context: &ServerTls) -> Result<(), String> {
        if self.complete(&context.spec.common) {
            let config = tls::server_config(context, &|name| self.have.get(name).cloned())?;
            context.config.store(Some(config));
        }
        Ok(())
    }

    fn configure_client(&mut self, context: &ClientTls) -> Result<(), String> {
        if !self.complete(&context.spec) {
            return Ok(());
        }
        let key = key(&context.spec);
        if let Some(shared) = self.cache.get(&key).and_then(Weak::upgrade) {
            context.config.store(Some(shared));
            return Ok(());
        }
        let lookup = |name: &str| self.have.get(name).cloned();
        let configs = Arc::new(tls::client_configs(
            &context.spec,
            &lookup,
            self.generation,
        )?);
        self.cache.insert(key, Arc::downgrade(&configs));
        context.config.store(Some(configs));
        Ok(())
    }
}

/// Equal for equal contexts.
fn key(common: &CommonTls) -> String {
    let CommonTls {
        alpn,
        certificates,
        validation,
        min_version,
        max_version,
        cipher_suites,
        curves,
    } = common;
    let crate::model::Validation {
        trust,
        names,
        pins,
        accept_untrusted,
    } = validation;
    format!(
        "{alpn:?} {certificates:?} {trust:?} {names:?} {pins:?} {accept_untrusted} \
         {min_version:?} {max_version:?} {cipher_suites:?} {curves:?}"
    )
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|data| data.modified())
        .ok()
}
