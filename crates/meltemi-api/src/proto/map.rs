//! Maps that are left out rather than written without entries.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

/// Reads a map with an entry or more (the schema's `minProperties: 1`).
pub fn not_empty<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    let map = BTreeMap::deserialize(deserializer)?;
    if map.is_empty() {
        return Err(de::Error::custom("is empty; add an entry, or remove it"));
    }
    Ok(map)
}
