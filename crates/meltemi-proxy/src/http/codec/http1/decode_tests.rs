use super::*;

fn decode(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap), Fault> {
    let mut input = Input::default();
    let mut pieces = pieces.iter();
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    loop {
        match decoder.decode(&mut input)? {
            Decoded::Data(bytes) => data.extend_from_slice(&bytes),
            Decoded::Trailers(fields) => trailers = fields,
            Decoded::End => {
                assert!(
                    input.is_empty() && pieces.next().is_none(),
                    "bytes are left"
                );
                return Ok((data, trailers));
            }
            Decoded::More => match pieces.next() {
                Some(piece) => input.put(Bytes::copy_from_slice(piece)),
                None => decoder.end_of_input()?,
            },
        }
    }
}

#[test]
fn chunks_are_joined_wherever_reads_cut_them() {
    let body: &[u8] = b"3\r\nabc\r\nA ; ext=1\r\n0123456789\r\n0;x\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n";
    for length in 1..=body.len() {
        let pieces: Vec<&[u8]> = body.chunks(length).collect();
        let (data, trailers) = decode(&mut Decoder::chunked(), &pieces).unwrap();
        assert_eq!(data, b"abc0123456789");
        let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
        assert_eq!(sums, ["1", "2"]);
    }
}

#[test]
fn the_end_is_known_with_the_last_data() {
    let mut decoder = Decoder::chunked();
    let mut input = Input::new(Bytes::from_static(b"2\r\nab\r\n0\r\n\r\nGET"));
    let Ok(Decoded::Data(data)) = decoder.decode(&mut input) else {
        panic!("no data");
    };
    assert!(data == "ab" && decoder.has_ended());
    assert_eq!(input.into_rest(), "GET");
    let mut decoder = Decoder::length(2);
    let mut input = Input::new(Bytes::from_static(b"abGET"));
    assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Data(data)) if data == "ab"));
    assert!(decoder.has_ended());
}

#[test]
fn bodies_that_end_early_are_cut_unless_the_end_is_theirs() {
    for pieces in [
        &b"3\r\nab"[..],
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0\r\n",
        b"3",
        b"",
    ] {
        let result = decode(&mut Decoder::chunked(), &[pieces]);
        assert!(matches!(result, Err(Fault::Cut)), "{pieces:?}");
    }
    assert!(matches!(
        decode(&mut Decoder::length(3), &[b"ab"]),
        Err(Fault::Cut)
    ));
    let (data, _) = decode(&mut Decoder::until_close(), &[b"ab", b"c"]).unwrap();
    assert_eq!(data, b"abc");
}

#[test]
fn extensions_and_trailers_are_bounded_together() {
    let chunk = |extension: usize| format!("1;{}\r\nx\r\n", "e".repeat(extension));
    // A single one, and many that are short.
    let floods = [chunk(MAX_EXTENSIONS + 1), chunk(1000).repeat(17)];
    for flood in floods {
        let result = decode(&mut Decoder::chunked(), &[flood.as_bytes()]);
        assert!(matches!(result, Err(Fault::TooLarge)));
    }
    let some = chunk(1000).repeat(16) + "0\r\n\r\n";
    assert!(decode(&mut Decoder::chunked(), &[some.as_bytes()]).is_ok());
    let line = |length: usize| format!("x: {}\r\n", "t".repeat(length));
    for lines in [
        line(MAX_TRAILER_BYTES),
        line(1000).repeat(17),
        line(1).repeat(MAX_TRAILERS + 1),
    ] {
        let body = format!("0\r\n{lines}\r\n");
        let result = decode(&mut Decoder::chunked(), &[body.as_bytes()]);
        assert!(matches!(result, Err(Fault::TooLarge)));
    }
}

#[test]
fn a_look_ahead_changes_nothing() {
    let decoder = Decoder::chunked();
    let input = Input::new(Bytes::from_static(b"2\r\nab\r\n5\r\n"));
    decoder.check(&input).unwrap();
    assert_eq!(input.clone().into_rest(), "2\r\nab\r\n5\r\n");
    let input = Input::new(Bytes::from_static(b"2\r\nab\r\nx\r\n"));
    assert!(matches!(
        decoder.check(&input),
        Err(Fault::Framing("invalid chunk size"))
    ));
}
