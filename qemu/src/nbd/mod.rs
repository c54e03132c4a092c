//! The box's disk: a network block device served by the harness over a disk that forgets ([`volatile`]).
//!
//! QEMU's own caches keep what a killed guest wrote; this disk does not, so that SIGKILL of QEMU is a mains cut.
//!
//! 1. A request is answered after it has had its whole effect; answers come in the order of the requests.
//! 2. [`Disk::cut`] comes after QEMU is gone: nothing is written behind it.
//! 3. A fuse ([`Disk::set_fuse`]) blows once, before the effect of the request that it counts down to; from then on
//!    nothing is answered, as from a drive without power, and the waiting side is told.

mod protocol;
pub mod volatile;

pub use volatile::{CutReport, Loss};

use protocol::{Command, Request};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use volatile::VolatileDisk;

/// A served disk; the socket vanishes with it.
#[derive(Debug)]
pub struct Disk {
    socket: PathBuf,
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    disk: VolatileDisk,
    writes: u64,
    fuse: Option<Fuse>,
    blown: bool,
}

#[derive(Debug)]
struct Fuse {
    writes_left: u64,
    blown: Sender<()>,
}

impl Disk {
    /// Serves the file `image` on the socket, to any number of clients one after another.
    pub fn serve(image: &Path, socket: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(image)?;
        let state = State {
            disk: VolatileDisk::new(file)?,
            writes: 0,
            fuse: None,
            blown: false,
        };
        let shared = Arc::new(Mutex::new(state));
        let listener = UnixListener::bind(socket)?;
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), serving) = (stream, Arc::clone(&serving)) else {
                    break;
                };
                // A client that breaks off has nothing more to say; what it wrote stays as unflushed as it was.
                std::thread::spawn(move || serve_client(stream, &serving));
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
            shared,
        })
    }

    /// QEMU's name for this disk.
    pub fn address(&self) -> String {
        format!("nbd:unix:{}", self.socket.display())
    }

    /// Requests that write, since the disk is served.
    pub fn writes(&self) -> u64 {
        lock(&self.shared).writes
    }

    /// Stops the disk before the `writes`-th write from now; the receiver hears of it. The mains are cut there.
    pub fn set_fuse(&self, writes: u64) -> Receiver<()> {
        let (blown, receiver) = channel();
        lock(&self.shared).fuse = Some(Fuse {
            writes_left: writes,
            blown,
        });
        receiver
    }

    /// The mains are cut: loses what was not flushed, and is ready for the next power-on. QEMU must be gone.
    pub fn cut(&self, loss: Loss) -> io::Result<CutReport> {
        let mut state = lock(&self.shared);
        state.fuse = None;
        state.blown = false;
        state.disk.cut(loss)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve_client(mut stream: UnixStream, shared: &Mutex<State>) -> io::Result<()> {
    protocol::negotiate(&mut stream, lock(shared).disk.bytes())?;
    while let Some(request) = protocol::read_request(&mut stream)? {
        if request.command == Command::Disconnect {
            break;
        }
        let mut state = lock(shared);
        if state.fuse_blows(&request) || state.blown {
            drop(state);
            // An error would be an answer, and the guest would act on it.
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
        let outcome = state.carry_out(&request);
        drop(state);
        protocol::answer(&mut stream, &request, outcome)?;
    }
    Ok(())
}

impl State {
    fn carry_out(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        match request.command {
            Command::Read => {
                let mut buffer = vec![0; request.length];
                self.disk.read(request.offset, &mut buffer)?;
                Ok(buffer)
            }
            Command::Write => self
                .disk
                .write(request.offset, &request.data, request.forced)
                .map(|()| Vec::new()),
            Command::Flush => self.disk.flush().map(|()| Vec::new()),
            Command::Disconnect => Ok(Vec::new()),
            Command::Unknown(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn fuse_blows(&mut self, request: &Request) -> bool {
        if request.command != Command::Write {
            return false;
        }
        self.writes += 1;
        let Some(fuse) = &mut self.fuse else {
            return false;
        };
        fuse.writes_left = fuse.writes_left.saturating_sub(1);
        if fuse.writes_left > 0 {
            return false;
        }
        let _ = fuse.blown.send(());
        self.fuse = None;
        self.blown = true;
        true
    }
}

#[cfg(test)]
mod tests;
