//! Files like those of extended storage, made from a seed: documents and images, of which only a part can be compressed.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::step;

/// Bytes of all files.
pub const BYTES: u64 = 4 << 30;

/// What the files are, for the report.
pub const MIX: &str = "by bytes a half like JPEG and PDF (cannot be compressed), three tenths like uncompressed DICOM \
                       (16-bit pixels with noise in 5 bits), two tenths like XML documents";

const MEGABYTE: u64 = 1_000_000;

/// Marsaglia's xorshift, 64 bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Writes files of 1 to 200 MB, many small and few large, until there are so many bytes.
pub fn make(folder: &Path, bytes: u64) -> Result<(), Box<dyn Error>> {
    step::say("bench", &format!("makes large files of {bytes} bytes"));
    let mut random = Random(0x5eed_0001);
    let mut left = bytes;
    for number in 0.. {
        if left == 0 {
            break;
        }
        // evenly spread by order of magnitude: 1-8, 8-40, 40-200 MB
        let (least, most) = [(1, 8), (8, 40), (40, 200)][(random.next() % 3) as usize];
        let wanted = least * MEGABYTE + random.next() % ((most - least) * MEGABYTE);
        let size = if left < wanted + MEGABYTE {
            left
        } else {
            wanted
        };
        let place = folder.join(format!("{:02}", number % 16));
        fs::create_dir_all(&place)?;
        let file = File::create(place.join(format!("{number:05}")))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        match random.next() % 10 {
            0..5 => noise(&mut out, size, &mut random)?,
            5..8 => pixels(&mut out, size, &mut random)?,
            _ => text(&mut out, size, &mut random)?,
        }
        out.flush()?;
        left -= size;
    }
    Ok(())
}

fn noise(out: &mut impl Write, size: u64, random: &mut Random) -> std::io::Result<()> {
    fill(out, size, || random.next().to_le_bytes())
}

fn pixels(out: &mut impl Write, size: u64, random: &mut Random) -> std::io::Result<()> {
    let mut at = 0u16;
    fill(out, size, || {
        let noise = random.next();
        let mut four = [0; 8];
        for (place, pixel) in four.chunks_exact_mut(2).enumerate() {
            at = at.wrapping_add(1);
            let value = 900 + at / 64 + ((noise >> (place * 5)) & 31) as u16;
            pixel.copy_from_slice(&value.to_le_bytes());
        }
        four
    })
}

fn text(out: &mut impl Write, size: u64, random: &mut Random) -> std::io::Result<()> {
    const WORDS: [&[u8; 16]; 8] = [
        b"<entry typeCode=",
        b"\"COMP\"><organize",
        b"r classCode=\"CLU",
        b"STER\"><text>\n   ",
        b"</text></section",
        b"><value unit=\"mg",
        b"/dL\" value=\"0000",
        b"<td>2026-01-31T0",
    ];
    let mut left = size;
    while left > 0 {
        let number = random.next();
        let mut line = Vec::with_capacity(64);
        for word in 0..3 {
            line.extend_from_slice(WORDS[(number >> (word * 3) & 7) as usize]);
        }
        write!(line, "{:05}", number >> 47)?;
        let length = left.min(line.len() as u64);
        out.write_all(&line[..length as usize])?;
        left -= length;
    }
    Ok(())
}

fn fill(out: &mut impl Write, size: u64, mut next: impl FnMut() -> [u8; 8]) -> std::io::Result<()> {
    let mut left = size;
    while left > 0 {
        let length = left.min(8);
        out.write_all(&next()[..length as usize])?;
        left -= length;
    }
    Ok(())
}
