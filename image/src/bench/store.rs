//! What the measurements of sealing and opening share: stores, keys, our commands, and the same work by stock tools.
//!
//! The stock way is one script each, written for speed: digests by as many processes as there are cores, one pipe from `tar`
//! by `zstd` with all cores to `openssl`, cut on the way into pieces of 64 MiB that are bundles of their own. As in ours, the
//! manifest and its signature travel inside, encrypted, before what they vouch for; and as in ours, a run has ended when its
//! result is durable. Unlike ours, the stock way writes files before they are verified, and cannot go on after a cut.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::native::{self, Taken, Workplace};
use super::{Aim, Better, Figure, Side};
use crate::cache::Cache;
use crate::peers::Peers;
use crate::step;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs of each side that count.
pub const RUNS: usize = 5;

const STOCK_SEAL: &str = r#"
cd "$STORE"
"$PEERS/find" . -type f -print0 > "$OUT/list"
"$PEERS/xargs" -0 -n "$SHARE" -s 2000000 -P "$CORES" sh -c '"$PEERS/sha256sum" "$@" > "$OUT/digests.$$"' sh < "$OUT/list"
cat "$OUT"/digests.* > "$OUT/manifest"
"$PEERS/openssl" cms -sign -binary -noattr -md sha256 -outform DER -signer "$KEYS/sealing-box.pem" \
    -inkey "$KEYS/sealing-box.key" -in "$OUT/manifest" -out "$OUT/manifest.p7s"
"$PEERS/tar" -cf - -C "$OUT" manifest manifest.p7s -C "$STORE" --null --no-recursion --verbatim-files-from -T "$OUT/list" |
    "$PEERS/split" -b 64M --filter='set -e -o pipefail; "$PEERS/zstd" -q -1 -T0 -c |
        "$PEERS/openssl" cms -encrypt -binary -stream -aes-256-gcm -outform DER -recip "$KEYS/recipient.pem" \
        -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -out "$FILE.cms"' - "$OUT/bundle-"
