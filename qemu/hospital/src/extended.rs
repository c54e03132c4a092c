//! Extended storage (拡張ストレージ): content folders with a main document and images.
//!
//! Invariants
//! 1. The unit is the content folder: its flag stands in the folder's name, and a change of state renames the folder.
//! 2. Type folders contain `^` and Japanese text.
//!
//! Sources: NHO's SS-MIX2 support documents, `medical_document.md`; JAMI's guidelines on extended storage 1.2h.

use crate::calendar::{Day, Moment};
use crate::patient::Patient;
use crate::random::Random;
use crate::record::Flag;
use crate::text::iso_2022_jp;
use crate::words::{self, DEPARTMENTS};

/// A type of document: type folder, code in the content folder's name.
pub(crate) const DOCUMENTS: [(&str, &str); 5] = [
    ("L-PROGRESS^診療記録^99ZL01^11506-3^経過記録^LN", "11506-3"),
    ("^退院時要約^^18842-5^退院時要約^LN", "18842-5"),
    (
        "L-IMAGE^画像レポート^99ZL01^18748-4^画像診断報告書^LN",
        "L-IMAGE",
    ),
    ("^（紹介状）^^57133-1^診療情報提供書^LN", "57133-1"),
    (
        "L-OBSERVATIONS^OBSERVATIONS^99ZL01",
        "L-OBSERVATIONS^OBSERVATIONS^99ZL01",
    ),
];

/// Bytes of an image: a heavy tail, so that a large store stays affordable.
const IMAGE_BYTES: [(u64, u64); 4] = [
    (2_000, 6_000),
    (4_000, 20_000),
    (20_000, 60_000),
    (60_000, 300_000),
];

/// One content folder (コンテンツフォルダ).
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub day: Day,
    /// Position in [`DOCUMENTS`].
    pub document: usize,
    /// Identifying key (特定キー), 15 digits.
    pub key: u64,
    pub sent: Moment,
    pub department: usize,
    pub flag: Flag,
    /// Main document and images.
    pub files: u8,
    pub seed: u64,
}

impl Content {
    pub fn invent(now: Moment, department: usize, random: &mut Random) -> Content {
        let files = match random.below(10) {
            0..=4 => 1,
            5..=7 => 2,
            8 => 3,
            _ => random.within(4, 12) as u8,
        };
        Content {
            day: now.day(),
            document: random.below(DOCUMENTS.len() as u64) as usize,
            key: random.within(1, 999_999_999_999),
            sent: now.plus(random.within(60_000, 7_200_000)),
            department,
            flag: if random.chance(6) {
                Flag::Deleted
            } else {
                Flag::Valid
            },
            files,
            seed: random.word(),
        }
    }

    /// The next version; this one becomes a past version, or stays deleted.
    pub fn superseded(&mut self, sent: Moment, random: &mut Random) -> Content {
        if self.flag == Flag::Valid {
            self.flag = Flag::Past;
        }
        Content {
            sent: sent.max(self.sent.plus(1)),
            flag: Flag::Valid,
            seed: random.word(),
            ..self.clone()
        }
    }

    /// The type folder.
    pub fn type_folder(&self) -> &'static str {
        DOCUMENTS[self.document].0
    }

    /// The content folder for patient `id`.
    pub fn folder(&self, id: &str) -> String {
        let (code, department) = (DOCUMENTS[self.document].1, DEPARTMENTS[self.department].0);
        let Content { day, key, sent, .. } = self;
        format!(
            "{id}_{day}_{code}_{key:015}_{sent}_{department}_{}",
            self.flag.digit()
        )
    }

    /// Name and bytes of file number `index`; 0 is the main document.
    pub fn file(&self, patient: &Patient, index: u8) -> (String, Vec<u8>) {
        let mut random = Random::new(&[self.seed, u64::from(index)]);
        if index == 0 {
            return match self.document {
                0 | 4 => (
                    "main_document.hl7".to_owned(),
                    self.hl7(patient, &mut random),
                ),
                _ => (
                    "main_document.xml".to_owned(),
                    self.clinical_document(patient, &mut random),
                ),
            };
        }
        let name = match random.below(4) {
            0 => format!("画像^{index}.jpg"),
            1 => format!("検査結果 {index}.pdf"),
            _ => format!("img_{index:04}.jpg"),
        };
        let pdf = name.ends_with(".pdf");
        (name, image(pdf, &mut random))
    }

    fn hl7(&self, patient: &Patient, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        let seconds = self.sent.seconds();
        let mut segment = |text: String| {
            iso_2022_jp(&text, &mut bytes);
            bytes.push(b'\r');
        };
        segment(format!(
            "MSH|^~\\&|HIS01|SEND|GW|RCV|{seconds}||MDM^T02^MDM_T02|{seconds}{:06}|P|2.5||||||~ISO IR87||ISO 2022-1994",
            random.below(1_000_000)
        ));
        segment(format!(
            "PID|0001||{}^^^^PI||{}^^^^^L^I||{}|{}",
            patient.id, patient.name, patient.birth, patient.sex
        ));
        segment(format!(
            "TXA|1|PN^経過記録^99HOS|TX|{seconds}||||||||{:015}",
            self.key
        ));
        for number in 1..=random.within(2, 9) {
            segment(format!(
                "OBX|{number}|TX|S^主観的所見^99HOS||{}||||||F",
                words::note(random, 2)
            ));
        }
        bytes
    }

    /// A CDA-like document in UTF-8.
    fn clinical_document(&self, patient: &Patient, random: &mut Random) -> Vec<u8> {
        let (title, name) = (
            self.type_folder().replace('^', " "),
            patient.name.replace('^', " "),
        );
        let sections: String = (0..random.within(2, 12))
            .map(|_| {
                format!(
                    "      <section><text>{}</text></section>\n",
                    words::note(random, 3)
                )
            })
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\">\n  \
             <id extension=\"{:015}\"/>\n  <title>{}</title>\n  <effectiveTime value=\"{}\"/>\n  <recordTarget>{name}</recordTarget>\n  \
             <component><structuredBody>\n{sections}  </structuredBody></component>\n</ClinicalDocument>\n",
            self.key,
            title.trim(),
            self.sent.seconds()
        )
        .into_bytes()
    }
}

/// Noise behind the first bytes of the real format.
fn image(pdf: bool, random: &mut Random) -> Vec<u8> {
    let tail_length = if random.chance(5) { 4 } else { 2 };
    let (low, high) = *random.pick(&IMAGE_BYTES[..tail_length]);
    let head: &[u8] = if pdf {
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    } else {
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01"
    };
    let tail: &[u8] = if pdf { b"\n%%EOF\n" } else { b"\xff\xd9" };
    let mut noise = vec![0; random.within(low, high) as usize];
    random.fill(&mut noise);
    [head, &noise, tail].concat()
}
