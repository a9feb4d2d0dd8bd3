//! Differences from Envoy that are to be closed in the proxy, or moved to `known` with a
//! reason. Each is written out in `open.txt`, so that a new one fails the suite, and so does
//! a line that no longer holds.

use std::collections::HashSet;
use std::sync::LazyLock;

/// One difference a line: `GROUP::CASE: ASPECT: Envoy "...", Meltemi "..."`.
static OPEN: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("open.txt").lines().collect());

/// The line of a difference.
pub fn find(group: &str, case: &str, difference: &str) -> Option<&'static str> {
    OPEN.get(format!("{group}::{case}: {difference}").as_str())
        .copied()
}

pub fn all() -> impl Iterator<Item = &'static str> {
    OPEN.iter().copied()
}
