//! What is taken back with a lost bundle, and what of it is named as lost: never too little.

use catalogue::{Action, Catalogue, Change, Directory, Intent};

const FOLDER: &str = "0000001/20240401/doc/a_b_c_d_e_1";

struct Lab {
    _folder: tempfile::TempDir,
    catalogue: Catalogue,
    root: Directory,
    sequence: u64,
}

impl Lab {
    /// A catalogue whose parts hold so many bytes.
    fn new(limit_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        let mut catalogue = Catalogue::open_with_parts_of(&path, limit_bytes).unwrap();
        let root = catalogue.source("documents").unwrap().root;
        Self {
            _folder: folder,
            catalogue,
            root,
            sequence: 0,
        }
    }

    fn change(&self, path: &str, action: Action, content: u8) -> Change {
        Change {
            root: self.root,
            path: path.into(),
            action,
            size_bytes: 9,
            mtime_ns: 7,
            sha256: [content; 32],
        }
    }

    /// Commits a bundle and returns its number.
    fn bundle(&mut self, changes: &[Change]) -> u64 {
        self.sequence += 1;
        let intent = Intent {
            sequence: self.sequence,
            sha256: [self.sequence as u8; 32],
            entries: changes.len() as u64,
            bytes: 9,
        };
        self.catalogue.intend(intent, changes).unwrap();
        self.catalogue.commit().unwrap();
        self.sequence
    }

    fn add(&mut self, path: &str, content: u8) -> u64 {
        let change = self.change(path, Action::Added, content);
        self.bundle(&[change])
    }

    fn rename(&mut self, from: &str, to: &str, content: u8) -> u64 {
        let origin = from.into();
        let change = self.change(to, Action::FlagChanged { origin }, content);
        self.bundle(&[change])
    }

    /// Takes a bundle back; then its paths that are named as lost.
    fn lose(&mut self, sequence: u64) -> Vec<String> {
        self.catalogue.recollect(sequence).unwrap().unwrap();
        self.lost(sequence)
    }

    fn lost(&self, sequence: u64) -> Vec<String> {
        let lost = self.catalogue.lost_versions(sequence).unwrap();
        let path = |path: Vec<u8>| String::from_utf8(path).unwrap();
        lost.into_iter().map(|lost| path(lost.path)).collect()
    }

    fn knows(&self, path: &str) -> bool {
        let known = self.catalogue.file(self.root, path.as_bytes()).unwrap();
        known.is_some()
    }
}

#[test]
fn a_lost_version_is_named_until_the_same_content_was_brought_again() {
    let mut lab = Lab::new(4096);
    let path = format!("{FOLDER}/image.dcm");
    let first = lab.add(&path, 1);
    assert_eq!(lab.lose(first), [path.as_str()]);
    lab.add(&path, 2);
    assert_eq!(lab.lost(first), [path.as_str()], "another content");
    let size = Change {
        size_bytes: 10,
        ..lab.change(&path, Action::Changed, 1)
    };
    lab.bundle(&[size]);
    assert_eq!(lab.lost(first), [path.as_str()], "another size");
    let touched = Change {
        mtime_ns: 8,
        ..lab.change(&path, Action::Changed, 1)
    };
    lab.bundle(&[touched]);
    assert!(lab.lost(first).is_empty());
}

#[test]
fn a_file_is_taken_back_wherever_changes_of_flag_have_moved_it_since() {
    // with large parts, and with a part for each file
    for limit_bytes in [4096, 16] {
        let mut lab = Lab::new(limit_bytes);
        let before = format!("{FOLDER}/a_b_c_d_e_f_1");
        for number in 0..40 {
            lab.add(&format!("{FOLDER}/a_b_c_d_e_f{number:02}"), 9);
        }
        let first = lab.add(&before, 1);
        // its own flag, then its folder's
        let between = format!("{FOLDER}/a_b_c_d_e_f_0");
        let now = between.replace("_e_1", "_e_0");
        lab.rename(&before, &between, 1);
        lab.rename(&between, &now, 1);
        assert!(lab.knows(&now) && !lab.knows(&before));
        let files = lab.catalogue.files_of(lab.root).unwrap();
        assert_eq!(lab.lose(first), [before.as_str()]);
        assert!(
            !lab.knows(&now),
            "it would never be sent: {limit_bytes} bytes"
        );
        assert_eq!(lab.catalogue.files_of(lab.root).unwrap(), files - 1);
        lab.add(&now, 1);
        assert!(lab.lost(first).is_empty());
    }
}

#[test]
fn another_file_of_the_same_name_but_for_the_flag_is_left_alone() {
    let mut lab = Lab::new(4096);
    let (lost, other) = (
        format!("{FOLDER}/a_b_c_d_e_f_1"),
        format!("{FOLDER}/a_b_c_d_e_f_0"),
    );
    let first = lab.add(&lost, 1);
    lab.add(&other, 2);
    assert_eq!(lab.lose(first), [lost.as_str()]);
    assert!(lab.knows(&other));
}
