//! Rules by frames without a socket, and bodies through a proxy between peers of the `h2`
//! crate.

mod peers;
mod rules;
