//! The kinds users write: all of Istio's, the Gateway API's, and the Kubernetes
//! kinds a mesh reads; reading and validating one object, and telling which of its fields are
//! accepted but not honoured yet.
//!
//! Nothing here knows about files or about other objects; that is `meltemi-config`'s.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
mod decode;
pub mod extensions;
mod field_path;
mod finding;
pub mod gateway_api;
mod honoured;
pub mod k8s;
mod kind;
pub mod mesh;
pub mod networking;
mod object;
pub mod proto;
pub mod scope;
pub mod security;
mod suggest;
pub mod telemetry;
mod typed;
mod validate;

pub use check::check;
pub use decode::{DecodeError, decode, decode_all, identify};
pub use field_path::{FieldPath, Segment};
pub use finding::{Finding, Severity};
pub use honoured::{NotHonoured, UnknownField, not_honoured, unknown_fields};
pub use kind::{Kind, Support};
pub use object::{Meta, Object, ObjectKey, Origin, Spec};
pub use proto::{Bytes, Duration};
pub use suggest::{did_you_mean, nearest};
pub use typed::Typed;
pub use validate::{
    COMMON_CIPHER_SUITES, COMMON_CURVES, ENVOY_CURVES, allowed_cipher_suites, allowed_curves,
    is_bool, validate,
};
