//! Callers with a certificate of this mesh: they renew it.

use std::sync::Arc;

use super::{Authenticator, Caller, Peer, Refusal};
use crate::authority::verify;
use crate::{Authority, spiffe_id_of};

/// Admits callers by the client certificate they presented in TLS, as the
/// identity that is in it. The certificate is verified here once more: how the
/// TLS layer was configured does not matter.
pub struct MutualTls {
    authority: Arc<Authority>,
}

impl MutualTls {
    /// Trusts the authority's roots.
    pub fn new(authority: Arc<Authority>) -> Self {
        Self { authority }
    }
}

impl Authenticator for MutualTls {
    fn authenticate(&self, peer: &Peer) -> Result<Option<Caller>, Refusal> {
        let [leaf, intermediates @ ..] = &peer.certificates[..] else {
            return Ok(None);
        };
        let refuse = |problem: String| Refusal(format!("client certificate: {problem}"));
        verify(
            &self.authority.roots(),
            leaf,
            intermediates,
            webpki::KeyUsage::client_auth(),
        )
        .map_err(refuse)?;
        let id = spiffe_id_of(leaf).map_err(|error| refuse(error.to_string()))?;
        if id.trust_domain() != self.authority.trust_domain() {
            return Err(refuse(format!(
                "{id} is not in the trust domain {}",
                self.authority.trust_domain()
            )));
        }
        Ok(Some(Caller {
            id,
            evidence: "client certificate".to_owned(),
        }))
    }
}
