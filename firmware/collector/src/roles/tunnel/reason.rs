//! Why an attempt failed, in words for a person, from charon's log of it.
//!
//! The log is meant for people and may change with charon's version: what is not recognised is passed on as it is, and
//! `refusals_name_their_cause` pins what this version says.

/// What charon says, what it means, and what to do.
const KNOWN: &[(&str, &str)] = &[
    (
        "received AUTHENTICATION_FAILED",
        "the peer refused our certificate: check identity and certificate in [tunnel], and the peer's trust",
    ),
    (
        "received NO_PROPOSAL_CHOSEN",
        "the peer accepts none of our algorithms: it must offer AES-256-GCM with X25519 and ML-KEM-768, or with ECP-384",
    ),
    (
        "received TS_UNACCEPTABLE",
        "the peer does not route address or remote of [tunnel]: compare them with its settings",
    ),
    (
        "no trusted",
        "the peer's certificate is not valid under the authority in [tunnel], or is not for peer-identity, or the clock is wrong",
    ),
    (
        "no issuer certificate found",
        "the peer's certificate is not signed by the authority in [tunnel]: check authority, or suspect a false peer",
    ),
    (
        "does not match to",
        "the peer calls itself otherwise than peer-identity in [tunnel]",
    ),
    (
        "constraint check failed",
        "the peer's certificate is not for peer-identity in [tunnel], or not under its authority",
    ),
    (
        "certificate expired",
        "the peer's certificate has expired, or the box's clock is wrong",
    ),
    (
        "certificate invalid (valid from",
        "the peer's certificate is not valid at this time, or the box's clock is wrong",
    ),
    (
        "giving up after",
        "no answer from the peer: check the line, and that UDP 500 and 4500 reach it",
    ),
    (
        "no private key found",
        "charon has no key for our certificate: key and certificate in [tunnel] do not belong together",
    ),
    (
        "not established after",
        "no answer from the peer in time: check the line, and that UDP 500 and 4500 reach it",
    ),
];

/// Longest line of charon's that is passed on, in characters.
const LONGEST: usize = 160;

/// The reason that the first recognised line gives; the certificate's fault comes before the refusal that it causes.
pub fn of(lines: &[String], peer: &str) -> String {
    for line in lines {
        if let Some((_, meaning)) = KNOWN.iter().find(|(said, _)| line.contains(said)) {
            return format!("{peer}: {meaning}");
        }
    }
    let last = lines
        .iter()
        .rev()
        .find(|line| !line.is_empty())
        .map_or("no reason given", String::as_str);
    let last: String = last
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect();
    format!("{peer}: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(lines: &[&str]) -> String {
        let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        of(&lines, "192.0.2.1")
    }

    #[test]
    fn refusals_name_their_cause() {
        let wrong = reason(&[
            "received end entity cert \"CN=dc.example\"",
            "no issuer certificate found for \"CN=dc.example\"",
            "no trusted ECDSA public key found for 'dc.example'",
            "generating INFORMATIONAL request 2 [ N(AUTH_FAILED) ]",
        ]);
        assert!(
            wrong.starts_with("192.0.2.1: the peer's certificate is not signed by the authority"),
            "{wrong}"
        );
        let silent = reason(&[
            "retransmit 4 of request with message ID 0",
            "giving up after 4 retransmits",
        ]);
        assert!(silent.contains("no answer from the peer"), "{silent}");
        let refused = reason(&[
            "parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]",
            "received AUTHENTICATION_FAILED notify error",
        ]);
        assert!(
            refused.contains("the peer refused our certificate"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_not_recognised_is_passed_on_without_control_characters() {
        assert_eq!(
            reason(&["something\u{1b}[2J new", ""]),
            "192.0.2.1: something[2J new"
        );
        assert_eq!(reason(&[]), "192.0.2.1: no reason given");
    }
}
