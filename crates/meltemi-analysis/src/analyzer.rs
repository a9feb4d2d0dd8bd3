//! What an analyzer is.

use crate::{Index, Report};

/// Looks at the objects of an index for one kind of mistake. One a file in `analyzers/`.
pub trait Analyzer: Sync {
    /// Istio's name of it where it has one: `gateway.SecretAnalyzer`.
    fn name(&self) -> &'static str;

    /// What it looks for, in one sentence.
    fn about(&self) -> &'static str;

    /// Says what it finds. Pure.
    fn analyze(&self, index: &Index, report: &mut Report);

    /// Whether it runs when nobody asks for it by name.
    fn by_default(&self, _index: &Index) -> bool {
        true
    }
}
