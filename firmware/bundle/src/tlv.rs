//! DER tag-length-value by hand, for the head of an envelope: there the length of a content is known before its bytes,
//! and the bytes are written once, at their place.

/// Appends tag and length.
pub fn header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let skip = length.leading_zeros() as usize / 8;
    out.push(0x80 | (bytes.len() - skip) as u8);
    out.extend(&bytes[skip..]);
}

/// Bytes of tag and length for a content of this length.
pub fn header_length(length: usize) -> usize {
    let mut out = Vec::with_capacity(10);
    header(&mut out, 0, length);
    out.len()
}

/// Tag, length and the concatenated contents.
pub fn value(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length = contents.iter().map(|c| c.len()).sum();
    let mut out = Vec::with_capacity(length + 10);
    header(&mut out, tag, length);
    for content in contents {
        out.extend_from_slice(content);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn lengths_take_the_fewest_bytes() {
        for (length, bytes) in [
            (0, &[0x30, 0][..]),
            (0x7f, &[0x30, 0x7f]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0xff, &[0x30, 0x81, 0xff]),
            (0x100, &[0x30, 0x82, 1, 0]),
            (0x0123_4567, &[0x30, 0x84, 0x01, 0x23, 0x45, 0x67]),
        ] {
            let mut out = Vec::new();
            super::header(&mut out, 0x30, length);
            assert_eq!(out, bytes);
            assert_eq!(super::header_length(length), bytes.len());
        }
    }
}
