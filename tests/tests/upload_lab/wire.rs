//! A wire that breaks where a test wants it to.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Where one connection is cut: after so many bytes towards the server, or back.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    Requests(usize),
    Answers(usize),
}

/// Carries connections to a server that may change; each takes the next cut that was ordered, and is whole where there
/// is none.
pub struct Wire {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    cuts: Mutex<VecDeque<Cut>>,
    cut: AtomicUsize,
    answered: AtomicUsize,
}

impl Wire {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            cuts: Mutex::default(),
            cut: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        });
        let own = shared.clone();
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let shared = own.clone();
                thread::spawn(move || connection(client, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap() = server;
    }

    pub fn order(&self, cut: Cut) {
        self.shared.cuts.lock().unwrap().push_back(cut);
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> usize {
        self.shared.cut.load(Ordering::SeqCst)
    }

    /// Bytes that servers sent back so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }
}

fn connection(client: TcpStream, shared: &Arc<Shared>) {
    let server = *shared.server.lock().unwrap();
    let (requests, answers) = match shared.cuts.lock().unwrap().pop_front() {
        None => (usize::MAX, usize::MAX),
        Some(Cut::Requests(bytes)) => (bytes, usize::MAX),
        Some(Cut::Answers(bytes)) => (usize::MAX, bytes),
    };
    let Ok(upstream) = TcpStream::connect(server) else {
        return;
    };
    let (from_server, to_client) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
    let own = shared.clone();
    let back = thread::spawn(move || {
        carry(from_server, to_client, answers, &own.cut, &own.answered);
    });
    carry(
        client,
        upstream,
        requests,
        &shared.cut,
        &AtomicUsize::new(0),
    );
    let _ = back.join();
}

/// Carries one connection to `server` and cuts it after `bytes` from the client.
pub fn cut_after(server: SocketAddr, bytes: usize) -> SocketAddr {
    let wire = Wire::to(server);
    wire.order(Cut::Requests(bytes));
    wire.address
}

fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    mut left: usize,
    cuts: &AtomicUsize,
    carried: &AtomicUsize,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        if left == 0 {
            cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
        let most = buffer.len().min(left);
        match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(got) => {
                if to.write_all(&buffer[..got]).is_err() {
                    break;
                }
                carried.fetch_add(got, Ordering::SeqCst);
                left = left.saturating_sub(got);
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
