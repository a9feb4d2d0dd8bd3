//! A name server for tests.

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::UdpSocket;

/// Answers with IPv4 addresses and a time to live of 0; other names do not exist.
#[derive(Clone)]
pub struct NameServer {
    pub address: SocketAddr,
    queries: Arc<AtomicU32>,
    names: Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>,
}

impl NameServer {
    pub async fn start(names: &[(&str, [u8; 4])]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: socket.local_addr().unwrap(),
            queries: Arc::default(),
            names: Arc::default(),
        };
        for (name, ip) in names {
            server.set(name, &[*ip]);
        }
        let serving = server.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                if let Some(reply) = serving.answer(query) {
                    let _ = socket.send_to(&reply.to_vec().unwrap(), client).await;
                }
            }
        });
        server
    }

    /// From now on; no address at all: queries for the name are not answered.
    pub fn set(&self, name: &str, ips: &[[u8; 4]]) {
        let ips = ips.iter().map(|ip| Ipv4Addr::from(*ip)).collect();
        self.names.lock().unwrap().insert(format!("{name}."), ips);
    }

    pub fn forget(&self, name: &str) {
        self.names.lock().unwrap().remove(&format!("{name}."));
    }

    pub fn queries(&self) -> u32 {
        self.queries.load(Ordering::SeqCst)
    }

    fn answer(&self, query: Message) -> Option<Message> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        let question = query.queries[0].clone();
        let mut reply = query;
        reply.metadata.message_type = MessageType::Response;
        let names = self.names.lock().unwrap();
        match names.get(&question.name().to_ascii()) {
            None => reply.metadata.response_code = ResponseCode::NXDomain,
            Some(ips) if ips.is_empty() => return None,
            Some(ips) if question.query_type() == RecordType::A => {
                for ip in ips {
                    let record =
                        Record::from_rdata(question.name().clone(), 0, RData::A((*ip).into()));
                    reply.add_answer(record);
                }
            }
            Some(_) => {}
        }
        Some(reply)
    }
}
