//! The control plane's store: one file, one process at a time.
//!
//! Holds the CA's key and root. Other rooms may keep what has to survive a
//! restart in tables of their own, through [`Store::database`].

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition};

/// Name of the store's file in its directory.
const FILE: &str = "store.redb";

const CA: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("ca");
/// The root that signs, DER and PKCS #8.
const ROOT: [&str; 2] = ["root.crt", "root.key"];
/// During a rotation: the root that is to sign.
const NEXT_ROOT: [&str; 2] = ["next.crt", "next.key"];
/// During a rotation: the root that signed, without its key.
const FORMER_ROOT: &str = "former.crt";
/// When the rotation's next step is due; seconds after 1970, as text.
const STEP_AT: &str = "step-at";
/// When the last of all issued workload certificates ends, or somewhat later.
const ISSUED_UNTIL: &str = "issued-until";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Someone else could have read the CA's key.
    #[error(
        "{path} can be accessed by others (mode {mode:o}); it holds the key of the mesh's CA: \
         run `chmod {wanted:o} {path}` if you trust everybody who could read it, or remove it \
         to start with a new CA"
    )]
    Exposed {
        /// File or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they have to be.
        wanted: u32,
    },
    /// Another process has it open.
    #[error(
        "{path} is in use by another process: is the same configuration directory already running?"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its content makes no sense.
    #[error(
        "{path} is damaged ({problem}); move it away to start with a new CA, whereupon running \
         workloads have to be restarted"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
}

/// A self-signed root, all DER.
#[derive(Clone)]
pub(crate) struct StoredRoot {
    pub certificate: Vec<u8>,
    /// PKCS #8.
    pub key: Vec<u8>,
}

/// How far the replacement of the root has come.
#[derive(Clone)]
pub(crate) enum StoredRotation {
    /// The next root is trusted; it signs when the step is due.
    Announced { next: StoredRoot },
    /// The next root signs; the former one is dropped when the step is due.
    Retiring { former: Vec<u8> },
}

/// What the table `ca` holds.
#[derive(Clone)]
pub(crate) struct StoredCa {
    pub root: StoredRoot,
    /// With the time of its next step, in seconds after 1970.
    pub rotation: Option<(StoredRotation, u64)>,
}

/// The open store; clones share it.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    path: Arc<Path>,
}

impl Store {
    /// Opens `store.redb` in a directory; creates both (0700, 0600) when missing.
    ///
    /// # Errors
    /// See [`StoreError`]; each says which file and what to do.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io(directory))?;
        guard(directory, 0o700)?;
        let path = directory.join(FILE);
        if !path.try_exists().map_err(io(&path))? {
            create(directory, &path)?;
        }
        guard(&path, 0o600)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io(&path))?;
        Ok(Self {
            database: Arc::new(database(file, &path)?),
            path: path.into(),
        })
    }

    /// For tables of other rooms. The table `ca` is taken.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The CA, when there is one.
    pub(crate) fn load_ca(&self) -> Result<Option<StoredCa>, StoreError> {
        self.try_load_ca().map_err(|error| self.damaged(error))
    }

    fn try_load_ca(&self) -> Result<Option<StoredCa>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(CA) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = |key: &str| {
            let value = table.get(key)?;
            Ok::<_, redb::Error>(value.map(|value| value.value().to_vec()))
        };
        let root = |[certificate, key]: [&str; 2]| {
            let both = bytes(certificate)?.zip(bytes(key)?);
            Ok::<_, redb::Error>(both.map(|(certificate, key)| StoredRoot { certificate, key }))
        };
        let rotation = match (root(NEXT_ROOT)?, bytes(FORMER_ROOT)?) {
            (Some(next), _) => Some(StoredRotation::Announced { next }),
            (None, Some(former)) => Some(StoredRotation::Retiring { former }),
            (None, None) => None,
        };
        let step_at = bytes(STEP_AT)?.and_then(|text| seconds(&text));
        Ok(root(ROOT)?.map(|root| StoredCa {
            root,
            rotation: rotation.zip(step_at),
        }))
    }

    /// All of it in one transaction: there is never one part without the other.
    pub(crate) fn save_ca(&self, ca: &StoredCa) -> Result<(), StoreError> {
        self.change_ca(|table| {
            for key in [NEXT_ROOT[0], NEXT_ROOT[1], FORMER_ROOT, STEP_AT] {
                table.remove(key)?;
            }
            let mut put = |[certificate, key]: [&str; 2], root: &StoredRoot| {
                table.insert(certificate, &*root.certificate)?;
                table.insert(key, &*root.key).map(drop)
            };
            put(ROOT, &ca.root)?;
            if let Some((rotation, at)) = &ca.rotation {
                match rotation {
                    StoredRotation::Announced { next } => put(NEXT_ROOT, next)?,
                    StoredRotation::Retiring { former } => {
                        table.insert(FORMER_ROOT, &**former)?;
                    }
                }
                table.insert(STEP_AT, at.to_string().as_bytes())?;
            }
            Ok(())
        })
    }

    /// When the last issued certificate ends; 0 when none was issued.
    pub(crate) fn load_issued_until(&self) -> Result<u64, StoreError> {
        let load = || {
            let read = self.database.begin_read()?;
            let table = match read.open_table(CA) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
                Err(error) => return Err(error.into()),
            };
            let text = table.get(ISSUED_UNTIL)?;
            Ok(text.and_then(|text| seconds(text.value())).unwrap_or(0))
        };
        load().map_err(|error: redb::Error| self.damaged(error))
    }

    pub(crate) fn save_issued_until(&self, until: u64) -> Result<(), StoreError> {
        self.change_ca(|table| {
            table.insert(ISSUED_UNTIL, until.to_string().as_bytes())?;
            Ok(())
        })
    }

    fn change_ca(
        &self,
        change: impl FnOnce(
            &mut redb::Table<'_, &'static str, &'static [u8]>,
        ) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let change = || {
            let write = self.database.begin_write()?;
            change(&mut write.open_table(CA)?)?;
            write.commit()?;
            Ok(())
        };
        change().map_err(|error: redb::Error| self.damaged(error))
    }

    pub(crate) fn damaged(&self, problem: impl std::fmt::Display) -> StoreError {
        StoreError::Damaged {
            path: self.path.to_path_buf(),
            problem: problem.to_string(),
        }
    }
}

fn seconds(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Refuses what others than the owner may access.
fn guard(path: &Path, wanted: u32) -> Result<(), StoreError> {
    let metadata = std::fs::metadata(path).map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Exposed {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}

/// Makes an empty store under another name and links it to its own: whoever
/// sees the file sees a complete one, and of two creators one wins.
fn create(directory: &Path, path: &Path) -> Result<(), StoreError> {
    let temporary = directory.join(format!(".{FILE}.{}", std::process::id()));
    let io = |source| StoreError::Io {
        path: temporary.clone(),
        source,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io)?;
    drop(database(file, &temporary)?);
    let linked = match std::fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    std::fs::remove_file(&temporary).map_err(io)?;
    linked.map_err(io)
}

fn database(file: File, path: &Path) -> Result<Database, StoreError> {
    // The backend takes the lock that keeps other processes out.
    FileBackend::new(file)
        .and_then(|backend| Database::builder().create_with_backend(backend))
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
                path: path.to_owned(),
            },
            error => StoreError::Damaged {
                path: path.to_owned(),
                problem: error.to_string(),
            },
        })
}
