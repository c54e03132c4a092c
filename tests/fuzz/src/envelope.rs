//! A sealed bundle as it arrives: DER of CMS AuthEnvelopedData, parsed before any key is used.
//!
//! 1. What is accepted has one spelling: written again it is the same bytes. So no second file passes for a bundle.
//! 2. Every refusal is words on one line.

use crate::{Verdict, keys, message};
use bundle::UnverifiedBundle;
use cms::authenveloped_data::AuthEnvelopedData;
use cms::content_info::ContentInfo;
use der::{Any, Decode, Encode};

pub fn bundle_envelope(bytes: &[u8]) -> Verdict {
    let bundle = match UnverifiedBundle::parse(bytes) {
        Ok(bundle) => bundle,
        Err(error) => return message::refused(&error),
    };
    let info = ContentInfo::from_der(bytes).expect("accepted bytes are a ContentInfo");
    let data: AuthEnvelopedData = info.content.decode_as().expect("of AuthEnvelopedData");
    let again = ContentInfo {
        content_type: info.content_type,
        content: Any::encode_from(&data).expect("which can be written"),
    };
    assert!(
        again.to_der().is_ok_and(|again| again == bytes),
        "an accepted bundle has a second spelling"
    );
    let verified = bundle
        .decrypt(keys::opener())
        .and_then(|content| content.verify(keys::trust(), &keys::bundle_name(1)));
    match verified {
        Ok(_) => Verdict::Accepted,
        Err(error) => message::refused(&error),
    }
}
