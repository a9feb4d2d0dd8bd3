//! Encoded resources and immutable sets of them.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::Subscription;
use crate::wire;

/// One resource, encoded once; clones share the bytes, and every response that
/// carries it copies them straight into its frame without encoding again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Name within its type; unique in a [`ResourceSet`].
    pub name: Arc<str>,
    /// Hash of the content, 32 hexadecimal digits. Equal content has an equal
    /// version on every server, so that a client may reconnect to another one.
    pub version: Arc<str>,
    /// The encoded `google.protobuf.Any` (type URL and value), not just its value.
    pub any: Bytes,
}

impl Resource {
    /// Encodes a message whose type URL follows from its type.
    pub fn encode<M: Message + prost::Name>(name: impl Into<Arc<str>>, message: &M) -> Self {
        Self::from_value(name, &M::type_url(), message.encode_to_vec().into())
    }

    /// Wraps an already encoded message of the given type.
    pub fn from_value(name: impl Into<Arc<str>>, type_url: &str, value: Bytes) -> Self {
        let any = wire::Any {
            type_url: type_url.to_owned(),
            value,
        };
        let any = Bytes::from(any.encode_to_vec());
        let version = hex_prefix(&Sha256::digest(&any));
        Self {
            name: name.into(),
            version,
            any,
        }
    }
}

/// An immutable set of resources of one type, ordered by name; clones are cheap.
///
/// The order makes responses deterministic: the same set is the same bytes.
#[derive(Clone, Debug)]
pub struct ResourceSet {
    /// Both ordered by name, and no name in both.
    shared: Arc<[Resource]>,
    own: Arc<[Resource]>,
    version: Arc<str>,
}

static EMPTY: LazyLock<ResourceSet> = LazyLock::new(|| ResourceSet::new(Vec::new()));

impl Default for ResourceSet {
    fn default() -> Self {
        EMPTY.clone()
    }
}

impl ResourceSet {
    /// Sorts the resources by name. Of several with the same name the last one
    /// is kept, as a map would.
    pub fn new(mut resources: Vec<Resource>) -> Self {
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        resources.dedup_by(|later, earlier| {
            let same = later.name == earlier.name;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self {
            version: version_of(resources.iter().flat_map(|r| [&r.name, &r.version])),
            shared: resources.into(),
            own: Arc::default(),
        }
    }

    /// This set and the resources of another one, which win where both have a
    /// name. What is in this set is not copied, so that many may share it.
    pub fn beside(&self, own: &Self) -> Self {
        let disjoint = self.own.is_empty()
            && own.own.is_empty()
            && own
                .iter()
                .all(|resource| self.get(&resource.name).is_none());
        if !disjoint {
            return self.iter().chain(own).cloned().collect();
        }
        Self {
            version: version_of([&self.version, &own.version]),
            shared: Arc::clone(&self.shared),
            own: Arc::clone(&own.shared),
        }
    }

    /// This set with other versions of some of its resources. Those it does not
    /// have are added.
    pub fn with(&self, changed: impl IntoIterator<Item = Resource>) -> Self {
        let mut resources: Vec<Resource> = self.iter().cloned().collect();
        let mut added = Vec::new();
        let mut same = true;
        for resource in changed {
            match resources.binary_search_by(|r| r.name.cmp(&resource.name)) {
                Ok(index) => {
                    same &= resources[index].version == resource.version;
                    resources[index] = resource;
                }
                Err(_) => added.push(resource),
            }
        }
        if same && added.is_empty() {
            return self.clone();
        }
        resources.append(&mut added);
        Self::new(resources)
    }

    /// Hash over all names and versions: the `version_info` of a
    /// state-of-the-world response with exactly these resources.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Resource> {
        [&self.shared, &self.own].into_iter().find_map(|part| {
            let found = part.binary_search_by(|resource| (*resource.name).cmp(name));
            found.ok().map(|index| &part[index])
        })
    }

    /// The resources in order of their names.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            set: self,
            shared: &self.shared,
            own: &self.own,
        }
    }

    /// The resource at a position that [`Iter::position`] told.
    pub(crate) fn at(&self, position: u32) -> Option<&Resource> {
        let position = position as usize;
        match position.checked_sub(self.shared.len()) {
            None => self.shared.get(position),
            Some(position) => self.own.get(position),
        }
    }

    /// Number of resources.
    pub fn len(&self) -> usize {
        self.shared.len() + self.own.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part of this set that a subscription asks for; the set itself when
    /// that is everything.
    pub fn select(&self, subscription: &Subscription) -> Self {
        if self
            .iter()
            .all(|resource| subscription.matches(&resource.name))
        {
            return self.clone();
        }
        self.iter()
            .filter(|resource| subscription.matches(&resource.name))
            .cloned()
            .collect()
    }
}

