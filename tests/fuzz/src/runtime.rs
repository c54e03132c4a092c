//! Conversations in memory, on one thread, with a clock that moves only while nobody has anything to do.
//!
//! So a wait of one second means: until everything that the bytes set going has come to rest.

use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// Bytes in flight in one direction.
const PIPE_BYTES: usize = 64 << 10;
/// Far below every limit of client and receiver, of which the shortest are ten seconds.
const REST: Duration = Duration::from_secs(1);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
}

/// Runs one conversation to its end.
pub fn run<T>(conversation: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(conversation))
}

pub fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(PIPE_BYTES)
}

/// Waits until all is at rest.
pub async fn rest() {
    sleep(REST).await;
}

/// Says all of `words`, hangs up when the other side is at rest, and gives what it said.
pub async fn say(stream: DuplexStream, words: &[u8]) -> Vec<u8> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let said = async {
        // the other side may hang up early: that is an answer too
        let _ = writing.write_all(words).await;
        rest().await;
        let _ = writing.shutdown().await;
    };
    let heard = async {
        let mut heard = Vec::new();
        let _ = reading.read_to_end(&mut heard).await;
        heard
    };
    tokio::join!(said, heard).1
}

/// A folder in memory, where the machine has such a thing: what is written is read back at once.
pub fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("fuzz-")
        .tempdir_in(parent)
        .expect("a folder")
}