rm "$OUT/list" "$OUT/manifest" "$OUT/manifest.p7s" "$OUT"/digests.*
sync "$OUT"/*.cms "$OUT"
"#;

const STOCK_OPEN: &str = r#"
for bundle in "$SEALED"/bundle-*.cms; do
    "$PEERS/openssl" cms -decrypt -binary -inform DER -in "$bundle" -recip "$KEYS/recipient.pem" -inkey "$KEYS/recipient.key" |
        "$PEERS/zstd" -q -d -c
done | "$PEERS/tar" -xf - -C "$OUT"
cd "$OUT"
"$PEERS/openssl" cms -verify -binary -inform DER -in manifest.p7s -content manifest -CAfile "$KEYS/sealing-ca.pem" \
    -out /dev/null 2> /dev/null
"$PEERS/split" -n "l/$CORES" manifest part.
rm manifest manifest.p7s
checks=
for part in part.*; do
    "$PEERS/sha256sum" --quiet -c "$part" &
    checks="$checks $!"
done
for check in $checks; do wait "$check"; done
rm part.*
sync -f .
"#;

/// How the scripts are named in a report.
pub const STOCK_SEAL_NAME: &str = "find | sha256sum (all cores); cms -sign; tar | zstd -1 -T0 | openssl cms -encrypt, cut at 64 MiB; sync";
pub const STOCK_OPEN_NAME: &str =
    "openssl cms -decrypt | zstd -d | tar -x; cms -verify; sha256sum -c (all cores); sync";

/// Programs, keys and a working folder.
pub struct Bench {
    place: Workplace,
    pub peers: Peers,
    release: PathBuf,
}

impl Bench {
    pub fn new(cache: &Cache, name: &str) -> Result<Bench> {
        let peers = Peers::ensure(cache)?;
        let programs = ["-p", "collector", "-p", "datacentre", "-p", "hospital"];
        let release = native::release(&programs)?;
        let place = Workplace::new(name)?;
        let bench = Bench {
            place,
            peers,
            release,
        };
        step::answer(
            Command::new(bench.program("datacentre"))
                .arg("ca")
                .arg(bench.join("keys")),
        )?;
        Ok(bench)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.release.join(name)
    }

    fn key(&self, name: &str) -> OsString {
        self.join("keys").join(name).into_os_string()
    }

    /// A hospital's store of small files: SS-MIX2 standardized and extended storage, DPC and receipt files.
    pub fn hospital(&self, files: u64) -> Result<PathBuf> {
        let store = self.join("store");
        step::say("bench", &format!("makes a store of {files} files"));
        let count = files.to_string();
        // so many patients give about three folders for four files, as in the trials that the aim comes from
        let patients = (files / PATIENT_FILES).max(1).to_string();
        step::answer(
            Command::new(self.program("hospital"))
                .args([
                    "make",
                    "--seed",
                    "1",
                    "--files",
                    &count,
                    "--patients",
                    &patients,
                ])
                .arg("--out")
                .arg(&store),
        )?;
        Ok(store)
    }

    /// Seals a store by `collector seal` into an empty folder.
    pub fn seal(&self, store: &Path, out: &Path) -> Result<Taken> {
        empty(out)?;
        let (recipient, certificate, key) = (
            self.key("recipient.pem"),
            self.key("sealing-box.pem"),
            self.key("sealing-box.key"),
        );
        let arguments: [&OsStr; 12] = [
            "seal".as_ref(),
            "--recipient".as_ref(),
            &recipient,
            "--signer-cert".as_ref(),
            &certificate,
            "--signer-key".as_ref(),
            &key,
            "--box".as_ref(),
            "box-1".as_ref(),
            "--out".as_ref(),
            out.as_ref(),
            store.as_ref(),
        ];
        let log = self.join("seal.log");
        native::timed(&self.peers, &log, self.program("collector"), &arguments)
    }

    /// Opens what `collector seal` made into an empty folder.
    pub fn open(&self, sealed: &Path, out: &Path) -> Result<Taken> {
        empty(out)?;
        let (certificate, key, trust) = (
            self.key("recipient.pem"),
            self.key("recipient.key"),
            self.key("sealing-ca.pem"),
        );
        let arguments: [&OsStr; 11] = [
            "open".as_ref(),
            "--cert".as_ref(),
            &certificate,
            "--key".as_ref(),
            &key,
            "--trust".as_ref(),
            &trust,
            "--in".as_ref(),
            sealed.as_ref(),
            "--out".as_ref(),
            out.as_ref(),
        ];
        let log = self.join("open.log");
        native::timed(&self.peers, &log, self.program("datacentre"), &arguments)
    }

    /// The stock way to seal; see the header.
    pub fn stock_seal(&self, store: &Path, out: &Path, files: u64) -> Result<Taken> {
        stock_seal(&self.peers, &self.join(""), store, out, files)
    }

    /// The stock way to open; see the header.
    pub fn stock_open(&self, sealed: &Path, out: &Path) -> Result<Taken> {
        empty(out)?;
        let variables = [("SEALED", sealed.as_os_str()), ("OUT", out.as_os_str())];
        self.script("stock-open", STOCK_OPEN, &variables)
    }

    pub fn script(&self, name: &str, text: &str, variables: &[(&str, &OsStr)]) -> Result<Taken> {
        script(&self.peers, &self.join(""), name, text, variables)
    }

    /// Checks that two trees hold the same files, byte for byte.
    pub fn check_same(&self, store: &Path, restored: &Path) -> Result<()> {
        step::answer(
            Command::new(self.program("hospital"))
                .arg("compare")
                .args([store, restored]),
        )?;
        Ok(())
    }
}

/// The stock way to seal a store of so many files; see the header. The working folder has the keys.
pub fn stock_seal(
    peers: &Peers,
    folder: &Path,
    store: &Path,
    out: &Path,
    files: u64,
) -> Result<Taken> {
    empty(out)?;
    // one process of `sha256sum` for each core, or a few where the command line would be too long
    let share = files.div_ceil(cores()).clamp(1, 12_500).to_string();
    let variables = [
        ("STORE", store.as_os_str()),
        ("OUT", out.as_os_str()),
        ("SHARE", share.as_ref()),
    ];
    script(peers, folder, "stock-seal", STOCK_SEAL, &variables)
}

/// Runs a script of stock tools under the same account as ours, in a working folder that has the keys.
pub fn script(
    peers: &Peers,
    folder: &Path,
    name: &str,
    text: &str,
    variables: &[(&str, &OsStr)],
) -> Result<Taken> {
    let path = folder.join(format!("{name}.sh"));
    let mut file = fs::File::create(&path)?;
    writeln!(file, "set -e -o pipefail")?;
    let mut set = |name: &str, value: &OsStr| -> Result<()> {
        let value = value.to_str().ok_or("the checkout's path is not UTF-8")?;
        let value = value.replace('\'', r"'\''");
        Ok(writeln!(file, "export {name}='{value}'")?)
    };
    let programs = peers.program("find");
    let programs = programs.parent().ok_or("the peers have no folder")?;
    set("PEERS", programs.as_ref())?;
    set("KEYS", folder.join("keys").as_ref())?;
    set("CORES", cores().to_string().as_ref())?;
    set("SHELL", "/bin/bash".as_ref())?;
    for (name, value) in variables {
        set(name, value)?;
    }
    file.write_all(text.as_bytes())?;
    drop(file);
    let log = folder.join(format!("{name}.log"));
    native::timed(peers, &log, "bash", &[path.as_ref()])
}

/// What sealing must do, each step by a stock tool alone, in processor seconds. Reading and writing files is not in it.
pub struct Steps {
    pub compress: f64,
    digests: f64,
    cipher: f64,
}

impl Steps {
    /// The format wants a digest of each content, of each whole file in parts, and of the sealed bundle. `bytes` are in files
    /// that nearly all travel in parts.
    pub fn of_large(bench: &Bench, compress: f64, bytes: u64, sealed: u64) -> Result<Steps> {
        let digest = native::bytes_per_second(&bench.peers, "sha256")?;
        let cipher = native::bytes_per_second(&bench.peers, "aes-256-gcm")?;
        Ok(Steps {
            compress,
            digests: (2 * bytes + sealed) as f64 / digest,
            cipher: sealed as f64 / cipher,
        })
    }

    pub fn sum(&self) -> f64 {
        self.compress + self.digests + self.cipher
    }

    /// How far a run is from it.
    pub fn beside(&self, processor_seconds: f64) -> String {
        format!(
            "processor time: ours {processor_seconds:.2} s; its steps alone by stock tools {:.2} s (zstd {:.2}, three SHA-256 {:.2}, \
             AES-256-GCM {:.2}): {:.2} of ours",
            self.sum(),
            self.compress,
            self.digests,
            self.cipher,
            self.sum() / processor_seconds
        )
    }
}

/// One number of each run, our wall or processor time beside the peer's.
pub fn times(
    name: &'static str,
    aim: Option<Aim>,
    (ours, peer): (&[Taken], &[Taken]),
    peer_name: &str,
    number: fn(&Taken) -> f64,
) -> Figure {
    let side = |taken: &[Taken], command: &str| Side {
        unit: "s",
        samples: each(taken, number),
        command: command.to_owned(),
    };
    Figure {
        name,
        aim,
        better: Better::Smaller,
        ours: side(ours, "collector seal"),
        peer: Some(side(peer, peer_name)),
        notes: Vec::new(),
    }
}

/// Files of one patient; see [`Bench::hospital`].
const PATIENT_FILES: u64 = 150;

pub fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// Makes a folder anew and lets the disk come to rest.
pub fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    rustix::fs::sync();
    Ok(())
}

/// Bytes of all files directly in a folder.
pub fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Files and folders below a folder.
pub fn count(folder: &Path) -> Result<(u64, u64)> {
    let (mut files, mut folders) = (0, 0);
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders += 1;
                pending.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    Ok((files, folders))
}

/// One number of each run.
pub fn each(taken: &[Taken], number: impl Fn(&Taken) -> f64) -> Vec<f64> {
    taken.iter().map(number).collect()
}
