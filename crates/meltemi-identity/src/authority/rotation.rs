//! Replacing a root of our own while certificates of it are in use.
//!
//! Every certificate comes with the roots of its day, so that trust spreads as certificates are
//! renewed. First the next root is trusted beside the one that signs, until all certificates
//! that were issued before have ended: then every workload trusts both. Then it signs, until all
//! certificates of the former root have ended: then nobody needs that one, and it is dropped.
//! Each step waits for the end of the certificate that ends last, at most twice the longest
//! lifetime together.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tracing::info;

use super::{Authority, Signing, make_root, not_after};
use crate::store::{StoredCa, StoredRoot, StoredRotation};
use crate::{Store, StoreError, TrustBundle};

/// The end of issued certificates is written down rounded up to a multiple of this part of the
/// default lifetime, so that not every certificate is a write.
const ROUNDING: u32 = 16;

/// Why a rotation does not begin.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The root is somebody else's.
    #[error(
        "the CA is plugged in: put its next root into root-cert.pem beside the one in use, restart \
         the control plane, and replace ca-cert.pem and ca-key.pem when every certificate has \
         been renewed"
    )]
    PluggedIn,
    /// One is under way.
    #[error("the root is being replaced already; `meltemi ca status` tells how far that is")]
    UnderWay,
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root could not be made.
    #[error("making the root certificate failed: {0}")]
    Generate(String),
}

/// What a root is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootRole {
    /// It (or a CA below it) signs.
    Signing,
    /// It is trusted and will sign.
    Next,
    /// It is trusted and signed.
    Former,
    /// It is trusted: one of several roots of a plugged-in CA.
    Trusted,
}

/// A trusted root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootState {
    pub role: RootRole,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
    /// When it ends, seconds after 1970.
    pub not_after: u64,
}

/// What the authority trusts and does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaState {
    pub roots: Vec<RootState>,
    /// When the rotation goes on, seconds after 1970; none without a rotation.
    pub next_step: Option<u64>,
    /// All roots, PEM.
    pub pem: String,
}

/// The own root of an authority: what the store holds, and when the last certificate ends.
pub(super) struct Own {
    store: Store,
    ca: Mutex<StoredCa>,
    issued_until: Mutex<u64>,
}

impl Own {
    pub fn new(store: Store, ca: StoredCa) -> Result<Self, StoreError> {
        let issued_until = store.load_issued_until()?;
        Ok(Self {
            store,
            ca: Mutex::new(ca),
            issued_until: Mutex::new(issued_until),
        })
    }

    /// Accounts for a certificate before it is handed out.
    pub fn issued(&self, until: SystemTime, lifetime: Duration) -> Result<(), StoreError> {
        let mut known = lock(&self.issued_until);
        let until = seconds(until) + 1;
        if until > *known {
            let until = until + (lifetime / ROUNDING).as_secs();
            self.store.save_issued_until(until)?;
            *known = until;
        }
        Ok(())
    }
}

impl Signing {
    pub(super) fn of(ca: &StoredCa) -> Result<Self, String> {
        let StoredRoot { certificate, key } = ca.root.clone();
        let certificate = CertificateDer::from(certificate);
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::try_from(&key).map_err(|error| error.to_string())?;
        let other = ca.rotation.as_ref().map(|(rotation, _)| match rotation {
            StoredRotation::Announced { next } => &next.certificate,
            StoredRotation::Retiring { former } => former,
        });
        let other = other.map(|root| CertificateDer::from(root.clone()));
        let roots = TrustBundle::new([certificate.clone()].into_iter().chain(other));
        Ok(Self {
            intermediates: Vec::new(),
            roots: roots.map_err(|error| error.to_string())?,
            not_after: not_after(&certificate)?,
            issuer: Issuer::from_ca_cert_der(&certificate, key)
                .map_err(|error| error.to_string())?,
        })
    }
}

