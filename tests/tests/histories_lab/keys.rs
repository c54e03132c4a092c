//! Keys of the box and of the data centre, made once for all histories.

use super::BOX;
use bundle::{LocalSigner, Opener, Recipient, Sealer, Trust};
use datacentre::ca;
use std::sync::OnceLock;

pub struct Keys {
    pub folder: tempfile::TempDir,
    pub opener: Opener,
    pub trust: Trust,
}

pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = ca::Options {
            box_name: BOX.to_owned(),
            recipient_bits: ca::RecipientBits::B2048,
            ..ca::Options::default()
        };
        ca::make(folder.path(), &options, now()).unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let opener = Opener::from_pem(&read("recipient.pem"), &read("recipient.key")).unwrap();
        let trust = Trust::from_pem(&read("sealing-ca.pem")).unwrap();
        Keys {
            folder,
            opener,
            trust,
        }
    })
}

pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub fn sealer() -> Sealer<LocalSigner> {
    let read = |name: &str| std::fs::read(keys().folder.path().join(name)).unwrap();
    let recipient = Recipient::from_pem(&read("recipient.pem")).unwrap();
    let signer = LocalSigner::from_pem(&read("sealing-box.key")).unwrap();
    Sealer::new(
        BOX.parse().unwrap(),
        vec![recipient],
        &read("sealing-box.pem"),
        signer,
    )
    .unwrap()
}
