//! A wire that breaks after a given number of bytes towards the server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Carries one connection to `server` and cuts it after `bytes` from the client; then it is gone.
pub fn cut_after(server: SocketAddr, bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let Ok(upstream) = TcpStream::connect(server) else {
            return;
        };
        let (from_server, to_client) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
        let back = thread::spawn(move || carry(from_server, to_client, usize::MAX));
        carry(client, upstream, bytes);
        let _ = back.join();
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let most = buffer.len().min(left);
        match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(got) => {
                if to.write_all(&buffer[..got]).is_err() {
                    break;
                }
                left -= got;
            }
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
