//! The NBD protocol as bytes: fixed newstyle negotiation, simple replies; one export, whatever its name.
//!
//! Source: the NBD project's `proto.md`. Numbers are big-endian. Trusts its client, which is our own QEMU, to keep to
//! the export's size; the disk below checks all the same.

use std::io::{self, Read, Write};

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

const FLAG_FIXED_NEWSTYLE: u16 = 1;
const FLAG_NO_ZEROES: u16 = 2;
const CLIENT_NO_ZEROES: u32 = 2;

const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const REPLY_ACKNOWLEDGED: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;

/// has flags, flush, forced unit access.
const TRANSMISSION_FLAGS: u16 = 1 | 1 << 2 | 1 << 3;
const COMMAND_FLAG_FORCED: u16 = 1;
/// Longest request taken: QEMU sends at most 32 MiB.
const LONGEST_BYTES: u32 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Unknown(u16),
}

#[derive(Debug)]
pub struct Request {
    pub command: Command,
    pub forced: bool,
    cookie: u64,
    pub offset: u64,
    pub length: usize,
    pub data: Vec<u8>,
}

/// The handshake, until the client has chosen the export.
pub fn negotiate(stream: &mut (impl Read + Write), bytes: u64) -> io::Result<()> {
    let mut hello = Vec::new();
    hello.extend(MAGIC.to_be_bytes());
    hello.extend(OPTION_MAGIC.to_be_bytes());
    hello.extend((FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
    stream.write_all(&hello)?;
    let no_zeroes = read_u32(stream)? & CLIENT_NO_ZEROES != 0;
    loop {
        if read_u64(stream)? != OPTION_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = read_u32(stream)?;
        let length = read_u32(stream)?;
        io::copy(&mut stream.take(length.into()), &mut io::sink())?;
        match option {
            OPTION_EXPORT_NAME => {
                let mut answer = bytes.to_be_bytes().to_vec();
                answer.extend(TRANSMISSION_FLAGS.to_be_bytes());
                answer.resize(answer.len() + if no_zeroes { 0 } else { 124 }, 0);
                return stream.write_all(&answer);
            }
            OPTION_INFO | OPTION_GO => {
                let mut info = INFO_EXPORT.to_be_bytes().to_vec();
                info.extend(bytes.to_be_bytes());
                info.extend(TRANSMISSION_FLAGS.to_be_bytes());
                option_reply(stream, option, REPLY_INFO, &info)?;
                option_reply(stream, option, REPLY_ACKNOWLEDGED, &[])?;
                if option == OPTION_GO {
                    return Ok(());
                }
            }
            OPTION_ABORT => {
                option_reply(stream, option, REPLY_ACKNOWLEDGED, &[])?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            _ => option_reply(stream, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn option_reply(stream: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    reply.extend(option.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    reply.extend((data.len() as u32).to_be_bytes());
    reply.extend(data);
    stream.write_all(&reply)
}

/// The next request; `None` when the client has gone.
pub fn read_request(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let magic = match read_u32(stream) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        magic => magic?,
    };
    if magic != REQUEST_MAGIC {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let flags = read_u16(stream)?;
    let command = match read_u16(stream)? {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        other => Command::Unknown(other),
    };
    let cookie = read_u64(stream)?;
    let offset = read_u64(stream)?;
    let length = read_u32(stream)?;
    if length > LONGEST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut data = Vec::new();
    if command == Command::Write {
        data.resize(length as usize, 0);
        stream.read_exact(&mut data)?;
    }
    Ok(Some(Request {
        command,
        forced: flags & COMMAND_FLAG_FORCED != 0,
        cookie,
        offset,
        length: length as usize,
        data,
    }))
}

/// A simple reply: the data of a read, or the error number that fits best.
pub fn answer(
    stream: &mut impl Write,
    request: &Request,
    outcome: io::Result<Vec<u8>>,
) -> io::Result<()> {
    const EIO: u32 = 5;
    const EINVAL: u32 = 22;
    let (error, data) = match outcome {
        Ok(data) => (0, data),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => (EINVAL, Vec::new()),
        Err(_) => (EIO, Vec::new()),
    };
    let mut reply = REPLY_MAGIC.to_be_bytes().to_vec();
    reply.extend(error.to_be_bytes());
    reply.extend(request.cookie.to_be_bytes());
    reply.extend(data);
    stream.write_all(&reply)
}

fn read_u16(stream: &mut impl Read) -> io::Result<u16> {
    let mut bytes = [0; 2];
    stream
        .read_exact(&mut bytes)
        .map(|()| u16::from_be_bytes(bytes))
}

fn read_u32(stream: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream
        .read_exact(&mut bytes)
        .map(|()| u32::from_be_bytes(bytes))
}

fn read_u64(stream: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream
        .read_exact(&mut bytes)
        .map(|()| u64::from_be_bytes(bytes))
}
