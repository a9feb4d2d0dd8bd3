//! The rules of proto3 JSON that Istio's users rely on: durations as text, base64 bytes,
//! 64-bit integers as text, absent = default. Everything the kinds share lives here.

mod bytes;
mod duration;
mod map;
mod number;

pub use bytes::Bytes;
pub use duration::{Duration, DurationError};
pub use map::not_empty;
pub use number::{lenient_i64, lenient_u64};

/// True when a field has its proto3 default and is therefore not written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares proto messages: camelCase names, every field optional on input, unknown fields
/// refused, defaults not written on output.
macro_rules! message {
    ($( $(#[$meta:meta])* pub struct $name:ident {
        $( $(#[$fmeta:meta])* pub $field:ident : $ty:ty, )*
    } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(skip_serializing_if = "crate::proto::is_default")]
                pub $field: $ty,
            )*
        }
    )* };
}

/// Declares proto enums with their wire names; the first one is the default.
macro_rules! enumeration {
    ($( $(#[$meta:meta])* pub enum $name:ident {
        $(#[$fmeta:meta])* $first:ident = $first_wire:literal,
        $( $(#[$vmeta:meta])* $variant:ident = $wire:literal, )*
    } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(#[$fmeta])*
            #[default]
            #[serde(rename = $first_wire)]
            $first,
            $( $(#[$vmeta])* #[serde(rename = $wire)] $variant, )*
        }

        impl $name {
            /// The name used in YAML.
            pub const fn as_str(self) -> &'static str {
                match self { Self::$first => $first_wire, $( Self::$variant => $wire, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )* };
}

pub(crate) use {enumeration, message};
