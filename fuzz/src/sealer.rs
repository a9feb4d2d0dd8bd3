//! A peer that seals whatever it is told to, by rustls' own ciphers.

use crate::tls::Ends;
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    Connection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};

enum Keeper {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

pub struct Sealer {
    keeper: Keeper,
    suite: SupportedCipherSuite,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Sealer {
    /// The client of a connection of rustls', which is a server.
    pub fn client(ends: &Ends) -> (Self, Connection) {
        let (client, server) = ends.client();
        let (secrets, keeper) = client.dangerous_into_kernel_connection().expect("secrets");
        (Self::new(Keeper::Client(keeper), secrets.tx), server)
    }

    /// The server of a connection of rustls', which is a client.
    pub fn server(ends: &Ends) -> (Self, Connection) {
        let (server, client) = ends.server();
        let (secrets, keeper) = server.dangerous_into_kernel_connection().expect("secrets");
        (Self::new(Keeper::Server(keeper), secrets.tx), client)
    }

    fn new(keeper: Keeper, (sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let suite = match &keeper {
            Keeper::Server(keeper) => keeper.negotiated_cipher_suite(),
            Keeper::Client(keeper) => keeper.negotiated_cipher_suite(),
        };
        let mut sealer = Self {
            keeper,
            suite,
            encrypter: encrypter(suite, secrets),
            sequence: 0,
        };
        // The cipher takes the first nonce that it sees for that of the first record.
        while sealer.sequence < sequence {
            sealer.seal(0, b"");
        }
        sealer
    }

    /// A record. In TLS 1.3, type 0 leaves the type to the content: its last byte that is not 0.
    pub fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::from(kind),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let sealed = self.encrypter.encrypt(message, self.sequence);
        self.sequence += 1;
        sealed.expect("any content can be sealed").encode()
    }

    /// Seals with the keys that follow; TLS 1.2 has none.
    pub fn change_keys(&mut self) {
        let next = match &mut self.keeper {
            Keeper::Server(keeper) => keeper.update_tx_secret(),
            Keeper::Client(keeper) => keeper.update_tx_secret(),
        };
        if let Ok((sequence, secrets)) = next {
            self.encrypter = encrypter(self.suite, secrets);
            self.sequence = sequence;
        }
    }
}

fn encrypter(
    suite: SupportedCipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageEncrypter> {
    use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
    let (key, iv, implicit): (AeadKey, Iv, usize) = match secrets {
        Aes128Gcm { key, iv } | Aes256Gcm { key, iv } => (key, iv, 4),
        Chacha20Poly1305 { key, iv } => (key, iv, 12),
        _ => panic!("a cipher that no suite here has"),
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            let (fixed, explicit) = iv.as_ref().split_at(implicit);
            suite.aead_alg.encrypter(key, fixed, explicit)
        }
    }
}
