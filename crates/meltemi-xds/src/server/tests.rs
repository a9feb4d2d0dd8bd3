//! The two protocols' states, without a transport.
