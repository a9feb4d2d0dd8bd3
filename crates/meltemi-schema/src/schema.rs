//! The schema of everything a bootstrap or a configuration dump may hold, as the build
//! script wrote it: read in place, so that it costs neither time nor memory.
//!
//! Layout, all numbers little-endian: counts of messages, fields, enums and values (`u32`
//! each), then the rows of each, then the texts (`u16` length, UTF-8).
//!
//! | rows | content |
//! |---|---|
//! | messages, by name | name, first field, number of fields |
//! | fields, by number within a message | name, JSON name, number, message or enum; then as bytes: kind (protobuf's `Type`), label (0 single, 1 repeated, 2 map), oneof (255 none), 0 |
//! | enums, by name | name, first value, number of values |
//! | values | name, number |

const TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));

const HEADER: usize = 16;
const MESSAGE: usize = 12;
const FIELD: usize = 20;
const ENUM: usize = 12;
const VALUE: usize = 8;

const MESSAGES: usize = HEADER;
const FIELDS: usize = MESSAGES + number(0) as usize * MESSAGE;
const ENUMS: usize = FIELDS + number(4) as usize * FIELD;
const VALUES: usize = ENUMS + number(8) as usize * ENUM;
const TEXTS: usize = VALUES + number(12) as usize * VALUE;

const fn number(offset: usize) -> u32 {
    u32::from_le_bytes([
        TABLE[offset],
        TABLE[offset + 1],
        TABLE[offset + 2],
        TABLE[offset + 3],
    ])
}

fn raw_text(offset: u32) -> &'static [u8] {
    let at = TEXTS + offset as usize;
    let length = usize::from(u16::from_le_bytes([TABLE[at], TABLE[at + 1]]));
    &TABLE[at + 2..at + 2 + length]
}

fn text(offset: u32) -> &'static str {
    std::str::from_utf8(raw_text(offset)).unwrap_or_default()
}

/// A message type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageType(u32);

impl MessageType {
    /// By full name, without a leading dot.
    pub fn find(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        let (mut low, mut high) = (0, number(0));
        while low < high {
            let middle = Self(low + (high - low) / 2);
            match raw_text(number(middle.row())).cmp(name) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle.0 + 1,
                std::cmp::Ordering::Greater => high = middle.0,
            }
        }
        None
    }

    fn row(self) -> usize {
        MESSAGES + self.0 as usize * MESSAGE
    }

    pub fn name(self) -> &'static str {
        text(number(self.row()))
    }

    /// In the order of their numbers.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        let first = number(self.row() + 4);
        (first..first + number(self.row() + 8)).map(Field)
    }

    /// By its name in the proto or in JSON.
    pub fn field(self, name: &str) -> Option<Field> {
        let name = name.as_bytes();
        self.fields().find(|field| {
            raw_text(number(field.row())) == name || raw_text(number(field.row() + 4)) == name
        })
    }

    pub fn field_number(self, number: u32) -> Option<Field> {
        self.fields().find(|field| field.number() == number)
    }
}

/// A field of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field(u32);

/// How often a field may stand in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    Single,
    Repeated,
    Map,
}

/// A field's type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Message(MessageType),
    Bytes,
    Uint32,
    Enum(EnumType),
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

impl Field {
    fn row(self) -> usize {
        FIELDS + self.0 as usize * FIELD
    }

    pub fn name(self) -> &'static str {
        text(number(self.row()))
    }

    pub fn number(self) -> u32 {
        number(self.row() + 8)
    }

    /// Protobuf's `FieldDescriptorProto.Type`, without the groups of old.
    pub fn kind(self) -> Kind {
        let of = number(self.row() + 12);
        match TABLE[self.row() + 16] {
            1 => Kind::Double,
            2 => Kind::Float,
            3 => Kind::Int64,
            4 => Kind::Uint64,
            5 => Kind::Int32,
            6 => Kind::Fixed64,
            7 => Kind::Fixed32,
            8 => Kind::Bool,
            9 => Kind::String,
            11 => Kind::Message(MessageType(of)),
            13 => Kind::Uint32,
            14 => Kind::Enum(EnumType(of)),
            15 => Kind::Sfixed32,
            16 => Kind::Sfixed64,
            17 => Kind::Sint32,
            18 => Kind::Sint64,
            _ => Kind::Bytes,
        }
    }

    pub fn label(self) -> Label {
        match TABLE[self.row() + 17] {
            0 => Label::Single,
            1 => Label::Repeated,
            _ => Label::Map,
        }
    }

    /// Number of its oneof within the message.
    pub fn oneof(self) -> Option<u8> {
        Some(TABLE[self.row() + 18]).filter(|index| *index != 255)
    }
}

/// An enum type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EnumType(u32);

impl EnumType {
    fn values(self) -> impl Iterator<Item = (&'static str, i32)> {
        let row = ENUMS + self.0 as usize * ENUM;
        let (first, count) = (number(row + 4), number(row + 8));
        (first..first + count).map(|index| {
            let row = VALUES + index as usize * VALUE;
            (text(number(row)), number(row + 4) as i32)
        })
    }

    pub fn name(self) -> &'static str {
        text(number(ENUMS + self.0 as usize * ENUM))
    }

    pub fn number_of(self, name: &str) -> Option<i32> {
        self.values()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| number)
    }

    pub fn name_of(self, number: i32) -> Option<&'static str> {
        self.values()
            .find(|(_, known)| *known == number)
            .map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_name() {
        let cluster = MessageType::find("envoy.config.cluster.v3.Cluster").unwrap();
        let field = cluster.field("connectTimeout").unwrap();
        assert_eq!(field.name(), "connect_timeout");
        assert_eq!(field.number(), 4);
        let Kind::Message(duration) = field.kind() else {
            panic!("not a message");
        };
        assert_eq!(duration.name(), "google.protobuf.Duration");
        let Kind::Enum(policy) = cluster.field("lb_policy").unwrap().kind() else {
            panic!("not an enum");
        };
        assert_eq!(policy.number_of("MAGLEV"), Some(5));
        assert_eq!(policy.name_of(5), Some("MAGLEV"));
        let options = cluster.field("typed_extension_protocol_options").unwrap();
        assert_eq!(options.label(), Label::Map);
        assert!(MessageType::find("envoy.config.cluster.v3.Clusters").is_none());
    }
}