/// The resources of a set in order of their names.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    set: &'a ResourceSet,
    shared: &'a [Resource],
    own: &'a [Resource],
}

impl<'a> Iter<'a> {
    fn next_is_own(&self) -> bool {
        match (self.shared.first(), self.own.first()) {
            (Some(shared), Some(own)) => own.name < shared.name,
            (None, own) => own.is_some(),
            (Some(_), None) => false,
        }
    }

    /// The resource that is next.
    pub(crate) fn peek(&self) -> Option<&'a Resource> {
        match self.next_is_own() {
            true => self.own.first(),
            false => self.shared.first(),
        }
    }

    /// Where in the set the resource is that is next.
    pub(crate) fn position(&self) -> u32 {
        let set = self.set;
        let position = match self.next_is_own() {
            true => set.len() - self.own.len(),
            false => set.shared.len() - self.shared.len(),
        };
        u32::try_from(position).unwrap_or(u32::MAX)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Resource;

    fn next(&mut self) -> Option<&'a Resource> {
        let part = match self.next_is_own() {
            true => &mut self.own,
            false => &mut self.shared,
        };
        let (first, rest) = part.split_first()?;
        *part = rest;
        Some(first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.len() + self.own.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// A hash over texts that hold no NUL, which makes the concatenation unambiguous.
fn version_of<'a>(texts: impl IntoIterator<Item = &'a Arc<str>>) -> Arc<str> {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex_prefix(&hash.finalize())
}

impl FromIterator<Resource> for ResourceSet {
    fn from_iter<I: IntoIterator<Item = Resource>>(iter: I) -> Self {
        Self::new(iter.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a ResourceSet {
    type Item = &'a Resource;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The first 128 bits of a hash in hexadecimal: enough that two contents never
/// share a version by accident or by design.
fn hex_prefix(hash: &[u8]) -> Arc<str> {
    let mut hex = String::with_capacity(32);
    for byte in &hash[..16] {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex.into()
}

/// The content version of an encoded `google.protobuf.Any`, for servers (the
/// state-of-the-world protocol) that give no version to a single resource.
pub(crate) fn content_version(any: &[u8]) -> Arc<str> {
    hex_prefix(&Sha256::digest(any))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nds::{NameInfo, NameTable};

    fn resource(name: &str, value: &'static str) -> Resource {
        Resource::from_value(name, "type.googleapis.com/test", Bytes::from(value))
    }

    #[test]
    fn equal_content_has_an_equal_version_and_other_content_has_not() {
        assert_eq!(resource("a", "1").version, resource("a", "1").version);
        assert_ne!(resource("a", "1").version, resource("a", "2").version);
        assert_eq!(resource("a", "1").version.len(), 32);
    }

    #[test]
    fn the_order_of_construction_does_not_change_a_set() {
        let forward = ResourceSet::new(vec![resource("a", "1"), resource("b", "2")]);
        let backward = ResourceSet::new(vec![resource("b", "2"), resource("a", "1")]);
        assert_eq!(forward.version(), backward.version());
        assert_eq!(forward.get("b").map(|r| &*r.name), Some("b"));
        assert!(forward.get("c").is_none());
    }

    #[test]
    fn the_last_of_two_resources_with_one_name_wins() {
        let set = ResourceSet::new(vec![resource("a", "1"), resource("a", "2")]);
        assert_eq!(set.len(), 1);
        assert_eq!(set.get("a"), Some(&resource("a", "2")));
    }

    #[test]
    fn a_named_selection_leaves_out_the_rest() {
        let set = ResourceSet::new(vec![resource("a", "1"), resource("b", "2")]);
        let selected = set.select(&Subscription::names(["b", "z"]));
        assert_eq!(selected.iter().map(|r| &*r.name).collect::<Vec<_>>(), ["b"]);
        assert_eq!(
            set.select(&Subscription::wildcard()).version(),
            set.version()
        );
    }

    #[test]
    fn an_encoded_message_reads_back_as_any() {
        let table = NameTable {
            table: [("a.b".to_owned(), NameInfo::default())].into(),
        };
        let resource = Resource::encode("", &table);
        let any = envoy_types::pb::google::protobuf::Any::decode(&*resource.any).unwrap();
        assert_eq!(any.type_url, crate::type_url::NAME_TABLE);
        assert_eq!(NameTable::decode(&*any.value).unwrap(), table);
    }
}
