//! What the suites share: a runner that keeps one environment for many tests, processes
//! that end with the suite, waiting for conditions.
#![allow(dead_code, reason = "each suite uses its own part")]

pub mod process;
pub mod runner;
pub mod wait;
