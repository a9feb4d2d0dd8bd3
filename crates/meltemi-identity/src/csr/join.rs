//! Callers from anywhere with a join token: one certificate for one namespace and service
//! account, within a time. What follows is renewal by that certificate.
//!
//! Tokens are made by the operator and kept as their SHA-256 in the store: who reads the store
//! cannot use them. A used or expired one is remembered for a day, so that its refusal can say
//! which of the two it is.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use tracing::warn;

use super::{Authenticator, Caller, Peer, PeerAddress, Refusal, digest};
use crate::{SpiffeError, SpiffeId, Store, StoreError, TrustDomain};

/// By SHA-256 of the token, hexadecimal: a [`Record`] as JSON.
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("join-tokens");
/// What tokens begin with. Bearer tokens of other kinds are other authenticators' business.
const PREFIX: &str = "meltemi-join-";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// Digits of its SHA-256 that name a token to people.
const ID_DIGITS: usize = 12;
/// Longest life of a token.
const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long after its end a token is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Most tokens that are remembered.
const MAX_TOKENS: usize = 10_000;

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum JoinTokenError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Namespace or service account is no name.
    #[error(transparent)]
    Id(#[from] SpiffeError),
    /// The lifetime is out of bounds.
    #[error("a join token can be good for 1 s to {} h", MAX_TTL.as_secs() / 3600)]
    Ttl,
    /// Too many are remembered.
    #[error("there are {MAX_TOKENS} join tokens; delete some (`meltemi token delete`)")]
    TooMany,
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

/// A join token as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JoinToken {
    /// The first digits of its SHA-256.
    pub id: String,
    /// Namespace of the workload that may join.
    pub namespace: String,
    /// Service account it runs as.
    pub service_account: String,
    /// When it ends, seconds after 1970.
    pub expires: u64,
    /// When it was used, seconds after 1970.
    pub used: Option<u64>,
}

/// Makes join tokens, and admits callers by them.
#[derive(Clone)]
pub struct JoinTokens {
    store: Store,
    trust_domain: TrustDomain,
}

impl JoinTokens {
    /// Keeps its tokens in this store.
    pub fn new(store: Store, trust_domain: TrustDomain) -> Self {
        Self {
            store,
            trust_domain,
        }
    }

    /// Makes a token that is good for `ttl` (1 s to 30 days); returns its secret, which is not
    /// kept, and the rest.
    ///
    /// # Errors
    /// When the names are no names, the lifetime is out of bounds, or the store fails.
    pub fn create(
        &self,
        namespace: &str,
        service_account: &str,
        ttl: Duration,
    ) -> Result<(String, JoinToken), JoinTokenError> {
        SpiffeId::new(self.trust_domain.clone(), namespace, service_account)?;
        if ttl < Duration::from_secs(1) || ttl > MAX_TTL {
            return Err(JoinTokenError::Ttl);
        }
        let secret = secret()?;
        let hash = digest(&secret);
        let token = JoinToken {
            id: hash[..ID_DIGITS].to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            expires: now() + ttl.as_secs(),
            used: None,
        };
        let added = self.change(|table| {
            forget(table)?;
            if table.len()? >= MAX_TOKENS as u64 {
                return Ok(false);
            }
            table.insert(&*hash, &*encode(&token))?;
            Ok(true)
        })?;
        if added {
            Ok((secret, token))
        } else {
            Err(JoinTokenError::TooMany)
        }
    }

    /// All that are remembered, the ones that end first at the front.
    ///
    /// # Errors
    /// When the store fails.
    pub fn list(&self) -> Result<Vec<JoinToken>, StoreError> {
        let mut tokens = self.read_all().map_err(|error| self.store.damaged(error))?;
        tokens.sort_by(|a, b| (a.expires, &a.id).cmp(&(b.expires, &b.id)));
        Ok(tokens)
    }

    fn read_all(&self) -> Result<Vec<JoinToken>, redb::Error> {
        let table = match self.store.database().begin_read()?.open_table(TOKENS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut tokens = Vec::new();
        for entry in table.iter()? {
            tokens.extend(decode(entry?.1.value()));
        }
        Ok(tokens)
    }

    /// Forgets the token of this [`JoinToken::id`]; false when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delete(&self, id: &str) -> Result<bool, StoreError> {
        self.change(|table| {
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (hash, record) = entry?;
                if decode(record.value()).is_some_and(|token| token.id == id) {
                    found.push(hash.value().to_owned());
                }
            }
            for hash in &found {
                table.remove(&**hash)?;
            }
            Ok(!found.is_empty())
        })
    }

    /// Takes the token: of several callers at once one gets it, as the store has one writer.
    fn take(&self, secret: &str) -> Result<JoinToken, Refusal> {
        let refuse = |problem: String| {
            Refusal(format!(
                "join token refused: {problem}; make another one with `meltemi token create`"
            ))
        };
        let hash = digest(secret);
        let taken = self.change(|table| {
            let found = table.get(&*hash)?.and_then(|record| decode(record.value()));
            let Some(mut token) = found else {
                return Ok(Err("this mesh does not know it".to_owned()));
            };
            if let Some(used) = token.used {
                return Ok(Err(format!("it was used {}, and works once", at(used))));
            }
            let now = now();
            if token.expires <= now {
                return Ok(Err(format!("it expired {}", at(token.expires))));
            }
            token.used = Some(now);
            table.insert(&*hash, &*encode(&token))?;
            Ok(Ok(token))
        });
        match taken {
            Ok(taken) => taken.map_err(refuse),
            Err(error) => {
                warn!("join tokens cannot be read: {error}");
                Err(Refusal(
                    "join token refused: the store fails; see the control plane's log".to_owned(),
                ))
            }
        }
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let change = || {
            let write = self.store.database().begin_write()?;
            let result = change(&mut write.open_table(TOKENS)?)?;
            write.commit()?;
            Ok(result)
        };
        change().map_err(|error: redb::Error| self.store.damaged(error))
    }
}

