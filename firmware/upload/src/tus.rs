//! Words of the tus protocol that both ends use.
//!
//! Source: tus resumable upload protocol 1.0.0, core and the extensions creation, checksum and expiration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub const VERSION: &str = "1.0.0";
pub const RESUMABLE: &str = "tus-resumable";
pub const UPLOAD_OFFSET: &str = "upload-offset";
pub const UPLOAD_LENGTH: &str = "upload-length";
pub const UPLOAD_METADATA: &str = "upload-metadata";
pub const UPLOAD_CHECKSUM: &str = "upload-checksum";
pub const OFFSET_OCTETS: &str = "application/offset+octet-stream";
/// Status of a chunk, or a finished upload, whose digest is not the announced one.
pub const CHECKSUM_MISMATCH: u16 = 460;

/// Key of the bundle's name in the metadata: the one that tus clients use for a file's name.
pub const FILENAME: &str = "filename";
/// Key of the bundle's SHA-256 in the metadata, as lower-case hexadecimal.
pub const SHA256: &str = "sha256";

/// Below the upload's own address: the receipt of the finished upload.
pub const RECEIPT: &str = "receipt";
pub const RECEIPT_TYPE: &str = "application/cms";
/// Longest receipt that is read. Ours are about 1.2 kB; a certificate of the signer is inside.
pub const RECEIPT_BYTES: usize = 64 * 1024;

/// `Upload-Metadata` from pairs.
pub fn metadata(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .collect::<Vec<_>>()
        .join(",")
}

/// The value of one key in `Upload-Metadata`; `None` where it is absent, or not text in base64.
pub fn metadata_value(header: &str, key: &str) -> Option<String> {
    let pair = header
        .split(',')
        .map(str::trim)
        .find(|pair| pair.split(' ').next() == Some(key))?;
    let encoded = pair.split_once(' ')?.1;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// `Upload-Checksum` of a chunk.
pub fn checksum(digest: &[u8; 32]) -> String {
    format!("sha256 {}", STANDARD.encode(digest))
}

/// Algorithm and digest of `Upload-Checksum`; `None` where it is not of that form.
pub fn parse_checksum(header: &str) -> Option<(&str, Vec<u8>)> {
    let (algorithm, encoded) = header.split_once(' ')?;
    Some((algorithm, STANDARD.decode(encoded).ok()?))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A SHA-256 digest from exactly 64 lower-case hexadecimal digits.
pub fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    if bytes.len() != 64 || !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut digest = [0; 32];
    for (slot, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_reads_as_it_was_written() {
        let header = metadata(&[(FILENAME, "box-0000000001.cms"), (SHA256, "00ff")]);
        assert_eq!(header, "filename Ym94LTAwMDAwMDAwMDEuY21z,sha256 MDBmZg==");
        assert_eq!(metadata_value(&header, SHA256).as_deref(), Some("00ff"));
        assert_eq!(
            metadata_value("is_confidential, sha256 MDBmZg==", SHA256).as_deref(),
            Some("00ff")
        );
        assert_eq!(metadata_value(&header, "other"), None);
        assert_eq!(metadata_value("sha256", SHA256), None);
        assert_eq!(metadata_value("sha256 ?", SHA256), None);
    }

    #[test]
    fn a_digest_is_64_lower_case_digits() {
        let text = "00".repeat(31) + "fe";
        assert_eq!(parse_digest(&text).map(|d| hex(&d)), Some(text.clone()));
        for wrong in [
            &text[2..],
            &(text.clone() + "00"),
            &text.to_uppercase(),
            &text.replace("fe", "+e"),
        ] {
            assert_eq!(parse_digest(wrong), None);
        }
    }
}
