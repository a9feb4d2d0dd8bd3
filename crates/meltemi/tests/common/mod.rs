//! What the suites share: a runner that keeps one environment for many tests, processes
//! that end with the suite, their ports, waiting for conditions, running meshes and talking to them.
#![allow(dead_code, reason = "each suite uses its own part")]

pub mod certificates;
pub mod envoy;
pub mod http;
pub mod load;
pub mod mesh;
pub mod namespace;
pub mod output;
pub mod ports;
pub mod process;
pub mod runner;
pub mod tls;
pub mod tools;
pub mod wait;
