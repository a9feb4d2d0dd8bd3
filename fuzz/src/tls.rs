//! TLS connections whose handshake is done, always the same: nothing in it is random, so two
//! pairs of connections have the same secrets, and bytes for one are good for the other.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnectionData, Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::server::{
    ClientHello, ResolvesServerCert, ServerConnectionData, UnbufferedServerConnection,
};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, NamedGroup,
    ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// The suites whose records differ.
pub const SUITES: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// What both ends of the connections with one suite are made of.
pub struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Ends {
    pub fn new(suite: SupportedCipherSuite) -> Self {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![suite],
            kx_groups: vec![&Fixed],
            secure_random: &Fixed,
            ..aws_lc_rs::default_provider()
        });
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("a version of the suite")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Fixed))
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        client.enable_secret_extraction = true;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("a version of the suite")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Fixed));
        server.send_tls13_tickets = 0;
        server.enable_secret_extraction = true;
        Self {
            client: Arc::new(client),
            server: Arc::new(server),
        }
    }

    /// A server whose records are its owner's, and its client.
    pub fn server(&self) -> (UnbufferedServerConnection, Connection) {
        let mut server = UnbufferedServerConnection::new(self.server.clone()).expect("a server");
        let client = ClientConnection::new(self.client.clone(), name()).expect("a client");
        let mut client = Connection::from(client);
        shake(&mut client, &mut server);
        (server, client)
    }

    /// A client whose records are its owner's, and its server.
    pub fn client(&self) -> (UnbufferedClientConnection, Connection) {
        let mut client =
            UnbufferedClientConnection::new(self.client.clone(), name()).expect("a client");
        let server = ServerConnection::new(self.server.clone()).expect("a server");
        let mut server = Connection::from(server);
        shake(&mut server, &mut client);
        (client, server)
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// A connection whose bytes are its owner's.
trait Unbuffered {
    type Data;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Unbuffered for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

impl Unbuffered for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

/// Makes the handshake.
fn shake(theirs: &mut Connection, own: &mut impl Unbuffered) {
    let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
    loop {
        step(own, &mut inbox, &mut outbox);
        let quiet = outbox.is_empty() && !theirs.wants_write();
        let mut rest = &outbox[..];
        while !rest.is_empty() {
            theirs.read_tls(&mut rest).expect("room");
            theirs.process_new_packets().expect("a handshake");
        }
        outbox.clear();
        while theirs.wants_write() {
            theirs.write_tls(&mut inbox).expect("memory");
        }
        if quiet {
            assert!(inbox.is_empty() && !theirs.is_handshaking());
            return;
        }
    }
}

/// Takes in what came and gives out what is to be sent, until there is no more of either.
fn step(own: &mut impl Unbuffered, received: &mut Vec<u8>, sent: &mut Vec<u8>) {
    loop {
        let UnbufferedStatus { discard, state, .. } = own.process(received);
        let done = match state.expect("a handshake") {
            ConnectionState::EncodeTlsData(mut data) => {
                let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                    panic!("nothing to send");
                };
                let before = sent.len();
                sent.resize(before + size.required_size, 0);
                data.encode(&mut sent[before..]).expect("enough room");
                false
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                false
            }
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => true,
            state => panic!("{state:?} in a handshake"),
        };
        received.drain(..discard);
        if done {
            return;
        }
    }
}

/// Everything in a handshake that would be random, secret or verified.
#[derive(Debug)]
struct Fixed;

impl SecureRandom for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(5);
        Ok(())
    }
}

impl SupportedKxGroup for Fixed {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Fixed))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Fixed {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret::from(&[7; 32][..]))
    }

    fn pub_key(&self) -> &[u8] {
        &[9; 32]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate = CertificateDer::from_slice(b"certificate");
        Some(Arc::new(CertifiedKey::new(
            vec![certificate],
            Arc::new(Fixed),
        )))
    }
}

impl SigningKey for Fixed {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Fixed))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Fixed {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![3; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl ServerCertVerifier for Fixed {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
