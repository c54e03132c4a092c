//! Names of boxes and bundles.

use std::fmt;
use std::str::FromStr;

/// Name of a box: 1-32 characters of `a-z`, `0-9`, `-`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxName(String);

/// A name that is not of its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    Box(String),
    Bundle(String),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Box(name) => {
                write!(
                    f,
                    "box name {name:?} is not 1-32 characters of a-z, 0-9 and - that start with no -"
                )
            }
            Self::Bundle(name) => {
                write!(
                    f,
                    "bundle name {name:?} is not <box>-<sequence, 10 digits from 0000000001>.cms"
                )
            }
        }
    }
}

impl std::error::Error for NameError {}

impl BoxName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BoxName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        if is_token(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::Box(name.to_owned()))
        }
    }
}

impl fmt::Display for BoxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is 1-32 characters of `a-z`, `0-9`, `-` and does not start with `-`. Safe as a folder's name.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// `<box>-<sequence, 10 digits>.cms`. Sequence numbers start with 1 and have no gaps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleName {
    box_name: BoxName,
    sequence: u64,
}

impl BundleName {
    /// Largest sequence number: ten digits, three centuries of one bundle a second.
    pub const LAST: u64 = 9_999_999_999;

    pub fn new(box_name: BoxName, sequence: u64) -> Result<Self, NameError> {
        if (1..=Self::LAST).contains(&sequence) {
            Ok(Self { box_name, sequence })
        } else {
            Err(NameError::Bundle(format!("{box_name}-{sequence}.cms")))
        }
    }

    pub fn box_name(&self) -> &BoxName {
        &self.box_name
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:010}.cms", self.box_name, self.sequence)
    }
}

impl FromStr for BundleName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Bundle(name.to_owned());
        let (box_name, digits) = name
            .strip_suffix(".cms")
            .and_then(|stem| stem.rsplit_once('-'))
            .ok_or_else(wrong)?;
        if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let sequence = digits.parse().map_err(|_| wrong())?;
        Self::new(box_name.parse().map_err(|_| wrong())?, sequence).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_name_reads_back_as_it_was_written() {
        let name = BundleName::new("box-07".parse().unwrap(), 42).unwrap();
        assert_eq!(name.to_string(), "box-07-0000000042.cms");
        assert_eq!(name.to_string().parse::<BundleName>().unwrap(), name);
    }

    #[test]
    fn names_with_folders_gaps_or_other_lengths_are_refused() {
        for name in [
            "box-1.cms",
            "box-0000000000.cms",
            "../a-0000000001.cms",
            "-0000000001.cms",
            "Box-0000000001.cms",
            "box-00000000001.cms",
            "box-0000000001.cm",
            "box-+000000001.cms",
            "--0000000001.cms",
        ] {
            assert_eq!(
                name.parse::<BundleName>(),
                Err(NameError::Bundle(name.to_owned())),
                "{name}"
            );
        }
    }
}
