//! The 26 data types of SS-MIX2 standardized storage (version 1.2g) and what a hospital sends for each.
//!
//! Source: NHO's SS-MIX2 support documents, table 1-1 (folders, messages for update and for deletion).

/// What a message of the type is about: decides its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Basic data of the patient (患者基本情報).
    Basics,
    /// Movement: reception, admission, transfer, discharge.
    Movement,
    /// Allergies.
    Allergy,
    /// All diseases of the patient (病名), in one file.
    Diseases,
    Meal,
    /// Prescription or injection, ordered.
    Drug,
    /// Prescription or injection, carried out.
    DrugGiven,
    LabOrder,
    LabResult,
    /// Radiology, endoscopy, physiology: ordered.
    Examination,
    /// The same, carried out or reported.
    ExaminationDone,
}

/// One data type (データ種別).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Folder name and third field of the file name.
    pub folder: &'static str,
    /// MSH-9 of a new or changed record.
    pub update: &'static str,
    /// MSH-9 of a deletion.
    pub delete: &'static str,
    /// Filed under the date of care; otherwise under `-`.
    pub dated: bool,
    /// Has an order number of its own; otherwise all nines.
    pub ordered: bool,
    /// Has a department; otherwise `-`.
    pub department: bool,
    pub body: Body,
}

const fn adt(folder: &'static str, update: &'static str, delete: &'static str) -> Kind {
    Kind {
        folder,
        update,
        delete,
        dated: true,
        ordered: false,
        department: true,
        body: Body::Movement,
    }
}

const fn order(folder: &'static str, message: &'static str, body: Body) -> Kind {
    Kind {
        folder,
        update: message,
        delete: message,
        dated: true,
        ordered: true,
        department: true,
        body,
    }
}

const fn undated(
    folder: &'static str,
    update: &'static str,
    delete: &'static str,
    body: Body,
) -> Kind {
    Kind {
        folder,
        update,
        delete,
        dated: false,
        ordered: false,
        department: false,
        body,
    }
}

/// All data types, in the order of the specification.
pub(crate) const KINDS: [Kind; 26] = [
    undated("ADT-00", "ADT^A08^ADT_A01", "ADT^A23^ADT_A21", Body::Basics),
    Kind {
        department: true,
        ..undated(
            "ADT-01",
            "ADT^A54^ADT_A54",
            "ADT^A55^ADT_A54",
            Body::Movement,
        )
    },
    adt("ADT-12", "ADT^A04^ADT_A01", "ADT^A11^ADT_A09"),
    adt("ADT-21", "ADT^A14^ADT_A05", "ADT^A27^ADT_A21"),
    adt("ADT-22", "ADT^A01^ADT_A01", "ADT^A11^ADT_A09"),
    adt("ADT-31", "ADT^A21^ADT_A21", "ADT^A52^ADT_A52"),
    adt("ADT-32", "ADT^A22^ADT_A21", "ADT^A53^ADT_A52"),
    adt("ADT-41", "ADT^A15^ADT_A15", "ADT^A26^ADT_A21"),
    adt("ADT-42", "ADT^A02^ADT_A02", "ADT^A12^ADT_A12"),
    adt("ADT-51", "ADT^A16^ADT_A16", "ADT^A25^ADT_A21"),
    adt("ADT-52", "ADT^A03^ADT_A03", "ADT^A13^ADT_A01"),
    undated(
        "ADT-61",
        "ADT^A60^ADT_A60",
        "ADT^A60^ADT_A60",
        Body::Allergy,
    ),
    Kind {
        department: true,
        ..undated(
            "PPR-01",
            "PPR^ZD1^PPR_ZD1",
            "PPR^ZD1^PPR_ZD1",
            Body::Diseases,
        )
    },
    order("OMD", "OMD^O03^OMD_O03", Body::Meal),
    order("OMP-01", "RDE^O11^RDE_O11", Body::Drug),
    order("OMP-11", "RAS^O17^RAS_O17", Body::DrugGiven),
    order("OMP-02", "RDE^O11^RDE_O11", Body::Drug),
    order("OMP-12", "RAS^O17^RAS_O17", Body::DrugGiven),
    order("OML-01", "OML^O33^OML_O33", Body::LabOrder),
    order("OML-11", "OUL^R22^OUL_R22", Body::LabResult),
    order("OMG-01", "OMG^O19^OMG_O19", Body::Examination),
    order("OMG-11", "OMI^Z23^OMI_Z23", Body::ExaminationDone),
    order("OMG-02", "OMG^O19^OMG_O19", Body::Examination),
    order("OMG-12", "OMI^Z23^OMI_Z23", Body::ExaminationDone),
    order("OMG-03", "OMG^O19^OMG_O19", Body::Examination),
    order("OMG-13", "ORU^R01^ORU_R01", Body::ExaminationDone),
];

/// The type of a folder name, if it is one of the 26.
pub(crate) fn kind_of(folder: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.folder == folder)
}

/// The names of all type folders, for tests and for whoever checks completeness.
pub fn data_types() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.folder)
}
