//! The commissioning disc of the lab's box: the right one, from which scenarios make wrong ones.

use crate::disc;
use crate::network::{
    BOX_INNER, BOX_LAN, BOX_LAN_MAC, BOX_WAN, BOX_WAN_MAC, GATEWAY, HOSPITAL, LAN_PREFIX, RECEIVER,
    WAN_PREFIX,
};
use crate::pki::{BOX, GATEWAY_NAME, Pki, RECEIVER_NAME};
use crate::process::ProcessError;
use std::io;
use std::path::{Path, PathBuf};

pub const USER: &str = "collector";
pub const PASSWORD: &str = "correct horse";
/// Folder of the hospital that both protocols share.
pub const SHARE: &str = "/srv/store";
/// Port of the receiver, inside the tunnel.
pub const PORT: u16 = 8443;

/// One collected root: its name at the data centre and its path below [`SHARE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub name: &'static str,
    pub kind: &'static str,
    pub mount: &'static str,
    pub path: &'static str,
}

pub const fn root(
    name: &'static str,
    kind: &'static str,
    mount: &'static str,
    path: &'static str,
) -> Root {
    Root {
        name,
        kind,
        mount,
        path,
    }
}

/// Two protocols, four kinds; the facility is the generator's default one. The standardized root comes over NFS because
/// it has names that SMB cannot carry: bytes that are no Unicode.
pub const ROOTS: &[Root] = &[
    root("standardized", "ssmix2-standardized", "claims", "std"),
    root("extended", "ssmix2-extended", "emr", "ext"),
    root("dpc", "dpc", "emr", "dpc"),
    root("receipt", "receipt", "emr", "receipt"),
    root("samples", "ssmix2-standardized", "emr", "samples"),
];

/// What goes onto a disc.
#[derive(Clone, Debug)]
pub struct SiteDisc {
    pub text: String,
    /// Name on the disc and the file that is put there.
    pub files: Vec<(String, PathBuf)>,
}

/// Names on the disc, as in `config/site.toml` too, and names that `datacentre ca` gives.
pub const FILES: &[(&str, &str)] = &[
    ("ike.pem", "ike-box.pem"),
    ("ike.key", "ike-box.key"),
    ("ike-authority.pem", "ike-ca.pem"),
    ("upload.pem", "tls-box.pem"),
    ("upload.key", "tls-box.key"),
    ("upload-authority.pem", "tls-ca.pem"),
    ("upload-authority.crl", "tls-crl.pem"),
    ("receipt.pem", "receipt.pem"),
    ("recipient.pem", "recipient.pem"),
    ("sealing.pem", "sealing-box.pem"),
    ("sealing.key", "sealing-box.key"),
];

impl SiteDisc {
    /// The disc with which everything works.
    pub fn right(pki: &Pki) -> Self {
        Self::collecting(pki, ROOTS)
    }

    /// The same for these roots.
    pub fn collecting(pki: &Pki, roots: &[Root]) -> Self {
        let files = FILES
            .iter()
            .map(|(name, made)| ((*name).to_owned(), pki.file(made)))
            .collect();
        Self {
            text: text(roots),
            files,
        }
    }

    /// The same with one piece of its text exchanged, which must be there.
    pub fn with(mut self, old: &str, new: &str) -> Self {
        assert!(
            self.text.contains(old),
            "the lab's site.toml has no {old:?}"
        );
        self.text = self.text.replacen(old, new, 1);
        self
    }

    /// The same with another file under a name.
    pub fn with_file(mut self, name: &str, file: PathBuf) -> Self {
        self.files.retain(|(other, _)| other != name);
        self.files.push((name.to_owned(), file));
        self
    }

    pub fn without_file(mut self, name: &str) -> Self {
        self.files.retain(|(other, _)| other != name);
        self
    }

    /// Makes `<name>.iso` in `folder`.
    pub fn burn(&self, folder: &Path, name: &str) -> Result<PathBuf, DiscError> {
        let files = folder.join(name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DiscError::File { path, source }
        };
        std::fs::create_dir_all(&files).map_err(failed(&files))?;
        std::fs::write(files.join("site.toml"), &self.text).map_err(failed(&files))?;
        for (name, source) in &self.files {
            std::fs::copy(source, files.join(name)).map_err(failed(source))?;
        }
        let image = folder.join(format!("{name}.iso"));
        disc::make(&files, "COLLECTOR", &image).map_err(DiscError::Burn)?;
        Ok(image)
    }
}

/// A second is enough for the lab's hospital, which writes quickly; walks follow each other without a long pause.
fn text(roots: &[Root]) -> String {
    let mut text = format!(
        r#"format = 1

[box]
name = "{BOX}"

[[interface]]
name = "lan"
mac = "{BOX_LAN_MAC}"
address = "{BOX_LAN}/{LAN_PREFIX}"

[[interface]]
name = "wan"
mac = "{BOX_WAN_MAC}"
address = "{BOX_WAN}/{WAN_PREFIX}"

[tunnel]
interface = "wan"
peer = "{GATEWAY}"
peer-identity = "{GATEWAY_NAME}"
identity = "{BOX}"
certificate = "ike.pem"
key = "ike.key"
authority = "ike-authority.pem"
address = "{BOX_INNER}"
remote = "{RECEIVER}/32"
dead-peer-seconds = 5

[upload]
url = "https://{RECEIVER}:{PORT}/files/"
server-name = "{RECEIVER_NAME}"
certificate = "upload.pem"
key = "upload.key"
authority = "upload-authority.pem"
revocation-list = "upload-authority.crl"
receipts = "signed"
receipt-certificate = "receipt.pem"
tls = "modern"

[sealing]
recipients = ["recipient.pem"]
certificate = "sealing.pem"
key = "sealing.key"

[clock]
servers = ["{RECEIVER}"]

[[mount]]
name = "emr"
protocol = "smb"
server = "{HOSPITAL}"
share = "store"
user = "{USER}"
password = "{PASSWORD}"

[[mount]]
name = "claims"
protocol = "nfs"
server = "{HOSPITAL}"
export = "{SHARE}"

[collection]
quiet-seconds = 1
period-seconds = 2
"#
    );
    for root in roots {
        let Root {
            name,
            kind,
            mount,
            path,
        } = root;
        text.push_str(&format!(
            "\n[[source]]\nname = \"{name}\"\nkind = \"{kind}\"\nmount = \"{mount}\"\npath = \"{path}\"\n"
        ));
    }
    text
}

/// A disc could not be made.
#[derive(Debug)]
pub enum DiscError {
    File { path: PathBuf, source: io::Error },
    Burn(ProcessError),
}

impl std::fmt::Display for DiscError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "cannot put {} on the disc", path.display()),
            Self::Burn(_) => write!(f, "cannot make the disc"),
        }
    }
}

impl std::error::Error for DiscError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Burn(source) => Some(source),
        }
    }
}
