//! A history as a value: chapters of what the hospital, its servers, its line and the box's mains do, drawn from a seed.
//! Deeds and their shares are those of the native property test (`tests/tests/histories.rs`); what fails here is real.

use crate::seed::Seeded;
use hospital::live::{Deed, Manner};
use lab_guest::Service;
use std::fmt;

/// Longest pause of a slow writer, a fifth of the quiet time: a busy host must not make a half-written file stand still.
const LONGEST_GAP_MS: u64 = 400;
/// Longest pause between two acts.
const LONGEST_PAUSE_MS: u64 = 700;

/// Roots of the hospital, as folders of its share.
pub const FOLDERS: [&str; 5] = ["std", "ext", "dpc", "receipt", "tx"];

/// What happens at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Deed(Deed),
    /// SIGKILL, and no farewell to the clients.
    Stop(Service),
    Start(Service),
    CutLine,
    JoinLine,
    /// A root is gone from the share, or with `empty` an empty folder.
    Hide {
        folder: &'static str,
        empty: bool,
    },
    /// It is back, once the box has said over both protocols that it misses it.
    Show {
        folder: &'static str,
    },
    CutMains {
        loss: u64,
    },
    SwitchOn,
}

/// An act and the pause before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub pause_ms: u64,
    pub act: Act,
}

/// Steps after which the hospital rests until everything has arrived.
pub struct Chapter {
    pub title: &'static str,
    pub steps: Vec<Step>,
}

/// What goes wrong in a chapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Server(Service),
    Line,
    Hidden,
    Mains,
}

const TROUBLES: [Trouble; 5] = [
    Trouble::Server(Service::Smb),
    Trouble::Server(Service::Nfs),
    Trouble::Line,
    Trouble::Hidden,
    Trouble::Mains,
];

/// A quiet chapter, so many with trouble (each kind once before any comes twice), and one deed to the last of which the
/// box must have walked through everything again.
pub fn draw(seed: u64, chapters: usize, deeds: u64) -> Vec<Chapter> {
    let mut choices = Seeded::new(seed);
    let mut first = chapter(&mut choices, Trouble::None, deeds);
    let stock = stock().map(|deed| step(&mut choices, Act::Deed(deed)));
    first.steps.splice(0..0, stock);
    let mut story = vec![first];
    let mut left = Vec::new();
    for _ in 0..chapters {
        if left.is_empty() {
            left = TROUBLES.to_vec();
        }
        let pick = choices.between(0, left.len() as u64 - 1) as usize;
        let trouble = left.swap_remove(pick);
        story.push(chapter(&mut choices, trouble, deeds));
    }
    let deed = Deed::Order {
        pick: 0,
        late: false,
        manner: Manner::AtOnce,
    };
    story.push(Chapter {
        title: "one more deed",
        steps: vec![step(&mut choices, Act::Deed(deed))],
    });
    story
}

/// Something for the others to be done to.
fn stock() -> [Deed; 4] {
    let order = |pick| Deed::Order {
        pick,
        late: false,
        manner: Manner::AtOnce,
    };
    let document = Deed::Document {
        pick: 2,
        files: 3,
        manner: Manner::AtOnce,
    };
    [order(0), order(1), order(2), document]
}

fn chapter(choices: &mut Seeded, trouble: Trouble, deeds: u64) -> Chapter {
    let begins = choices.between(1, deeds / 3);
    let ends = choices.between(begins + 2, deeds - 1);
    let (title, begin, end) = what_happens(choices, trouble);
    let mut steps = Vec::new();
    for number in 0..deeds {
        if number == begins {
            steps.extend(begin.iter().map(|act| step(choices, *act)));
        }
        if number == ends {
            steps.extend(end.iter().map(|act| step(choices, *act)));
        }
        let deed = draw_deed(choices);
        steps.push(step(choices, Act::Deed(deed)));
        if is_torn(&deed) {
            // half a file that stands for the quiet time counts as whole by rule
            steps.push(Step {
                pause_ms: choices.between(50, LONGEST_GAP_MS),
                act: Act::Deed(Deed::Mend),
            });
        }
    }
    Chapter { title, steps }
}

/// Acts that begin and end a trouble.
fn what_happens(choices: &mut Seeded, trouble: Trouble) -> (&'static str, Vec<Act>, Vec<Act>) {
    match trouble {
        Trouble::None => ("nothing goes wrong", vec![], vec![]),
        Trouble::Server(service) => (
            if service == Service::Smb {
                "the SMB server dies"
            } else {
                "the NFS server dies"
            },
            vec![Act::Stop(service)],
            vec![Act::Start(service)],
        ),
        Trouble::Line => {
            // written and left half-written while nobody can see it, completed just in time
            let torn = Deed::Order {
                pick: choices.between(0, 39) as u16,
                late: false,
                manner: Manner::Torn,
            };
            (
                "the line to the hospital is cut",
                vec![Act::CutLine, Act::Deed(torn)],
                vec![Act::Deed(Deed::Mend), Act::JoinLine],
            )
        }
        Trouble::Hidden => {
            // an empty root counts as missing only where files are known: there are always orders
            let (folder, empty) = match choices.between(0, 3) {
                0 => ("ext", false),
                1 => ("std", false),
                _ => ("std", true),
            };
            (
                if empty {
                    "a root is empty for a while"
                } else {
                    "a root is gone for a while"
                },
                vec![Act::Hide { folder, empty }],
                vec![Act::Show { folder }],
            )
        }
        Trouble::Mains => {
            let loss = choices.between(0, u64::MAX - 1);
            (
                "the mains of the box are cut",
                vec![Act::CutMains { loss }],
                vec![Act::SwitchOn],
            )
        }
    }
}

