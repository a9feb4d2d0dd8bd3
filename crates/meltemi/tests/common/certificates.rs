//! Certificates of servers and of their clients, by authorities that nobody knows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SerialNumber, date_time_ymd,
};
use sha2::{Digest, Sha256};
use std::path::Path;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

pub struct Certificate {
    pub chain: String,
    /// PEM.
    pub key: String,
    serial: SerialNumber,
    /// SHA-256 of the certificate in hex.
    pub hash: String,
    /// SHA-256 of its public key in base64.
    pub key_hash: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub fn issue(&self, name: &str) -> Certificate {
        let mut params = CertificateParams::new(vec![name.into()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let digest = Sha256::digest(key.subject_public_key_info());
        // Positive, and not led by a zero.
        let serial = SerialNumber::from_slice(&[&[1], &digest[..8]].concat());
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let hex = |byte: &u8| format!("{byte:02x}");
        Certificate {
            hash: Sha256::digest(certificate.der()).iter().map(hex).collect(),
            key_hash: STANDARD.encode(Sha256::digest(key.subject_public_key_info())),
            chain: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A list of what was revoked, in force.
    pub fn revokes(&self, certificate: &Certificate) -> String {
        let revoked = RevokedCertParams {
            serial_number: certificate.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2049, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("a list");
        list.pem().expect("a list in PEM")
    }
}

impl Certificate {
    /// A Secret of the gateway's namespace, with more keys.
    pub fn secret(&self, name: &str, more: &[(&str, String)]) -> String {
        let own = [
            ("tls.crt", self.chain.clone()),
            ("tls.key", self.key.clone()),
        ];
        let data = own.iter().chain(more);
        let data: Vec<_> = data
            .map(|(key, value)| format!("{key}: {}", STANDARD.encode(value)))
            .collect();
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: istio-system}}\ntype: kubernetes.io/tls\ndata: {{{}}}\n",
            data.join(", ")
        )
    }

    /// The hash in capitals, with colons.
    pub fn hash_with_colons(&self) -> String {
        let pairs: Vec<_> = self.hash.as_bytes().chunks(2).collect();
        let pairs = pairs.join(&b':');
        String::from_utf8(pairs).expect("hex").to_uppercase()
    }

    /// For `openssl s_client -cert`, the key included.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, format!("{}{}", self.chain, self.key)).expect("written");
    }
}
