//! Every field of a message is either honoured, harmless, or refused when it is set.
//!
//! Messages are destructured without `..`, so that a field which Envoy adds does not
//! compile until somebody has decided about it.

use std::collections::HashMap;

/// Whether a protobuf field holds something else than its default.
pub trait IsSet {
    fn is_set(&self) -> bool;
}

impl<T> IsSet for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
}

impl<T> IsSet for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> IsSet for HashMap<K, V> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl IsSet for String {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl IsSet for bool {
    fn is_set(&self) -> bool {
        *self
    }
}

impl IsSet for i32 {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

impl IsSet for u32 {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

/// `refuse!(a, b)`: an error that names the first of these fields that is set.
macro_rules! refuse {
    ($($field:ident),* $(,)?) => {
        $(if $crate::compile::presence::IsSet::is_set(&$field) {
            return Err($crate::compile::Error::unsupported(stringify!($field)));
        })*
    };
}

/// `harmless!(a, b)`: fields that change nothing in how traffic is handled.
macro_rules! harmless {
    ($($field:ident),* $(,)?) => {
        $(let _ = $field;)*
    };
}

/// `left_out!(cx, "Message", "reason", a, b)`: fields without which traffic flows the same,
/// reported when they are set.
macro_rules! left_out {
    ($cx:expr, $message:literal, $reason:literal, $($field:ident),* $(,)?) => {
        $(if $crate::compile::presence::IsSet::is_set(&$field) {
            $cx.notice(concat!($message, ".", stringify!($field)), $reason);
        })*
    };
}

pub(crate) use {harmless, left_out, refuse};
