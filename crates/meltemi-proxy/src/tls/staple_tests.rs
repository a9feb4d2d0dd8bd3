use super::*;
use crate::model::StaplePolicy::{Lenient, Must, Strict};
use rcgen::{CertificateParams, CustomExtension, KeyPair, SerialNumber};

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ ..128) => out.push(length),
        Ok(length) => out.extend([0x81, length]),
        Err(_) => {
            out.push(0x82);
            out.extend((content.len() as u16).to_be_bytes());
        }
    }
    out.extend(content);
    out
}

fn time(text: &str) -> Vec<u8> {
    element(0x18, &[text.as_bytes()])
}

fn answer(serial: u8, next: Option<&str>) -> Vec<u8> {
    let id = element(
        0x30,
        &[
            &element(0x30, &[]),
            &element(4, &[b"name"]),
            &element(4, &[b"key"]),
            &element(2, &[&[serial]]),
        ],
    );
    let next = next.map(|next| element(0xa0, &[&time(next)]));
    element(
        0x30,
        &[
            &id,
            &element(0x80, &[]),
            &time("20260101000000Z"),
            &next.unwrap_or_default(),
        ],
    )
}

fn response(answers: &[Vec<u8>]) -> Vec<u8> {
    let answers: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
    let data = element(
        0x30,
        &[
            &element(0xa2, &[&element(4, &[b"responder"])]),
            &time("20260101000000Z"),
            &element(0x30, &answers),
        ],
    );
    let basic = element(0x30, &[&data]);
    let kind = element(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = element(0x30, &[&kind, &element(4, &[&basic])]);
    element(0x30, &[&element(10, &[&[0]]), &element(0xa0, &[&bytes])])
}

const FUTURE: &str = "20990101000000Z";
const PAST: &str = "20200101000000Z";

#[test]
fn only_a_successful_response_about_one_certificate_is_taken() {
    let good = Staple::parse(response(&[answer(7, Some(FUTURE))])).unwrap();
    assert_eq!(good.serial, [7]);
    assert!(good.is_valid());
    let mut longer = response(&[answer(7, None)]);
    longer.push(0);
    for (bytes, said) in [
        (b"-----BEGIN".to_vec(), "not well-formed"),
        (vec![0x30, 3, 10, 1, 3], "no success"),
        (vec![0x30, 3, 10, 1, 0], "no answer"),
        (longer, "bytes follow"),
        (
            response(&[answer(7, None), answer(8, None)]),
            "several certificates",
        ),
        (response(&[]), "not well-formed"),
    ] {
        let error = Staple::parse(bytes).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let whole = response(&[answer(7, Some(FUTURE))]);
    for end in 0..whole.len() {
        assert!(Staple::parse(whole[..end].to_vec()).is_err(), "{end} bytes");
    }
}

#[test]
fn a_response_that_is_over_follows_the_policy() {
    let staple = |next| Staple::parse(response(&[answer(7, next)])).unwrap();
    let (good, over, endless) = (staple(Some(FUTURE)), staple(Some(PAST)), staple(None));
    for (policy, staple, expected) in [
        (Lenient, Some(&good), Action::Staple),
        (Strict, Some(&good), Action::Staple),
        (Must, Some(&good), Action::Staple),
        (Lenient, Some(&over), Action::Without),
        (Strict, Some(&over), Action::Refuse),
        (Must, Some(&over), Action::Refuse),
        // Without a time of the next update it is over from the start.
        (Strict, Some(&endless), Action::Refuse),
        (Lenient, None, Action::Without),
        (Strict, None, Action::Without),
        (Must, None, Action::Refuse),
    ] {
        assert_eq!(action(policy, staple), expected, "{policy:?} {staple:?}");
    }
}

#[test]
fn a_certificate_says_its_serial_number_and_whether_it_must_be_stapled() {
    let certificate = |features: Option<&[u8]>| {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(7));
        if let Some(features) = features {
            let id = [1, 3, 6, 1, 5, 5, 7, 1, 24];
            let extension = CustomExtension::from_oid_content(&id, features.to_vec());
            params.custom_extensions.push(extension);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    };
    for (features, must) in [
        (None, false),
        (Some([0x30, 3, 2, 1, 5].as_slice()), true),
        (Some(&[0x30, 6, 2, 1, 17, 2, 1, 5]), true),
        (Some(&[0x30, 3, 2, 1, 17]), false),
        (Some(&[5]), false),
    ] {
        let der = certificate(features);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(is_must_staple(&parsed), must, "{features:?}");
        for (serial, fits) in [(7, true), (8, false)] {
            let staple = Staple::parse(response(&[answer(serial, None)])).unwrap();
            assert_eq!(staple.is_for(&parsed), fits);
        }
    }
}
