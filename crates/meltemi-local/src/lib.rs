//! The mesh on one machine: a sandbox for its processes, and a supervisor that runs them.

pub mod sandbox;

mod preflight;
mod wire;
