//! Answers that two readers may understand in two ways, or that have no end.

use crate::case::Case;
use crate::service::LIES;

pub fn cases() -> Vec<Case> {
    LIES.iter().map(|(name, _)| lie(name)).collect()
}

/// Asks for the lie, and then on the same connection for something else.
fn lie(name: &'static str) -> Case {
    let target = crate::service::target_of(name);
    let bytes = format!(
        "GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\nGET /after HTTP/1.1\r\nHost: a.test\r\n\r\n"
    );
    Case::http1(name, bytes)
}