impl Authority {
    /// Begins to replace the root by a new one. [`Self::advance`] does the rest.
    ///
    /// # Errors
    /// When the root is not ours, a rotation is under way, or the store fails.
    pub fn rotate(&self) -> Result<(), RotateError> {
        let own = self.own.as_ref().ok_or(RotateError::PluggedIn)?;
        let next = make_root(&self.options.trust_domain)
            .map_err(|error| RotateError::Generate(error.to_string()))?;
        self.step(own, |ca, at| {
            if ca.rotation.is_some() {
                return Err(RotateError::UnderWay);
            }
            info!("a new root is trusted and will replace the one that signs");
            let rotation = StoredRotation::Announced { next };
            Ok(StoredCa {
                root: ca.root.clone(),
                rotation: Some((rotation, at)),
            })
        })
    }

    /// Takes the step of a rotation that is due by `now`, if there is one.
    ///
    /// # Errors
    /// When the store fails; nothing has changed then.
    pub fn advance(&self, now: SystemTime) -> Result<(), RotateError> {
        let Some(own) = &self.own else { return Ok(()) };
        let due = |ca: &StoredCa| {
            let due = ca.rotation.as_ref().map(|(_, at)| *at <= seconds(now));
            due.unwrap_or(false)
        };
        if !due(&lock(&own.ca)) {
            return Ok(());
        }
        self.step(own, |ca, at| {
            Ok(match &ca.rotation {
                Some((StoredRotation::Announced { next }, _)) => {
                    info!("the new root signs; the former one is still trusted");
                    let former = ca.root.certificate.clone();
                    StoredCa {
                        root: next.clone(),
                        rotation: Some((StoredRotation::Retiring { former }, at)),
                    }
                }
                Some((StoredRotation::Retiring { .. }, _)) | None => {
                    info!("the former root is no longer trusted");
                    StoredCa {
                        root: ca.root.clone(),
                        rotation: None,
                    }
                }
            })
        })
    }

    /// Replaces what signs by what `change` makes of it, which is told when the last certificate
    /// ends. Nothing is issued meanwhile.
    fn step(
        &self,
        own: &Own,
        change: impl FnOnce(&StoredCa, u64) -> Result<StoredCa, RotateError>,
    ) -> Result<(), RotateError> {
        let mut signing = self.signing.write().unwrap_or_else(PoisonError::into_inner);
        let mut ca = lock(&own.ca);
        let next = change(&ca, *lock(&own.issued_until))?;
        let replaced = Signing::of(&next).map_err(|problem| own.store.damaged(problem))?;
        own.store.save_ca(&next)?;
        *signing = replaced;
        *ca = next;
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// What is trusted and what is next.
    pub fn state(&self) -> CaState {
        let signing = self.signing();
        let rotation = self
            .own
            .as_ref()
            .and_then(|own| lock(&own.ca).rotation.clone());
        // The root that signs is the first one, the other one of a rotation the second.
        let other = match &rotation {
            Some((StoredRotation::Announced { .. }, _)) => RootRole::Next,
            Some((StoredRotation::Retiring { .. }, _)) => RootRole::Former,
            None => RootRole::Trusted,
        };
        let first = if self.own.is_some() || signing.roots.roots().len() == 1 {
            RootRole::Signing
        } else {
            RootRole::Trusted
        };
        let roles = std::iter::once(first).chain(std::iter::repeat(other));
        let roots = signing.roots.roots().iter().zip(roles);
        CaState {
            roots: roots
                .map(|(root, role)| RootState {
                    role,
                    fingerprint: fingerprint(root),
                    not_after: not_after(root).map_or(0, seconds),
                })
                .collect(),
            next_step: rotation.map(|(_, at)| at),
            pem: signing.roots.to_pem(),
        }
    }
}

fn fingerprint(certificate: &[u8]) -> String {
    let digest = Sha256::digest(certificate);
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join("")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
