//! What the fuzz targets share: resources from bytes to the compiled model, as a proxy takes
//! them in.

use meltemi_proxy::compile::{self, Cx, Names, pb};
use prost::{Message, Name};

/// The kinds of resources a control plane sends.
#[derive(Clone, Copy)]
pub enum Resource {
    Cluster,
    Endpoints,
    Listener,
    Routes,
    Secret,
}

impl Resource {
    /// By the first byte of an input.
    pub fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'C' => Self::Cluster,
            b'E' => Self::Endpoints,
            b'L' => Self::Listener,
            b'R' => Self::Routes,
            b'S' => Self::Secret,
            _ => return None,
        })
    }

    fn type_name(self) -> String {
        match self {
            Self::Cluster => pb::cluster::Cluster::full_name(),
            Self::Endpoints => pb::endpoint::ClusterLoadAssignment::full_name(),
            Self::Listener => pb::listener::Listener::full_name(),
            Self::Routes => pb::route::RouteConfiguration::full_name(),
            Self::Secret => pb::tls::Secret::full_name(),
        }
    }

    /// The encoded message of its JSON form, where that is valid. What was encoded can be
    /// shown, and the same again after another round.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        let name = self.type_name();
        let bytes = meltemi_schema::encode_text(&name, text).ok()?;
        let shown = meltemi_schema::decode(&name, &bytes).expect("what was encoded can be decoded");
        let again = meltemi_schema::encode(&name, &shown).expect("what was decoded can be encoded");
        let shown_again = meltemi_schema::decode(&name, &again).expect("what was encoded can be decoded");
        assert_eq!(shown, shown_again);
        Some(bytes)
    }

    /// Decodes and compiles; whatever the bytes are, this returns.
    pub fn ingest(self, bytes: &[u8]) {
        let mut names = Names::default();
        let mut cx = Cx::new(&mut names);
        let hash = compile::content_hash(bytes);
        match self {
            Self::Cluster => decoded(bytes, |value| {
                compile::cluster(value, hash, &mut cx).map(drop)
            }),
            Self::Endpoints => decoded(bytes, |value| {
                compile::assignment::assignment(value, false, &mut cx).map(drop)
            }),
            Self::Listener => decoded(bytes, |value| {
                compile::listener(value, hash, &mut cx).map(drop)
            }),
            Self::Routes => decoded(bytes, |value| {
                compile::RouteFrame::compile(value, &mut cx).map(drop)
            }),
            // Its files are not read: a fuzzer must not open whatever it names.
            Self::Secret => decoded(bytes, |value| {
                compile::secret::secret_source(value).map(drop)
            }),
        }
    }
}

/// A refusal must be able to explain itself.
fn decoded<M: Message + Default>(bytes: &[u8], compile: impl FnOnce(M) -> compile::Result<()>) {
    if let Ok(value) = M::decode(bytes)
        && let Err(error) = compile(value)
    {
        assert!(
            !error.to_string().trim().is_empty(),
            "a refusal without a reason"
        );
    }
}
