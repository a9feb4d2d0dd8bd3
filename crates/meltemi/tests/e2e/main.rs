//! End-to-end suite.
fn main() {}
