//! The content of standardized storage: HL7 v2.5 messages in ER7, segments ended by CR, ISO-2022-JP.
//!
//! Invariants
//! 1. 400 to 5000 bytes, before any markers.
//! 2. Every segment begins and ends in ASCII; delimiters inside double-byte text occur, as in the field, so that only
//!    a reader that decodes first can split.
//!
//! Sources: HL7 v2.5; JAMI's SS-MIX2 guidelines as seen in NHO's public samples (MSH-18, -20, -21). Codes are invented.

use crate::kinds::Body;
use crate::patient::Patient;
use crate::random::Random;
use crate::record::{Action, Record};
use crate::text::iso_2022_jp;
use crate::words::{self, DEPARTMENTS, STAFF};

/// Bytes of the shortest and of the longest message without markers.
pub(crate) const SIZE_RANGE: std::ops::RangeInclusive<usize> = 400..=5000;
/// A segment may still be added below this size; none of ours is longer than the difference to the maximum.
const FULL: usize = 4400;

/// Renders the message of a record. `markers` are ASCII texts to be planted in comment segments.
pub(crate) fn render(patient: &Patient, record: &Record, markers: &[String]) -> Vec<u8> {
    let mut message = Message {
        bytes: Vec::with_capacity(2048),
        random: Random::new(&[record.content]),
        patient,
        record,
        department: department_name(record.department),
    };
    message.header();
    message.body();
    message.comments();
    for marker in markers {
        message.segment(&format!("NTE|99||{marker}"));
    }
    message.bytes
}

fn department_name(code: &str) -> &'static str {
    DEPARTMENTS
        .iter()
        .find(|(known, _)| *known == code)
        .map_or("内科", |(_, name)| name)
}

struct Message<'a> {
    bytes: Vec<u8>,
    random: Random,
    patient: &'a Patient,
    record: &'a Record,
    department: &'static str,
}

