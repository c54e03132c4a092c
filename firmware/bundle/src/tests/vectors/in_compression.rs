//! Ways to be wrong between the envelope and the archive: what is not plain zstd of a bounded size.

use super::Case;
use super::forge::*;
use crate::limits::ARCHIVE_LIMIT_BYTES;
use std::io::Write;

/// A zstd frame's magic number.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes that a block may say it holds.
const BLOCK_BYTES: usize = 128 << 10;

fn refused(vector: &str, wrong: &str, variant: &str, says: &str, body: fn() -> Vec<u8>) -> Case {
    Case::new(vector, wrong, &format!("OpenError.{variant}"), says, body)
}

fn frame() -> Vec<u8> {
    one_frame(&Inside::right().archive())
}

/// A block of one byte repeated: RFC 8878, 3.1.1.2.
fn repeated(bytes: usize, last: bool) -> [u8; 4] {
    let header = (bytes as u32) << 3 | 1 << 1 | u32::from(last);
    let [a, b, c, _] = header.to_le_bytes();
    [a, b, c, 0]
}

/// A frame that gives this many blocks of zeros, at 4 bytes a block.
fn zeros(blocks: usize) -> Vec<u8> {
    let mut frame = [&MAGIC[..], &[0, 0x38]].concat(); // no size; window of 128 KiB
    for left in (0..blocks).rev() {
        frame.extend(repeated(BLOCK_BYTES, left == 0));
    }
    frame
}

pub fn cases() -> Vec<Case> {
    const FRAME: &str = "the content holds something that is no zstd frame";
    const BROKEN: &str = "the content is not whole zstd frames with windows of at most 8 MiB";
    const BOMB: &str = "the content is larger than 58854400 bytes when decompressed";
    let no_frame = |vector, wrong, body| refused(vector, wrong, "Frame", FRAME, body);
    let broken = |vector, wrong, body| refused(vector, wrong, "Compression", BROKEN, body);
    let bomb = |vector, wrong, body| refused(vector, wrong, "Bomb", BOMB, body);
    vec![
        no_frame("zstd-none", "the archive is not compressed", || {
            bundle(&Inside::right().archive()[..1024])
        }),
        no_frame("zstd-old", "a frame of zstd before version 0.8", || {
            let mut frame = frame();
            frame[0] = 0x27;
            bundle(&frame)
        }),
        no_frame(
            "zstd-skippable-before",
            "a skippable frame comes first",
            || bundle(&[&b"\x50\x2a\x4d\x18\x04\0\0\0note"[..], &frame()].concat()),
        ),
        no_frame("zstd-skippable-after", "a skippable frame follows", || {
            bundle(&[&frame()[..], b"\x50\x2a\x4d\x18\x04\0\0\0note"].concat())
        }),
        no_frame("zstd-trailing", "bytes follow the last frame", || {
            bundle(&[&frame()[..], b"rest"].concat())
        }),
        no_frame(
            "flip-zstd-magic",
            "a bit of the frame's magic number is flipped",
            || {
                let mut frame = frame();
                frame[0] ^= 1;
                bundle(&frame)
            },
        ),
        broken(
            "flip-zstd-block",
            "a bit of the first block's type is flipped",
            || {
                let mut frame = frame();
                let at = 4
                    + 1
                    + usize::from(frame[4] & 0x20 == 0)
                    + [0, 2, 4, 8][usize::from(frame[4] >> 6)];
                frame[at] ^= 2; // a compressed block (2) becomes a reserved one (3)
                bundle(&frame)
            },
        ),
        broken("zstd-cut", "the last byte of the frame is missing", || {
            bundle(frame().split_last().unwrap().1)
        }),
        broken(
            "zstd-checksum",
            "the frame's own checksum does not fit",
            || {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(&Inside::right().archive()).unwrap();
                let mut frame = encoder.finish().unwrap();
                *frame.last_mut().unwrap() ^= 1;
                bundle(&frame)
            },
        ),
        broken(
            "zstd-window",
            "the frame asks for a window of 128 MiB",
            || {
                let mut frame = zeros(1);
                frame[5] = (27 - 10) << 3;
                bundle(&frame)
            },
        ),
        broken("zstd-dictionary", "the frame asks for a dictionary", || {
            let plain = [&MAGIC[..], &[0x21, 7, 3], &[3 << 3 | 1, 0, 0], b"abc"].concat();
            bundle(&plain)
        }),
        broken(
            "zstd-size-stated-too-large",
            "the frame says that it holds 2^60 bytes",
            || {
                let size = (1u64 << 60).to_le_bytes();
                bundle(&[&MAGIC[..], &[0xe0], &size, &[3 << 3 | 1, 0, 0], b"abc"].concat())
            },
        ),
        bomb(
            "bomb-in-one-frame",
            "2 KB become 57 MiB of zeros, more than any archive",
            || bundle(&zeros(ARCHIVE_LIMIT_BYTES / BLOCK_BYTES + 1)),
        ),
        bomb(
            "bomb-in-many-frames",
            "every frame is small, together they are too large",
            || bundle(&zeros(50).repeat(ARCHIVE_LIMIT_BYTES / BLOCK_BYTES / 50 + 1)),
        ),
        bomb(
            "bomb-behind-the-archive",
            "a right archive, then zeros beyond every bound",
            || bundle(&[frame(), zeros(ARCHIVE_LIMIT_BYTES / BLOCK_BYTES + 1)].concat()),
        ),
        Case::right(
            "right-many-frames",
            "the archive is cut into frames inside headers and contents",
            || {
                bundle(
                    &Inside::right()
                        .archive()
                        .chunks(700)
                        .flat_map(one_frame)
                        .collect::<Vec<_>>(),
                )
            },
        ),
        Case::right("right-checksum", "the frame has a checksum", || {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(&Inside::right().archive()).unwrap();
            bundle(&encoder.finish().unwrap())
        }),
    ]
}
