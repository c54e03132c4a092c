//! What a server says to the box: the answers to its requests, one after another, any bytes.
//!
//! The first byte says whether the site expects receipts ([`PLAIN`]: none). The rest is answers, parted by [`NEXT`];
//! each is given when the client has asked its next question. Then the server hangs up.
//!
//! 1. A bundle counts as delivered only by the one receipt that the receiver issued, or where there are none, when the
//!    server said that it holds every byte.
//! 2. The client asks no more questions than it gets answers, and one: no answer makes it ask for ever.
//! 3. Every failure is words on one line, with advice.

use crate::{Verdict, keys, message, runtime};
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use upload::client::Receipts;
use upload::{Bundle, Client, Delivered, ServerName, Target, TlsFault};

/// First byte: a server without receipts.
pub const PLAIN: u8 = b'n';
/// Ends one answer and begins the next.
pub const NEXT: &[u8] = b"\n%%\n";

/// How often a failed delivery is tried again on the same connection.
const ATTEMPTS: usize = 3;
const CHUNK_BYTES: u64 = 1500;

/// The bytes of the bundle that is sent: 4096 of them.
pub fn uploaded() -> Vec<u8> {
    (0..4096u32).map(|at| (at % 251) as u8).collect()
}

pub fn tus_response(bytes: &[u8]) -> Verdict {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let answers = parts(rest);
    let receipts = if kind == PLAIN {
        Receipts::None
    } else {
        Receipts::Signed(Box::new(keys::receiver_certificate().clone()))
    };
    let (ours, theirs) = runtime::pipe();
    let (asked, complete) = runtime::run(async {
        let server = tokio::spawn(serve(theirs, answers.clone()));
        let complete = deliver(ours, receipts).await;
        (server.await.expect("the server ends"), complete)
    });
    assert!(asked <= answers.len() + 1, "{asked} questions");
    if complete && kind == PLAIN {
        let holds_all = |answer: &Vec<u8>| {
            let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
            text.contains("upload-offset")
        };
        assert!(answers.iter().any(holds_all), "delivered without an offset");
    }
    Verdict::accepted_if(complete)
}

fn parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(NEXT) {
            parts.push(Vec::new());
            rest = after;
        } else {
            parts.last_mut().expect("one").push(byte);
            rest = after;
        }
    }
    parts
}

/// Whether the bundle was delivered.
async fn deliver(stream: DuplexStream, receipts: Receipts) -> bool {
    let target = Target {
        address: ([127, 0, 0, 1], 443).into(),
        server_name: ServerName::try_from("receiver.example").expect("a name"),
        path: "/files/".to_owned(),
        receipts,
    };
    let mut client = Client::on(target, stream)
        .await
        .expect("a connection")
        .with_chunk_bytes(CHUNK_BYTES);
    // a connection takes questions once its driver has run
    runtime::rest().await;
    let bundle = Bundle::open(keys::bundle_name(7), file()).expect("a bundle");
    // there is no second connection
    let tls = || {
        Err(TlsFault::Empty {
            path: PathBuf::from("none"),
            expected: "certificate",
        })
    };
    for _ in 0..ATTEMPTS {
        match client
            .deliver(&bundle, &tls, |offset| assert!(offset <= bundle.size()))
            .await
        {
            Ok(Delivered::Receipt(receipt)) => {
                assert!(
                    receipt.der() == keys::ISSUED_RECEIPT,
                    "a receipt that nobody issued"
                );
                return true;
            }
            Ok(Delivered::Unsigned) => return true,
            Err(error) => {
                message::check(&error);
                let _ = error.advice();
            }
        }
    }
    false
}

fn file() -> &'static std::path::Path {
    static FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&uploaded()).expect("a file");
        file
    });
    FILE.path()
}

/// Gives one answer to each request; returns the number of requests.
async fn serve(mut stream: DuplexStream, answers: Vec<Vec<u8>>) -> usize {
    let mut asked = 0;
    let mut heard = Vec::new();
    for answer in answers {
        if !hear_request(&mut stream, &mut heard).await {
            return asked;
        }
        asked += 1;
        if stream.write_all(&answer).await.is_err() {
            return asked;
        }
    }
    // so that the last answer is read before the end is seen
    runtime::rest().await;
    asked + usize::from(!heard.is_empty())
}

/// Reads up to the end of one request's body.
async fn hear_request(stream: &mut DuplexStream, heard: &mut Vec<u8>) -> bool {
    loop {
        if let Some(end) = end_of_request(heard) {
            heard.drain(..end);
            return true;
        }
        match stream.read_buf(heard).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

fn end_of_request(heard: &[u8]) -> Option<usize> {
    let end = heard.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&heard[..end]).expect("our client writes text");
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().expect("a length"));
    (heard.len() >= end + length).then_some(end + length)
}