impl Message<'_> {
    fn segment(&mut self, text: &str) {
        iso_2022_jp(text, &mut self.bytes);
        self.bytes.push(b'\r');
    }

    fn room(&self) -> bool {
        self.bytes.len() < FULL
    }

    fn header(&mut self) {
        let Record {
            kind, sent, action, ..
        } = self.record;
        let message = if *action == Action::Delete {
            kind.delete
        } else {
            kind.update
        };
        let (seconds, millis) = (sent.seconds(), sent.0 % 1000);
        let control = self.random.below(100_000_000);
        self.segment(&format!(
            "MSH|^~\\&|HIS01|SEND|GW|RCV|{seconds}.{millis:03}||{message}|{seconds}{control:08}|P|2.5||||||~ISO IR87||\
             ISO 2022-1994|SS-MIX2_1.20^SS-MIX2^1.2.392.200250.2.1.100.1.2.120^ISO"
        ));
        if message.starts_with("ADT") {
            self.segment(&format!(
                "EVN||{seconds}|||058^入力者^花子^^^^^^^L^^^^^I||SEND001"
            ));
        }
        let Patient {
            id,
            name,
            kana,
            sex,
            birth,
            address,
            postcode,
            telephone,
            ..
        } = self.patient;
        self.segment(&format!(
            "PID|0001||{id}^^^^PI||{name}^^^^^L^I~{kana}^^^^^L^P||{birth}|{sex}|||^^^^{postcode}^JPN^H^{address}||\
             ^PRN^PH^^^^^^^^^{telephone}"
        ));
    }

    fn body(&mut self) {
        match self.record.kind.body {
            Body::Basics => self.basics(),
            Body::Movement => self.visit_line(),
            Body::Allergy => self.allergies(),
            Body::Diseases => self.diseases(),
            Body::Meal => self.meals(),
            Body::Drug => self.drugs(false),
            Body::DrugGiven => self.drugs(true),
            Body::LabOrder => self.laboratory(false),
            Body::LabResult => self.laboratory(true),
            Body::Examination => self.examination(false),
            Body::ExaminationDone => self.examination(true),
        }
    }

    fn visit_line(&mut self) {
        let (number, doctor) = *self.random.pick(&STAFF);
        let (ward, room) = (self.random.within(2, 9), self.random.within(1, 30));
        let code = self.record.department;
        let seconds = self.record.sent.seconds();
        self.segment(&format!(
            "PV1|0001|I|{ward}E^{ward}{room:02}^1^^^N||||{number}^{doctor}^^^^^^^L^^^^^I||||||||||||||||||||||||||||||||||||\
             |{seconds}"
        ));
        self.segment(&format!("PV2||^{}^{code}", self.department));
    }

    fn basics(&mut self) {
        self.visit_line();
        let (name, kana) = (&self.patient.name, &self.patient.kana);
        let next_of_kin = format!("NK1|1|{name}^^^^^L^I~{kana}^^^^^L^P|SEL^本人^HL70063");
        self.segment(&next_of_kin);
        self.segment("DB1|1|PT||N");
        let (height, weight) = (self.random.within(1400, 1850), self.random.within(400, 950));
        self.segment(&format!(
            "OBX|1|NM|9N001000000000001^身長^99HOS||{}.{}|cm^cm^ISO+|||||F",
            height / 10,
            height % 10
        ));
        self.segment(&format!(
            "OBX|2|NM|9N006000000000001^体重^99HOS||{}.{}|kg^kg^ISO+|||||F",
            weight / 10,
            weight % 10
        ));
        let blood = *self.random.pick(&["A", "B", "O", "AB"]);
        self.segment(&format!(
            "OBX|3|CWE|5H010000009199911^血液型-ABO式^99HOS||{blood}^{blood}^JSHR002||||||F"
        ));
        self.segment(
            "IN1|1|67^国民健康保険退職者^JHSD0001|67999999|||||||||20200401|||||SEL^本人^HL70063",
        );
    }

    fn allergies(&mut self) {
        for number in 1..=self.random.within(1, 3) {
            let (code, kind, substance) = *self.random.pick(&words::ALLERGIES);
            self.segment(&format!(
                "IAM|{number}|{code}^{kind}^HL70127|{number}^{substance}^99HOS|U^不明^HL70128|発疹、かゆみ|A^追加^HL70323||{number}"
            ));
        }
    }

    fn diseases(&mut self) {
        let action = if self.record.action == Action::Delete {
            "DE"
        } else {
            "AD"
        };
        for number in 1..=self.random.within(1, 9) {
            if !self.room() {
                return;
            }
            let (code, name, icd) = *self.random.pick(&words::DISEASES);
            let day = self.record.sent.day();
            self.segment(&format!(
                "PRB|{action}|{day}|{code}^{name}^MDCDX2|{number:015}|||{day}||{day}|{icd}^^I10^O^外来時^JHSD0004||||N^回復せず^HL70241\
                 |{day}|{day}|{name}|1^主診断^JHSD0007"
            ));
            self.segment(&format!("ZPR||{code}^{name}^MDCDX2|||{code}^{name}^MDCDX2"));
            self.order_line(if number == 1 { "NW" } else { "XO" });
        }
    }

    fn order_line(&mut self, control: &str) {
        let control = if self.record.action == Action::Delete {
            "CA"
        } else {
            control
        };
        let (number, doctor) = *self.random.pick(&STAFF);
        let (order, seconds, code) = (
            self.record.order,
            self.record.sent.seconds(),
            self.record.department,
        );
        self.segment(&format!(
            "ORC|{control}|{order:015}||{order:015}|||||{seconds}|058^入力者^花子^^^^^^^L^^^^^I||{number}^{doctor}^^^^^^^L^^^^^I|\
             {code}^^^^^C||||{code}^{}^99HOS||||架空病院|||||||O^外来患者オーダ^HL70482",
            self.department
        ));
    }

    fn meals(&mut self) {
        self.visit_line();
        for time in ["07^朝食", "12^昼食", "18^夕食"] {
            self.order_line("NW");
            let (code, text) = *self.random.pick(&words::MEALS);
            self.segment(&format!(
                "TQ1|1|1|{time}^99HOS||||{}",
                self.record.day_folder()
            ));
            self.segment(&format!(
                "ODS|D||{code}^{text}^99HOS|配膳時に本人確認のこと"
            ));
        }
    }

    fn drugs(&mut self, given: bool) {
        self.visit_line();
        for group in 1..=self.random.within(1, 6) {
            if !self.room() {
                return;
            }
            self.order_line("NW");
            let (code, name, unit, unit_name) = *self.random.pick(&words::DRUGS);
            let (usage, usage_name) = *self.random.pick(&words::USAGES);
            let (amount, days) = (self.random.within(1, 6), self.random.within(1, 28));
            if given {
                self.segment(&format!(
                    "RXA|0|{group}|{}|{}|{code}^{name}^HOT9|{amount}|{unit}^{unit_name}^MR9P||01^実施^99HOS",
                    self.record.sent.seconds(),
                    self.record.sent.seconds()
                ));
            } else {
                self.segment(&format!(
                    "RXE||{code}^{name}^HOT9|{amount}||{unit}^{unit_name}^MR9P|||||{}|{unit}^{unit_name}^MR9P||||||||\
                     {amount}^{unit}&{unit_name}&MR9P||OHP^外来処方^MR9P~OHI^院内処方^MR9P",
                    amount * days
                ));
                self.segment(&format!(
                    "TQ1|1||{usage}&{usage_name}&99HOS|||{days}^d|{}",
                    self.record.day_folder()
                ));
            }
            self.segment("RXR|PO^口^HL70162");
        }
    }

    fn laboratory(&mut self, result: bool) {
        self.visit_line();
        let (order, day) = (self.record.order, self.record.day_folder());
        self.segment(&format!(
            "SPM|1|{order:015}||023^血清^JC10|||||||||||||{day}0900"
        ));
        self.segment(&format!(
            "OBR|1|{order:015}|{order:015}|E001^生化学的検査^99HOS|||{day}|{day}"
        ));
        self.order_line(if result { "SC" } else { "NW" });
        for number in 1..=self.random.within(3, 24) {
            if !self.room() {
                return;
            }
            let (code, name, unit, low, high) = *self.random.pick(&words::LAB_ITEMS);
            let value = self.random.within(low * 8 / 10, high * 12 / 10 + 1);
            let flag = if value > high {
                "H"
            } else if value < low {
                "L"
            } else {
                ""
            };
            self.segment(&if result {
                format!(
                    "OBX|{number}|NM|{code}^{name}^99HOS||{}.{}|{unit}^{unit}^99HOS|{}.{}-{}.{}|{flag}|||F|||{day}0900",
                    value / 10,
                    value % 10,
                    low / 10,
                    low % 10,
                    high / 10,
                    high % 10
                )
            } else {
                format!("OBR|{number}|{order:015}||{code}^{name}^99HOS|||{day}")
            });
        }
    }

    fn examination(&mut self, done: bool) {
        self.visit_line();
        self.order_line(if done { "SC" } else { "NW" });
        let (code, name) = *self.random.pick(&words::EXAMINATIONS);
        let (order, day) = (self.record.order, self.record.day_folder());
        self.segment(&format!(
            "OBR|1|{order:015}||{code}^{name}^JJ1017-32||{day}|{day}"
        ));
        if done {
            let sentences = self.random.within(1, 5);
            let finding = words::note(&mut self.random, sentences);
            self.segment(&format!("OBX|1|TX|&GDT^所見^99HOS||{finding}||||||F"));
            self.segment("ZE1|1|終了|フィルム^1枚^99HOS");
        } else {
            self.segment("NTE|1||妊娠の可能性なし。ペースメーカーなし。");
        }
    }

    /// Notes of varying length; they also lift the shortest messages to the smallest size.
    fn comments(&mut self) {
        let wanted = self.random.below(4) * self.random.below(4);
        let mut number = 0;
        while self.bytes.len() < *SIZE_RANGE.start() || (number < wanted && self.room()) {
            number += 1;
            let sentences = self.random.within(1, 3);
            let note = words::note(&mut self.random, sentences);
            self.segment(&format!("NTE|{number}||{note}"));
        }
    }
}
