use super::decode::Undecodable;
use super::*;
use http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Undecodable> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| fields.push(shown(&field)))?;
    Ok(fields)
}

fn shown(field: &Field) -> (String, String) {
    match &field.content {
        Content::Pseudo(pseudo, value) => {
            (pseudo.name().into(), String::from_utf8_lossy(value).into())
        }
        Content::Header(name, value) => (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into(),
        ),
        Content::Invalid(_) => ("invalid".into(), String::new()),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect();
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}

/// RFC 7541 C.4: three requests with Huffman coding, and C.6: responses that evict.
#[test]
fn the_examples_of_the_rfc() {
    let mut decoder = Decoder::default();
    for (block, last) in [
        (
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            (":authority", "www.example.com"),
        ),
        (
            "8286 84be 5886 a8eb 1064 9cbf",
            ("cache-control", "no-cache"),
        ),
        (
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ("custom-key", "custom-value"),
        ),
    ] {
        let fields = decoded(&mut decoder, &hex(block)).unwrap();
        assert_eq!(fields.last().unwrap(), &(last.0.into(), last.1.into()));
    }
    let mut decoder = Decoder::default();
    // A table of 256 bytes.
    decoded(&mut decoder, &hex("3fe101")).unwrap();
    for (block, count) in [
        (
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            4,
        ),
        ("4883 640e ffc1 c0bf", 4),
    ] {
        assert_eq!(decoded(&mut decoder, &hex(block)).unwrap().len(), count);
    }
    // What was evicted cannot be asked for.
    assert_eq!(decoded(&mut decoder, &[0xc2]), Err(Undecodable));
}

#[test]
fn blocks_that_cannot_be_decoded() {
    for block in [
        "80",       // index 0
        "be",       // an entry that is not there
        "3fe21f",   // a table larger than allowed
        "82 20",    // a size after a field
        "20 20 20", // one more size than may be
        "40",       // an end within a literal
        "00 03 61", // and within a string
        "04 82 00", // and within a Huffman string
        "0f",       // and within an index
        "00 81 ff 00",
    ] {
        let result = decoded(&mut Decoder::default(), &hex(block));
        assert_eq!(result, Err(Undecodable), "{block}");
    }
}

#[test]
fn what_no_field_may_be_keeps_its_place_in_the_table() {
    let mut decoder = Decoder::default();
    let block = [
        &hex("40 01 41 01 62")[..],
        &hex("40 01 61 01 62"),
        &hex("be bf"),
    ]
    .concat();
    let fields = decoded(&mut decoder, &block).unwrap();
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["invalid", "a", "a", "invalid"]);
}

fn encoded(encoder: &mut Encoder, name: &'static str, value: &'static str) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    let name = HeaderName::from_static(name);
    encoder.header(&name, &HeaderValue::from_static(value), &mut out);
    out
}

#[test]
fn what_repeats_is_indexed_and_secrets_never_are() {
    let mut encoder = Encoder::default();
    let lengths = [(); 4].map(|()| encoded(&mut encoder, "x-color", "blue").len());
    assert_eq!(lengths, [11, 11, 1, 1]);
    for (name, value) in [
        ("authorization", "Basic YTpi"),
        ("cookie", "id=7"),
        ("proxy-authorization", "Basic YTpi"),
    ] {
        for _ in 0..3 {
            let block = encoded(&mut encoder, name, value);
            assert_eq!(block[0] & 0xf0, 0x10, "{name}");
            Decoder::default()
                .decode(&block, |field| match field.content {
                    Content::Header(_, value) => assert!(value.is_sensitive()),
                    other => panic!("{other:?}"),
                })
                .unwrap();
        }
    }
}

#[test]
fn the_peers_table_size_is_kept() {
    let mut encoder = Encoder::default();
    for _ in 0..3 {
        encoded(&mut encoder, "x-color", "blue");
    }
    encoder.set_max_size(0);
    encoder.set_max_size(100);
    let block = encoded(&mut encoder, "x-color", "blue");
    assert_eq!(block[..3], [0x20, 0x3f, 0x45]);
    assert!(block.len() > 4, "the entry is gone");
    encoder.set_max_size(0);
    encoded(&mut encoder, "x-color", "blue");
    for _ in 0..3 {
        assert!(encoded(&mut encoder, "x-color", "blue").len() > 1);
    }
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("content-type".to_owned()),
        Just("cookie".to_owned()),
        "x-[a-d]",
        "[a-z][a-z0-9-]{0,20}",
    ];
    let value = prop_oneof!["[a-c]{0,2}", "[ -~&&[^ ]]{0,60}", "[a-z]{900,1100}"];
    prop::collection::vec((name, value), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Blocks of one connection, read by our decoder, with table sizes that change.
    #[test]
    fn blocks_come_back(blocks in prop::collection::vec((fields(), prop::option::of(0usize..5000)), 1..6)) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (fields, size) in blocks {
            if let Some(size) = size {
                encoder.set_max_size(size);
            }
            let mut block = Vec::new();
            encoder.begin(&mut block);
            encoder.pseudo(Pseudo::Path, b"/same", &mut block);
            for (name, value) in &fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                encoder.header(&name, &HeaderValue::from_str(value).unwrap(), &mut block);
            }
            let back = decoded(&mut decoder, &block).unwrap();
            prop_assert_eq!(&back[0], &(":path".to_owned(), "/same".to_owned()));
            prop_assert_eq!(&back[1..], &fields[..]);
        }
    }

    #[test]
    fn no_bytes_make_it_fail_otherwise(block: Vec<u8>) {
        let mut count = 0;
        // Whether it can be decoded is another matter.
        let _ = Decoder::default().decode(&block, |_| count += 1);
        prop_assert!(count <= block.len());
    }
}
