//! Writes the schema as the table that `src/schema.rs` reads.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Strings {
    /// Offset of the text, which is preceded by its length.
    fn add(&mut self, text: &str) -> u32 {
        if let Some(&offset) = self.known.get(text) {
            return offset;
        }
        let offset = self.bytes.len() as u32;
        let length = u16::try_from(text.len()).expect("names are short");
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.known.insert(text.to_owned(), offset);
        offset
    }
}

type Messages<'a> = BTreeMap<String, &'a DescriptorProto>;
type Enums<'a> = BTreeMap<String, &'a EnumDescriptorProto>;

fn collect<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    messages: &mut Messages<'a>,
    enums: &mut Enums<'a>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, messages, enums);
    }
    for nested in &message.enum_type {
        enums.insert(format!("{name}.{}", nested.name()), nested);
    }
    messages.insert(name, message);
}

pub fn write(set: &FileDescriptorSet) -> Vec<u8> {
    let (mut messages, mut enums) = (Messages::new(), Enums::new());
    for file in &set.file {
        let scope = format!(".{}", file.package());
        for message in &file.message_type {
            collect(&scope, message, &mut messages, &mut enums);
        }
        for definition in &file.enum_type {
            enums.insert(format!("{scope}.{}", definition.name()), definition);
        }
    }
    let message_index: HashMap<&str, u32> = (0..)
        .zip(&messages)
        .map(|(i, (name, _))| (name.as_str(), i))
        .collect();
    let enum_index: HashMap<&str, u32> = (0..)
        .zip(&enums)
        .map(|(i, (name, _))| (name.as_str(), i))
        .collect();
    let mut strings = Strings::default();
    let (mut message_rows, mut fields) = (Vec::new(), Vec::new());
    let mut field_count = 0u32;
    for (name, message) in &messages {
        let mut own: Vec<&FieldDescriptorProto> = message.field.iter().collect();
        own.sort_by_key(|field| field.number());
        for value in [strings.add(&name[1..]), field_count, own.len() as u32] {
            message_rows.extend(value.to_le_bytes());
        }
        field_count += own.len() as u32;
        for field in own {
            let of_type = match field.r#type() {
                Type::Message => message_index[field.type_name()],
                Type::Enum => enum_index[field.type_name()],
                Type::Group => panic!("{name}: groups are not supported"),
                _ => 0,
            };
            let map = field.r#type() == Type::Message
                && messages[field.type_name()]
                    .options
                    .as_ref()
                    .is_some_and(|options| options.map_entry());
            let label = match field.label() {
                Label::Repeated if map => 2u8,
                Label::Repeated => 1,
                _ => 0,
            };
            let oneof = field.oneof_index.map_or(255, |index| {
                u8::try_from(index).expect("few oneofs a message")
            });
            for value in [
                strings.add(field.name()),
                strings.add(&json_name(field)),
                u32::try_from(field.number()).expect("positive"),
                of_type,
            ] {
                fields.extend(value.to_le_bytes());
            }
            let kind = u8::try_from(field.r#type() as i32).expect("small");
            fields.extend([kind, label, oneof, 0]);
        }
    }
    let (mut enum_rows, mut values) = (Vec::new(), Vec::new());
    let mut value_count = 0u32;
    for (name, definition) in &enums {
        let count = definition.value.len() as u32;
        for value in [strings.add(&name[1..]), value_count, count] {
            enum_rows.extend(value.to_le_bytes());
        }
        value_count += count;
        for value in &definition.value {
            values.extend(strings.add(value.name()).to_le_bytes());
            values.extend(value.number().to_le_bytes());
        }
    }
    let mut out = Vec::new();
    for count in [
        messages.len() as u32,
        field_count,
        enums.len() as u32,
        value_count,
    ] {
        out.extend(count.to_le_bytes());
    }
    for section in [message_rows, fields, enum_rows, values, strings.bytes] {
        out.extend(section);
    }
    out
}

/// protoc writes it; ours have none.
fn json_name(field: &FieldDescriptorProto) -> String {
    if let Some(name) = &field.json_name {
        return name.clone();
    }
    let mut upper = false;
    let mut name = String::new();
    for character in field.name().chars() {
        if character == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            name.extend(character.to_uppercase());
        } else {
            name.push(character);
        }
    }
    name
}
