//! Writes the good inputs that the targets start from into the corpus.

use std::path::Path;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let issued = folder.join("keys/issued.receipt");
    if std::fs::metadata(&issued).is_ok_and(|file| file.len() == 0) {
        std::fs::write(&issued, fuzz::seeds::new_receipt()).expect("a receipt");
        println!("made a receipt; run me again");
        return;
    }
    for seed in fuzz::seeds::seeds() {
        let folder = folder.join("corpus").join(seed.target);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(&seed.name), &seed.bytes).expect("a file");
        println!("{}/{}: {} bytes", seed.target, seed.name, seed.bytes.len());
    }
}
