//! Configuration on disk: YAML with positions, the versioned store of objects, the watched
//! directories it comes from, and edits to them.
//!
//! Nothing here knows about proxies; `meltemi-registry` and `meltemi-discovery` read the store.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod assemble;
mod editor;
mod error;
mod file;
mod load;
pub mod offline;
mod places;
pub mod source;
mod store;
pub mod yaml;

pub use editor::{Action, Applied, Difference, Editor, Outcome, to_yaml};
pub use error::ConfigError;
pub use file::write_atomically;
pub use load::{ReadOptions, Trust};
pub use places::line_of;
pub use source::{Directory, DirectorySource, Published, SourceOptions, read_once};
pub use store::{Change, ChangeKind, Objects, ROOT_NAMESPACE};