fn step(choices: &mut Seeded, act: Act) -> Step {
    Step {
        pause_ms: choices.between(50, LONGEST_PAUSE_MS),
        act,
    }
}

fn manner(choices: &mut Seeded) -> Manner {
    match choices.between(0, 9) {
        0..6 => Manner::AtOnce,
        6..9 => Manner::Slow {
            pieces: choices.between(2, 4) as u8,
            gap_ms: choices.between(50, LONGEST_GAP_MS) as u32,
        },
        _ => Manner::Torn,
    }
}

fn is_torn(deed: &Deed) -> bool {
    matches!(
        deed,
        Deed::Order { manner, .. }
            | Deed::Update { manner, .. }
            | Deed::Delete { manner, .. }
            | Deed::Document { manner, .. }
            | Deed::Supersede { manner, .. }
            | Deed::Enclose { manner, .. }
            | Deed::Replace { manner, .. }
            | Deed::Dpc { manner, .. }
            | Deed::Receipt { manner, .. }
            if *manner == Manner::Torn
    )
}

fn draw_deed(choices: &mut Seeded) -> Deed {
    let pick = choices.between(0, 39) as u16;
    let manner = manner(choices);
    match choices.between(0, 32) {
        0..6 => Deed::Order {
            pick,
            late: choices.between(0, 1) == 1,
            manner,
        },
        6..10 => Deed::Update { pick, manner },
        10..13 => Deed::Delete { pick, manner },
        13..16 => Deed::Document {
            pick,
            files: choices.between(1, 3) as u8,
            manner,
        },
        16..18 => Deed::Supersede { pick, manner },
        18..20 => Deed::Withdraw { pick },
        20 => Deed::Enclose { pick, manner },
        21..23 => Deed::Replace { pick, manner },
        23 => Deed::Reoutput {
            pick,
            files: choices.between(1, 11) as u32,
            same: choices.between(0, 1) == 1,
        },
        24 => Deed::Dpc { pick, manner },
        25..27 => Deed::Receipt { pick, manner },
        27 => Deed::Odd { pick },
        28..30 => Deed::Remove { pick },
        30 => Deed::Discard { pick },
        31 => Deed::Mend,
        _ => Deed::Skew {
            seconds: choices.between(0, 14_400) as i32 - 7200,
        },
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Deed(deed) => write!(f, "the hospital {deed}"),
            Act::Stop(service) => write!(f, "the {service:?} server is killed"),
            Act::Start(service) => write!(f, "the {service:?} server starts"),
            Act::CutLine => f.write_str("the hospital's line is cut"),
            Act::JoinLine => f.write_str("the hospital's line is whole again"),
            Act::Hide {
                folder,
                empty: false,
            } => write!(f, "root {folder} vanishes from the share"),
            Act::Hide {
                folder,
                empty: true,
            } => write!(f, "root {folder} is empty"),
            Act::Show { folder } => write!(f, "root {folder} is back"),
            Act::CutMains { loss } => write!(f, "the box's mains are cut (loss {loss})"),
            Act::SwitchOn => f.write_str("the box is switched on"),
        }
    }
}

impl fmt::Display for Chapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.title)?;
        for step in &self.steps {
            writeln!(f, "  {:4} ms later {}", step.pause_ms, step.act)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_has_each_trouble_and_ends_it_and_is_the_same_from_its_seed() {
        for seed in 0..200 {
            let story = draw(seed, 5, 9);
            let text: String = story.iter().map(Chapter::to_string).collect();
            assert_eq!(
                text,
                draw(seed, 5, 9)
                    .iter()
                    .map(Chapter::to_string)
                    .collect::<String>()
            );
            let count = |wanted: fn(&Act) -> bool| {
                let steps = story.iter().flat_map(|chapter| &chapter.steps);
                steps.filter(|step| wanted(&step.act)).count()
            };
            assert_eq!(count(|act| matches!(act, Act::Stop(_))), 2, "{text}");
            assert_eq!(count(|act| matches!(act, Act::Start(_))), 2, "{text}");
            for wanted in [
                |act: &Act| matches!(act, Act::CutLine),
                |act: &Act| matches!(act, Act::JoinLine),
                |act: &Act| matches!(act, Act::Hide { .. }),
                |act: &Act| matches!(act, Act::Show { .. }),
                |act: &Act| matches!(act, Act::CutMains { .. }),
                |act: &Act| matches!(act, Act::SwitchOn),
            ] {
                assert_eq!(count(wanted), 1, "{text}");
            }
        }
    }
}
