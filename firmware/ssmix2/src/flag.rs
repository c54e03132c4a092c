//! The condition flag (コンディションフラグ): the last field of a file's or content folder's name.
//!
//! An update renames `…_1` to `…_2`, a deletion renames `…_1` and `…_2` to `…_0`. The object stays the same, so its
//! identity is the name without the flag.

/// Value of the condition flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `0`: deleted.
    Deleted,
    /// `1`: valid.
    Valid,
    /// `2`: a past version.
    Past,
}

impl Flag {
    /// The digit in a name.
    pub fn digit(self) -> u8 {
        match self {
            Flag::Deleted => b'0',
            Flag::Valid => b'1',
            Flag::Past => b'2',
        }
    }
}

/// A name split into identity and flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flagged<'a> {
    /// The name up to and including the `_` before the flag.
    pub stem: &'a [u8],
    pub flag: Flag,
}

/// Fewer separators than this are no SS-MIX2 name, where a last `_1` may mean anything. A content folder of the public
/// samples has six fields, that is five separators.
const LEAST_SEPARATORS: usize = 5;

impl<'a> Flagged<'a> {
    /// Takes the flag from the last field; `None` where the name carries none.
    pub fn parse(name: &'a [u8]) -> Option<Self> {
        let (&last, stem) = name.split_last()?;
        if stem.last() != Some(&b'_')
            || stem.iter().filter(|&&byte| byte == b'_').count() < LEAST_SEPARATORS
        {
            return None;
        }
        let flag = match last {
            b'0' => Flag::Deleted,
            b'1' => Flag::Valid,
            b'2' => Flag::Past,
            _ => return None,
        };
        Some(Self { stem, flag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_update_keeps_its_stem() {
        let before = Flagged::parse(b"0001_20200101_OMP-01_000000000000001_20200101120000000_01_1");
        let after = Flagged::parse(b"0001_20200101_OMP-01_000000000000001_20200101120000000_01_2");
        let (Some(before), Some(after)) = (before, after) else {
            panic!("both carry a flag")
        };
        assert!(before.stem == after.stem);
        assert_eq!((before.flag, after.flag), (Flag::Valid, Flag::Past));
    }

    #[test]
    fn a_content_folder_of_six_fields_carries_a_flag() {
        let name = b"0123456789_20160101_L-OBSERVATIONS^OBSERVATIONS^99ZL01_000000020160101_201601011500321_1";
        assert!(Flagged::parse(name).is_some());
    }

    #[test]
    fn other_names_carry_no_flag() {
        for name in [
            &b"RECEIPTC.UKE"[..],
            b"EFn_123456789_2401.txt",
            b"report_1",
            b"",
            b"1",
            b"a_b_c_d_e_f_3",
            b"_____x1",
        ] {
            assert!(Flagged::parse(name).is_none());
        }
    }
}
