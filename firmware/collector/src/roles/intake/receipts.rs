//! Receipts: what the sender leaves is verified again here, and only then the bundle is erased.
//!
//! The order: erase from the spool, durable; `erased` in the trail, durable; delete the receipt's file. A cut between
//! leaves the receipt there: it is verified again against what the spool remembers of the erased bundle, and the
//! record is written again rather than not at all.

use super::error::IntakeError;
use super::world::World;
use bundle::BundleName;
use serde_json::json;
use spool::{Acknowledgement, Advice, Bundle, Digest, Disk, Spool, SpoolError};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use upload::receipt::is_unsigned_mark;
use upload::{UnverifiedReceipt, verify_receipt};
use x509_cert::Certificate;

/// A receipt is about 1 KiB.
const LIMIT_BYTES: u64 = 64 << 10;

const SUFFIX: &str = ".receipt";

/// What counts as the receiver's word.
pub enum Rule {
    /// A receipt signed under this certificate.
    Signed(Box<Certificate>),
    /// The receiver gives none: the sender's mark stands for the complete upload.
    Unsigned,
}

/// A receipt that was verified here for the bundle of this size and digest.
struct Proven {
    bundle: String,
    held: Bundle,
}

impl Acknowledgement for Proven {
    fn bundle(&self) -> &str {
        &self.bundle
    }

    fn size_bytes(&self) -> u64 {
        self.held.size_bytes
    }

    fn sha256(&self) -> Digest {
        self.held.sha256
    }
}

/// What becomes of a receipt's file.
enum Finding {
    Proven(Proven),
    /// For a bundle that was erased so long ago that nothing is known of it.
    Outlived,
    Refused(String),
}

/// Works through the receipts that are there. Spool errors that a later call can cure leave the receipt where it is.
pub fn process<D: Disk>(
    world: &impl World,
    folder: &Path,
    rule: &Rule,
    spool: &std::sync::Mutex<Spool<D>>,
) -> Result<usize, IntakeError> {
    let mut erased = 0;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(0);
    };
    for entry in entries.flatten() {
        let Ok(file) = entry.file_name().into_string() else {
            continue;
        };
        let Some(bundle) = file.strip_suffix(SUFFIX) else {
            continue;
        };
        let path = entry.path();
        // a file that cannot be read now is tried again with the next call
        let Ok(bytes) = read(&path) else { continue };
        let mut spool = spool
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let finding = match examine(bundle, bytes, rule, &spool) {
            Ok(finding) => finding,
            Err(error) => {
                give_up_unless_curable(error)?;
                continue;
            }
        };
        match finding {
            Finding::Proven(proof) => {
                let done = match spool.erase(&proof) {
                    Ok(done) => done,
                    Err(error) => {
                        give_up_unless_curable(error)?;
                        continue;
                    }
                };
                drop(spool);
                world.audit(
                    "erased",
                    json!({ "bundle": bundle, "number": done.sequence }),
                )?;
                erased += 1;
            }
            Finding::Outlived => world.log("a receipt for a bundle erased long ago is discarded"),
            Finding::Refused(reason) => {
                drop(spool);
                let name = bundle
                    .parse::<BundleName>()
                    .map_or_else(|_| "of no known name".to_owned(), |name| name.to_string());
                world.audit(
                    "receipt-refused",
                    json!({ "bundle": name, "reason": reason }),
                )?;
            }
        }
        let _ = std::fs::remove_file(&path);
    }
    Ok(erased)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn examine<D: Disk>(
    bundle: &str,
    bytes: Vec<u8>,
    rule: &Rule,
    spool: &Spool<D>,
) -> Result<Finding, SpoolError> {
    let Ok(name) = bundle.parse::<BundleName>() else {
        return Ok(Finding::Refused("no bundle has such a name".to_owned()));
    };
    let Some(held) = spool.held(name.sequence())? else {
        let outlived = name.sequence() < spool.next().sequence;
        return Ok(if outlived {
            Finding::Outlived
        } else {
            Finding::Refused("no such bundle was ever in the spool".to_owned())
        });
    };
    if bytes.len() as u64 > LIMIT_BYTES {
        return Ok(Finding::Refused("it is too large for a receipt".to_owned()));
    }
    let verdict = match rule {
        Rule::Signed(receiver) => verify_receipt(
            UnverifiedReceipt(bytes),
            receiver,
            &name,
            held.size_bytes,
            &held.sha256,
        )
        .map(drop)
        .map_err(|fault| crate::runtime::chain(&fault)),
        Rule::Unsigned if is_unsigned_mark(&bytes, &name, held.size_bytes, &held.sha256) => Ok(()),
        Rule::Unsigned => Err("it is no mark of this bundle's complete upload".to_owned()),
    };
    Ok(match verdict {
        Ok(()) => Finding::Proven(Proven {
            bundle: bundle.to_owned(),
            held,
        }),
        Err(reason) => Finding::Refused(reason),
    })
}

fn give_up_unless_curable(error: SpoolError) -> Result<(), IntakeError> {
    match error.advice() {
        Advice::Retry | Advice::Discard => Ok(()),
        Advice::Reopen | Advice::Stop => Err(error.into()),
    }
}
