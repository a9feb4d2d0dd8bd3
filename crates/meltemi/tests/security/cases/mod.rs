//! The cases, by subject.

mod answers;
mod http1;
mod http2;
mod paths;
mod slow;

use super::case::Case;

pub struct Group {
    pub title: &'static str,
    pub name: &'static str,
    pub cases: Vec<Case>,
}

pub fn groups() -> Vec<Group> {
    vec![
        Group {
            title: "HTTP/1: where a message ends",
            name: "framing",
            cases: http1::framing(),
        },
        Group {
            title: "HTTP/1: heads",
            name: "heads",
            cases: http1::heads(),
        },
        Group {
            title: "Paths before a policy for `/admin`",
            name: "paths",
            cases: paths::cases(),
        },
        Group {
            title: "HTTP/2 on its way to HTTP/1",
            name: "downgrade",
            cases: http2::downgrade(),
        },
        Group {
            title: "HTTP/2: floods",
            name: "floods",
            cases: http2::floods(),
        },
        Group {
            title: "Services that lie (a second request follows the one that they answer)",
            name: "answers",
            cases: answers::cases(),
        },
        Group {
            title: "Slow peers, where a second is allowed",
            name: "slow",
            cases: slow::cases(),
        },
    ]
}
