//! Analysis of configuration as a whole: what refers to nothing, contradicts itself, or does
//! not do what it says, with Istio's message codes, the field at fault and the remedy.
//!
//! [`Index::read`] makes an immutable index of objects with positions, [`analyze`] runs the
//! analyzers over it, and [`Suppressions`] filters what they say. Pure: nothing here reads
//! files or asks a running mesh.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod analyze;
mod analyzer;
mod analyzers;
mod code;
mod default_gateway;
mod hosts;
mod index;
mod injection;
mod level;
mod message;
mod read;
mod report;
mod resource;
mod rules;
mod selector;
mod suppress;
mod tree;
mod workload;

pub use analyze::{analyze, analyzers, by_default, while_running};
pub use analyzer::Analyzer;
pub use code::{Code, codes};
pub use index::{Index, Platform};
pub use level::Level;
pub use message::{Message, Place};
pub use read::{Options, SourceFile};
pub use report::Report;
pub use resource::{Resource, ResourceName};
pub use suppress::{Suppression, Suppressions};
pub use tree::Tree;