impl Authenticator for JoinTokens {
    fn authenticate(&self, peer: &Peer) -> Result<Option<Caller>, Refusal> {
        let (PeerAddress::Tcp(_), Some(secret)) = (&peer.address, &peer.token) else {
            return Ok(None);
        };
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        let token = self.take(secret)?;
        let id = SpiffeId::new(
            self.trust_domain.clone(),
            &token.namespace,
            &token.service_account,
        )
        .map_err(|error| Refusal(format!("join token refused: {error}")))?;
        Ok(Some(Caller {
            id,
            evidence: format!("join token {}", token.id),
        }))
    }
}

/// Removes what ended long ago.
fn forget(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
) -> Result<(), redb::StorageError> {
    let before = now().saturating_sub(REMEMBERED.as_secs());
    table.retain(|_, record| decode(record).is_some_and(|token| token.expires > before))
}

fn secret() -> Result<String, JoinTokenError> {
    let mut bytes = [0; SECRET_BYTES];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| JoinTokenError::Random)?;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{PREFIX}{text}"))
}

fn encode(token: &JoinToken) -> Vec<u8> {
    // Strings and numbers: serialising them cannot fail.
    serde_json::to_vec(token).unwrap_or_default()
}

fn decode(record: &[u8]) -> Option<JoinToken> {
    serde_json::from_slice(record).ok()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// `at 2026-11-22T06:29:22Z`.
fn at(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "long ago".to_owned(), |at| format!("at {at}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn tokens(home: &tempfile::TempDir) -> JoinTokens {
        let store = Store::open(&home.path().join("state")).unwrap();
        JoinTokens::new(store, TrustDomain::default())
    }

    fn peer(secret: &str) -> Peer {
        Peer {
            address: PeerAddress::Tcp(([127, 0, 0, 1], 1).into()),
            certificates: Arc::default(),
            token: Some(secret.to_owned()),
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn of_many_callers_at_once_one_gets_the_certificate() {
        let home = tempfile::tempdir().unwrap();
        let tokens = tokens(&home);
        let (secret, _) = tokens.create("shop", "web", HOUR).unwrap();
        let peer = peer(&secret);
        let admitted = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| tokens.authenticate(&peer)))
                .collect();
            let outcomes = callers.into_iter().map(|caller| caller.join().unwrap());
            outcomes
                .filter_map(Result::ok)
                .flatten()
                .map(|caller| caller.id.to_string())
                .collect::<Vec<_>>()
        });
        assert_eq!(admitted, ["spiffe://cluster.local/ns/shop/sa/web"]);
    }

    #[test]
    fn tokens_survive_a_restart_but_their_secrets_are_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let (secret, token) = tokens(&home).create("shop", "web", HOUR).unwrap();
        let file = std::fs::read(home.path().join("state/store.redb")).unwrap();
        let random = secret.strip_prefix(PREFIX).unwrap();
        assert!(
            !file
                .windows(random.len())
                .any(|bytes| bytes == random.as_bytes())
        );

        let tokens = tokens(&home);
        assert_eq!(tokens.list().unwrap(), [token]);
        assert!(tokens.authenticate(&peer(&secret)).unwrap().is_some());
        assert!(tokens.list().unwrap()[0].used.is_some());
    }

    #[test]
    fn an_expired_or_withdrawn_token_is_refused_with_the_reason() {
        let home = tempfile::tempdir().unwrap();
        let tokens = tokens(&home);
        let (secret, token) = tokens.create("shop", "web", HOUR).unwrap();
        let expired = JoinToken {
            expires: now() - 10,
            ..token.clone()
        };
        let put = |token: &JoinToken| {
            let hash = digest(&secret);
            let put = |table: &mut redb::Table<'_, &'static str, &'static [u8]>| {
                table.insert(&*hash, &*encode(token))?;
                Ok(())
            };
            tokens.change(put).unwrap();
        };
        put(&expired);
        let refusal = tokens.authenticate(&peer(&secret)).unwrap_err().0;
        assert!(refusal.contains("it expired at"), "{refusal}");
        assert!(!refusal.contains(&secret));
        put(&token);
        assert!(tokens.delete(&token.id).unwrap());
        assert!(!tokens.delete(&token.id).unwrap());
        let refusal = tokens.authenticate(&peer(&secret)).unwrap_err().0;
        assert!(refusal.contains("does not know it"), "{refusal}");
    }

    #[test]
    fn names_and_lifetimes_are_checked_and_old_tokens_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let tokens = tokens(&home);
        let error =
            |namespace: &str, ttl| tokens.create(namespace, "a", ttl).unwrap_err().to_string();
        assert!(error("a/b", HOUR).contains("a/b"));
        assert!(error("a", Duration::ZERO).contains("720 h"));
        assert!(error("a", 721 * HOUR).contains("720 h"));
        let (_, mut token) = tokens.create("a", "b", HOUR).unwrap();
        token.expires = now() - REMEMBERED.as_secs() - 1;
        tokens
            .change(|table| {
                table.insert("old", &*encode(&token))?;
                Ok(())
            })
            .unwrap();
        assert_eq!(tokens.list().unwrap().len(), 2);
        tokens.create("a", "c", HOUR).unwrap();
        assert_eq!(tokens.list().unwrap().len(), 2, "the new one, not the old");
    }
}
