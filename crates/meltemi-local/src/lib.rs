//! The mesh on one machine: a sandbox for its processes, and a supervisor that runs them.
//!
//! * [`sandbox`] makes namespaces and starts processes in them; it decides nothing.
//! * [`supervisor::up`] reads a configuration directory and decides: which pods, which
//!   restarts, which replacements. It writes what it knows as Pod objects into the run directory.
//! * [`enter`] brings a program of the command line into a pod.

#![deny(unsafe_code)]

pub mod builtin;
pub mod enter;
pub mod events;
pub mod paths;
pub mod plan;
pub mod running;
pub mod sandbox;
pub mod settings;
pub mod supervisor;

mod bootstrap;
mod loopback;
mod preflight;
mod probe;
mod wire;
