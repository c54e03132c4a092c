//! A run that is killed at any moment is continued by the next, and the store ends the same.

mod scene;

use scene::*;
use std::fs;
use std::process::{Command, Stdio};

/// Bundles whose entries depend on one another, so that an order or a repetition that is wrong shows.
fn send_chain(scene: &mut Scene, bundles: usize) {
    let name = |n: usize, flag: u8| format!("{:03}/{n}_{flag}", n % 7).into_bytes();
    for number in 0..bundles {
        let mut tellings = Vec::new();
        for file in 0..20 {
            let n = number * 20 + file;
            tellings.push(added(&name(n, 1), format!("content {n}").as_bytes()));
            if n >= 20 {
                tellings.push(renamed(&name(n - 20, 1), &name(n - 20, 2)));
                tellings.push(added(&name(n - 20, 1), format!("second {n}").as_bytes()));
                tellings.push(changed(&name(n, 1), format!("third {n}").as_bytes()));
            }
        }
        let whole = vec![number as u8; 90];
        tellings.extend([
            part(b"big", number as u64, &whole, 0, 50),
            part(b"big", number as u64, &whole, 50, 40),
        ]);
        scene.send(&tellings);
    }
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_same_store() {
    const BUNDLES: usize = 30;
    let mut calm = Scene::new();
    send_chain(&mut calm, BUNDLES);
    assert!(calm.open().is_clean());

    let mut killed = Scene::new();
    send_chain(&mut killed, BUNDLES);
    let options = killed.options();
    let history = killed.output().join(".state/box-1/history");
    let stage = killed.output().join(".state/box-1/stage");
    let journal = killed.output().join(".state/box-1/journal");
    let mut kills = 0;
    // the instants: a file in the stage, a journal, a longer history
    for instant in 0.. {
        let length = || fs::metadata(&history).map_or(0, |m| m.len());
        let before = length();
        let mut child = Command::new(env!("CARGO_BIN_EXE_datacentre"))
            .arg("open")
            .arg("--cert")
            .arg(&options.certificate)
            .arg("--key")
            .arg(&options.key)
            .arg("--trust")
            .arg(&options.trust)
            .arg("--in")
            .arg(&options.input)
            .arg("--out")
            .arg(&options.output)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let reached = || match instant % 3 {
            0 => fs::read_dir(&stage).is_ok_and(|folder| folder.count() > 5 + instant % 17),
            1 => journal.exists(),
            _ => length() > before + 76 * (instant as u64 % 2),
        };
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if reached() {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
        };
        match status {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => kills += 1,
        }
        assert!(kills < 500, "no progress");
    }
    assert!(kills >= 5, "killed only {kills} times");
    assert!(killed.store() == calm.store(), "the stores differ");
    let kept = |scene: &Scene, folder| scene.below(folder);
    assert!(
        kept(&killed, ".versions") == kept(&calm, ".versions"),
        "the versions differ"
    );
    assert!(
        kept(&killed, ".removed") == kept(&calm, ".removed"),
        "what was removed differs"
    );
    assert!(killed.below(".state/box-1/parts").is_empty());
}
