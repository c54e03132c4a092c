//! A client that says exactly what a test tells it to, request by request.

use super::{SERVER, Sender};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use upload::tus::{hex, metadata};

/// A client that says exactly what a test tells it to.
pub struct Raw(pub BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>);

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn connect(address: SocketAddr, sender: &Sender) -> Self {
        let name = upload::ServerName::try_from(SERVER).unwrap();
        let connection =
            rustls::ClientConnection::new(Arc::new(sender.tls().unwrap()), name).unwrap();
        Self(BufReader::new(rustls::StreamOwned::new(
            connection,
            TcpStream::connect(address).unwrap(),
        )))
    }

    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {SERVER}\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        // In one piece: a server that refuses a request without its body closes the connection where it is not there.
        let request = [head.as_bytes(), body].concat();
        let stream = self.0.get_mut();
        stream.write_all(&request).unwrap();
        stream.flush().unwrap();
        self.read(method)
    }

    /// With the version header that every tus request has.
    pub fn tus(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.ask(
            method,
            path,
            &[&[("Tus-Resumable", "1.0.0")], headers].concat(),
            body,
        )
    }

    pub fn announce(&mut self, name: &str, bytes: &[u8]) -> Answer {
        let digest = hex(bundle::Digest::of(bytes).0.as_slice());
        let metadata = metadata(&[
            ("filename", name),
            ("sha256", &digest),
            ("filetype", "application/cms"),
        ]);
        let length = bytes.len().to_string();
        self.tus(
            "POST",
            "/files/",
            &[("Upload-Length", &length), ("Upload-Metadata", &metadata)],
            b"",
        )
    }

    pub fn patch(
        &mut self,
        path: &str,
        offset: u64,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let offset = offset.to_string();
        let fixed = [
            ("Content-Type", "application/offset+octet-stream"),
            ("Upload-Offset", offset.as_str()),
        ];
        self.tus("PATCH", path, &[&fixed, headers].concat(), body)
    }

    pub fn offset(&mut self, path: &str) -> String {
        self.tus("HEAD", path, &[], b"").headers["upload-offset"].clone()
    }

    pub fn read(&mut self, method: &str) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |text: &String| text.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        self.0.read_exact(&mut body).unwrap();
        Answer {
            status,
            headers,
            body,
        }
    }
}
