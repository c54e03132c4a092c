//! The box's trusted time ends the use of keys: what a recipient's certificate no longer allows is not sealed, and
//! waits in the hospital instead of being lost.

mod intake_lab;

use collector::roles::intake::world::Step;
use intake_lab::Lab;

/// 2031-01-01T00:00:00Z
const STRENGTH_112_END: u64 = 1_924_992_000;

#[test]
fn from_2031_a_box_with_a_weak_recipient_pauses_says_what_to_do_and_loses_nothing() {
    // given a recipient of 2048 bits, the first second of 2031, and an operator who acts while the box waits
    let lab = Lab::new();
    for order in 0..5 {
        lab.write(&format!("dpc/FF1_12345678{order}_2405.txt"), b"record");
    }
    let mut intake = lab.boot().unwrap();
    let outside = lab.outside.clone();
    outside.set_clock(STRENGTH_112_END);
    let mut waits = 0;
    let operator = lab.outside.clone();
    lab.meanwhile(move |step| {
        if matches!(step, Step::Waiting) {
            waits += 1;
            if waits == 3 {
                operator.set_clock(STRENGTH_112_END - 1);
            }
        }
    });
    // when it collects
    lab.rounds(&mut intake, 2).unwrap();
    // then it paused once with a reason for the operator, and the last second of 2030 is good enough
    let paused = outside.events("collecting-paused");
    assert_eq!(paused.len(), 1);
    let reason = paused[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains(
            "takes no new bundle after 2030-12-31; use a certificate with at least 3072 bits"
        ),
        "{reason}"
    );
    assert_eq!(outside.events("collecting-resumed").len(), 1);
    assert_eq!(lab.open_identical(&[], "resumed").files, 5);
}
