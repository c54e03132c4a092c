//! Whatever the text, the check ends with a plan or with faults that have a place; it never panics.

mod config_disc;

use config_disc::{EXAMPLE, FILES};
use proptest::prelude::*;
use site::check;

fn judged(text: &str) {
    if let Err(faults) = check(text, &FILES) {
        assert!(faults.count() > 0);
        let lines = text.matches('\n').count() + 1;
        for fault in faults.iter() {
            assert!(
                fault.line >= 1 && fault.line <= lines && fault.column >= 1,
                "{fault}"
            );
            assert!(
                !fault.to_string().chars().any(char::is_control),
                "{fault:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        judged(&text);
    }

    #[test]
    fn text_that_looks_like_toml_is_judged(text in "([a-z\\[\\]\"'=.{}# \n\\\\0-9:+-]|é|日){0,400}") {
        judged(&text);
    }

    #[test]
    fn the_example_with_a_passage_overwritten_is_judged(
        at in 0..EXAMPLE.len(), length in 0..64_usize, with in "[a-z\\[\\]\"=.\n/0-9 日]{0,16}"
    ) {
        let end = (at + length).min(EXAMPLE.len());
        judged(&format!("{}{with}{}", &EXAMPLE[..at], &EXAMPLE[end..]));
    }

    #[test]
    fn the_example_with_a_line_moved_or_lost_is_judged(from in 0..130_usize, to in 0..130_usize) {
        let mut lines: Vec<_> = EXAMPLE.lines().collect();
        let line = lines.remove(from % lines.len());
        if to < 100 {
            lines.insert(to % lines.len(), line);
        }
        judged(&lines.join("\n"));
    }
}
