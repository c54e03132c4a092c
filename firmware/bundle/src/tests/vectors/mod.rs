//! Vectors: one committed file for each way to be wrong, in `testdata/vectors/`, with the failure that it must meet.
//!
//! A file is a header of `field: value` lines, an empty line, and the bytes. `testdata/README.md` says what each field
//! means, so that anybody's opener can be tried with them. The tests here read every file of the folder; the tables in
//! the modules below say what each is and are what [`make`] writes the missing ones from.

mod check;
mod forge;
mod in_archive;
mod in_compression;
mod in_entries;
mod in_envelope;
mod in_losses;
mod in_manifest;
mod in_recipients;
mod in_signature;
mod make;
mod names;
mod of_certificates;
mod of_signers;

use std::path::PathBuf;

/// 2026-11-22T00:00:00Z, the opener's clock where a vector needs no other.
const CLOCK: &str = "2026-11-22T00:00:00Z";

/// Name under which a bundle is found where a vector needs no other.
const FILE: &str = "box-1-0000000001.cms";

fn testdata(below: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(below)
}

/// What a vector's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A bundle to open.
    Bundle,
    /// PEM of a certificate to seal to at the clock's time.
    Recipient,
    /// PEM of a recipient's certificate and key to open with.
    Opener,
    /// PEM of trusted authorities.
    Authority,
    /// PEM of revocation lists, taken at the clock's time.
    List,
}

/// Every field of a header, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    vector: String,
    wrong: String,
    kind: Kind,
    file: String,
    previous: String,
    clock: String,
    revoked: String,
    /// Zero bytes that follow the body: what is only large is not committed.
    zeros: usize,
    expect: String,
    says: String,
}

/// A vector as the tables have it: its head, and how its bytes are made.
struct Case {
    head: Head,
    body: Box<dyn Fn() -> Vec<u8>>,
}

impl Case {
    fn new(
        vector: &str,
        wrong: &str,
        expect: &str,
        says: &str,
        body: impl Fn() -> Vec<u8> + 'static,
    ) -> Self {
        let head = Head {
            vector: vector.into(),
            wrong: wrong.into(),
            kind: Kind::Bundle,
            file: FILE.into(),
            previous: "none".into(),
            clock: CLOCK.into(),
            revoked: "none".into(),
            zeros: 0,
            expect: expect.into(),
            says: says.into(),
        };
        let body = Box::new(body);
        Self { head, body }
    }

    /// A bundle that must open, so that a program that refuses everything fails too.
    fn right(vector: &str, what: &str, body: impl Fn() -> Vec<u8> + 'static) -> Self {
        let says = "2 entries, 6 bytes";
        Self::new(vector, &format!("nothing: {what}"), "opened", says, body)
    }

    fn with(mut self, edit: impl FnOnce(&mut Head)) -> Self {
        edit(&mut self.head);
        self
    }
}

/// All vectors.
fn cases() -> Vec<Case> {
    let mut cases = in_envelope::cases();
    cases.extend(in_recipients::cases());
    cases.extend(in_compression::cases());
    cases.extend(in_archive::cases());
    cases.extend(in_signature::cases());
    cases.extend(of_signers::cases());
    cases.extend(in_manifest::cases());
    cases.extend(in_entries::cases());
    cases.extend(in_losses::cases());
    cases.extend(of_certificates::cases());
    cases
}

impl Head {
    /// What the fields are that a header leaves out.
    const LEFT_OUT: [(&str, &str); 5] = [
        ("file", FILE),
        ("previous", "none"),
        ("clock", CLOCK),
        ("revoked", "none"),
        ("zeros", "0"),
    ];

    fn fields(&self) -> [(&'static str, String); 10] {
        let kind = match self.kind {
            Kind::Bundle => "bundle",
            Kind::Recipient => "recipient",
            Kind::Opener => "opener",
            Kind::Authority => "authority",
            Kind::List => "list",
        };
        [
            ("vector", self.vector.clone()),
            ("wrong", self.wrong.clone()),
            ("kind", kind.into()),
            ("file", self.file.clone()),
            ("previous", self.previous.clone()),
            ("clock", self.clock.clone()),
            ("revoked", self.revoked.clone()),
            ("zeros", self.zeros.to_string()),
            ("expect", self.expect.clone()),
            ("says", self.says.clone()),
        ]
    }

    fn write(&self) -> String {
        let fields = self.fields();
        let written = fields
            .iter()
            .filter(|(name, value)| !Self::LEFT_OUT.contains(&(*name, value)));
        let lines = written.map(|(name, value)| {
            assert!(!value.contains('\n'), "{value:?}");
            format!("{name}: {value}\n")
        });
        lines.collect::<String>() + "\n"
    }

    /// Head and body of a file. Fields come in order, each at most once, and no others.
    fn read(file: &[u8]) -> Result<(Self, &[u8]), String> {
        let end = file.windows(2).position(|pair| pair == b"\n\n");
        let end = end.ok_or("no empty line ends the header")?;
        let head = std::str::from_utf8(&file[..end]).map_err(|error| error.to_string())?;
        let mut lines = head.lines().peekable();
        let mut field = |name: &str| {
            let value = |line: &&str| {
                line.strip_prefix(name)?
                    .strip_prefix(": ")
                    .map(str::to_owned)
            };
            let left_out = Self::LEFT_OUT.iter().find(|(other, _)| *other == name);
            match (lines.peek().and_then(value), left_out) {
                (Some(value), _) => {
                    lines.next();
                    Ok(value)
                }
                (None, Some((_, value))) => Ok((*value).to_owned()),
                (None, None) => Err(format!("field {name} is missing before {:?}", lines.peek())),
            }
        };
        let read = Self {
            vector: field("vector")?,
            wrong: field("wrong")?,
            kind: match field("kind")?.as_str() {
                "bundle" => Kind::Bundle,
                "recipient" => Kind::Recipient,
                "opener" => Kind::Opener,
                "authority" => Kind::Authority,
                "list" => Kind::List,
                other => return Err(format!("unknown kind {other}")),
            },
            file: field("file")?,
            previous: field("previous")?,
            clock: field("clock")?,
            revoked: field("revoked")?,
            zeros: field("zeros")?.parse().map_err(|_| "zeros is no number")?,
            expect: field("expect")?,
            says: field("says")?,
        };
        match lines.next() {
            Some(line) => Err(format!("unknown field {line:?}")),
            None => Ok((read, &file[end + 2..])),
        }
    }
}
