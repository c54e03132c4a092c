//! Every bound of the format in one place. Both sides check them; changing one changes what old openers accept.

/// Bytes of files in one bundle. Bounds the memory of both sides.
pub const CONTENT_LIMIT_BYTES: u64 = 32 << 20;

/// Entries in one bundle. With at most 1023 bytes of tar around each content this bounds the archive's overhead to 16 MiB.
pub const ENTRY_LIMIT: usize = 16_384;

/// Bytes of `manifest.json`. Long names fill it before [`ENTRY_LIMIT`] does.
pub const MANIFEST_LIMIT_BYTES: usize = 8 << 20;

/// Bytes of a file in one entry. A longer file travels in parts; four whole parts fill a bundle.
pub const PART_LIMIT_BYTES: u64 = 8 << 20;

/// Bytes of a path below its root: Linux' `PATH_MAX` without the final NUL.
pub const PATH_LIMIT_BYTES: usize = 4095;

/// Bytes of one component of a path. A Windows server's name has up to 255 UTF-16 units, each up to 3 bytes of UTF-8 on
/// the box; Linux' own file systems end at 255 bytes, so that the box sees names that a data centre may not be able to use.
pub const COMPONENT_LIMIT_BYTES: usize = 765;

/// Bytes of `manifest.p7s`: one signature and its certificates need about 1 KiB.
pub const SIGNATURE_LIMIT_BYTES: usize = 64 << 10;

/// Bytes of a sealed bundle. Contents, tar and manifest are below 57 MiB even when nothing compresses.
pub const SEALED_LIMIT_BYTES: usize = 64 << 20;

/// Bytes of the tar archive, checked while decompressing: contents, 1 KiB around each, manifest, signature and the end
/// marker with the padding of stock `tar`.
pub const ARCHIVE_LIMIT_BYTES: usize = CONTENT_LIMIT_BYTES as usize
    + (ENTRY_LIMIT + 3) * 1024
    + MANIFEST_LIMIT_BYTES
    + SIGNATURE_LIMIT_BYTES
    + (64 << 10);

/// Largest window that a frame may ask for, as a power of two: 8 MiB, the least that RFC 8878 wants of every decoder.
pub const WINDOW_LOG_LIMIT: u32 = 23;

/// Level of compression: the quickest with a useful ratio; compression is the longest step of sealing.
pub const COMPRESSION_LEVEL: i32 = 1;

/// Recipients of one bundle. Bounds the head.
pub const RECIPIENT_LIMIT: usize = 16;

/// Sources named by one manifest.
pub const SOURCE_LIMIT: usize = 256;

/// End of 2030 in Unix seconds: from then on no new bundle goes to a key of 112-bit strength (RSA below 3072 bits),
/// after NIST SP 800-57 part 1 and the CRYPTREC list of key lengths.
pub const STRENGTH_112_END: u64 = 1_924_992_000;
