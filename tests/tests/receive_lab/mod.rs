//! A receiver with limits of the test's choice, and a box that sends exactly the bytes that the test gives it.

#![allow(dead_code, reason = "each test file uses its own part of the lab")]

use super::upload_lab::{EVENT_LIMIT, Lab, SERVER, Sender};
use datacentre::receive::{Limits, Server, Settings};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use upload::tus::{hex, metadata};

/// A receiver in this process.
pub struct Receiver {
    pub address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Receiver {
    pub fn start(settings: Settings, limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::limited(settings, limits, Box::new(|_| {})).unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server.serve(listener));
        Self {
            address,
            runtime: Some(runtime),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Waits for writers, so that the folder can be removed.
        drop(self.runtime.take());
    }
}

/// The files of the other box, south-1.
pub fn stranger(lab: &Lab) -> Sender {
    let mut sender = lab.sender();
    sender.certificate = lab.pki.file("other-box.pem");
    sender.key = lab.pki.file("other-box.key");
    sender
}

/// One connection of a box.
pub struct Wire(BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Without the date, which no two answers share for certain.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr, sender: &Sender) -> Self {
        let name = upload::ServerName::try_from(SERVER).unwrap();
        let config = Arc::new(sender.tls().unwrap());
        let connection = rustls::ClientConnection::new(config, name).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(EVENT_LIMIT)).unwrap();
        stream.set_write_timeout(Some(EVENT_LIMIT)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())?;
        self.0.get_mut().flush()
    }

    pub fn tus(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send(request(method, path, headers, body)).unwrap();
        self.answer(method)
    }

    pub fn announce(&mut self, name: &str, bytes: &[u8]) -> Answer {
        let (headers, length) = (announcement(name, bytes), bytes.len());
        self.tus(
            "POST",
            "/files/",
            &format!("{headers}Upload-Length: {length}\r\n"),
            b"",
        )
    }

    pub fn patch(&mut self, name: &str, offset: usize, body: &[u8]) -> Answer {
        self.tus("PATCH", &format!("/files/{name}"), &chunk_at(offset), body)
    }

    pub fn deliver(&mut self, name: &str, bytes: &[u8]) {
        assert_eq!(self.announce(name, bytes).status, 201);
        assert_eq!(self.patch(name, 0, bytes).status, 204);
    }

    pub fn offset(&mut self, name: &str) -> Option<usize> {
        let answer = self.tus("HEAD", &format!("/files/{name}"), "", b"");
        answer.headers.get("upload-offset")?.parse().ok()
    }

    pub fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method)
            .expect("the connection ended before an answer")
    }

    /// None where the connection ends first.
    pub fn try_answer(&mut self, method: &str) -> Option<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name != "date" {
                headers.insert(name.to_lowercase(), value.to_owned());
            }
        }
        let length = headers.get("content-length");
        let length = length.map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    /// Waits until the receiver ends the connection; nothing more may come before.
    pub fn await_end(&mut self) {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(got) => assert_eq!(got, 0, "more came"),
            Err(error) => assert_ne!(
                error.kind(),
                std::io::ErrorKind::WouldBlock,
                "the connection is still there"
            ),
        }
    }
}

/// A tus request as bytes; headers end in CR LF each.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {SERVER}\r\nTus-Resumable: 1.0.0\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub fn chunk_at(offset: usize) -> String {
    format!("Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n")
}

/// The metadata of an announcement.
pub fn announcement(name: &str, bytes: &[u8]) -> String {
    let digest = hex(bundle::Digest::of(bytes).0.as_slice());
    let metadata = metadata(&[("filename", name), ("sha256", &digest)]);
    format!("Upload-Metadata: {metadata}\r\n")
}

/// Every file below the receiver's folder, with its bytes.
pub fn tree(lab: &Lab) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![lab.store()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}
