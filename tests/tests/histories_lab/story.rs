//! A history as a value: what the hospital, the network, the mains and the sender do, in order. It is drawn by
//! `proptest`, shrinks by leaving things out, and reads as a story.

use collector::roles::intake::world::Step;
use hospital::live::{Deed, Manner};
use proptest::prelude::*;
use std::fmt;

/// Longest pause of a slow writer: shorter than the quiet time, or half a file would count as whole by rule.
pub const LONGEST_GAP_MS: u32 = 9_000;

/// How the root of a source is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hiding {
    /// The folder is not there.
    Gone,
    /// The folder is there and empty, also for whoever has it open.
    Empty,
}

/// Where the mains fail, counted from the beginning of the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At a step of the intake.
    Step(u8),
    /// In a changing operation of the spool's disk; the second number decides what of the unsynced survives.
    Disk(u8, u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Hospital(Deed),
    Hide(u8, Hiding),
    ShowAll,
    /// Somebody says that something changed where something once was written, or at a place that never was.
    Hint(u16),
    /// A receipt for one of the bundles that were sent, in any order.
    Receipt(u8),
    Wait(u16),
    /// The box stops in order and starts again.
    Restart,
    /// The box runs one round; meanwhile, at these steps, other things happen.
    Round {
        meanwhile: Vec<(u8, Act)>,
        cut: Option<Cut>,
    },
}

/// How the box lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Living {
    /// All sources are walked together, and then all that was found is durable.
    Rounds,
    /// Source by source, as by the threads of the box: the bundle in the making lingers over the ends of walks. At each such
    /// step of them, if one is named, it becomes old and is sealed by the thread that does so.
    Turns(Option<Step>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    pub seed: u16,
    pub living: Living,
    pub acts: Vec<Act>,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Hospital(deed) => write!(f, "the hospital {deed}"),
            Act::Hide(source, Hiding::Gone) => write!(f, "the root of source {source} vanishes"),
            Act::Hide(source, Hiding::Empty) => {
                write!(f, "the root of source {source} becomes empty")
            }
            Act::ShowAll => f.write_str("all roots are back"),
            Act::Hint(pick) => write!(f, "a hint comes (pick {pick})"),
            Act::Receipt(pick) => write!(f, "a receipt comes for a bundle (pick {pick})"),
            Act::Wait(seconds) => write!(f, "{seconds} s pass"),
            Act::Restart => f.write_str("the box is restarted"),
            Act::Round { meanwhile, cut } => {
                f.write_str("the box runs a round")?;
                for (step, act) in meanwhile {
                    write!(f, "\n     - at its step {step} {act}")?;
                }
                match cut {
                    None => Ok(()),
                    Some(Cut::Step(step)) => {
                        write!(f, "\n     - at its step {step} the mains fail")
                    }
                    Some(Cut::Disk(write, seed)) => write!(
                        f,
                        "\n     - at its disk operation {write} the mains fail (survival {seed})"
                    ),
                }
            }
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hospital of seed {}, {:?}:", self.seed, self.living)?;
        for (number, act) in (1..).zip(&self.acts) {
            writeln!(f, "{number:3}. {act}")?;
        }
        Ok(())
    }
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        6 => Just(Manner::AtOnce),
        3 => (2u8..5, 500..LONGEST_GAP_MS)
            .prop_map(|(pieces, gap_ms)| Manner::Slow { pieces, gap_ms }),
        1 => Just(Manner::Torn),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    let pick = 0u16..40;
    let two = || (0u16..40, manner());
    prop_oneof![
        6 => (0u16..40, any::<bool>(), manner())
            .prop_map(|(pick, late, manner)| Deed::Order { pick, late, manner }),
        4 => two().prop_map(|(pick, manner)| Deed::Update { pick, manner }),
        3 => two().prop_map(|(pick, manner)| Deed::Delete { pick, manner }),
        3 => (0u16..40, 1u8..4, manner())
            .prop_map(|(pick, files, manner)| Deed::Document { pick, files, manner }),
        2 => two().prop_map(|(pick, manner)| Deed::Supersede { pick, manner }),
        2 => pick.clone().prop_map(|pick| Deed::Withdraw { pick }),
        1 => two().prop_map(|(pick, manner)| Deed::Enclose { pick, manner }),
        2 => two().prop_map(|(pick, manner)| Deed::Replace { pick, manner }),
        1 => (0u16..40, 1u32..12, any::<bool>())
            .prop_map(|(pick, files, same)| Deed::Reoutput { pick, files, same }),
        1 => two().prop_map(|(pick, manner)| Deed::Dpc { pick, manner }),
        2 => two().prop_map(|(pick, manner)| Deed::Receipt { pick, manner }),
        1 => pick.clone().prop_map(|pick| Deed::Odd { pick }),
        2 => pick.clone().prop_map(|pick| Deed::Remove { pick }),
        1 => pick.prop_map(|pick| Deed::Discard { pick }),
        1 => Just(Deed::Mend),
        1 => (-7200i32..7200).prop_map(|seconds| Deed::Skew { seconds }),
    ]
}

fn hiding() -> impl Strategy<Value = Act> {
    (0u8..5, prop_oneof![Just(Hiding::Gone), Just(Hiding::Empty)])
        .prop_map(|(source, hiding)| Act::Hide(source, hiding))
}

fn meanwhile() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => deed().prop_map(Act::Hospital),
        1 => hiding(),
        1 => Just(Act::ShowAll),
        2 => any::<u16>().prop_map(Act::Hint),
        1 => any::<u8>().prop_map(Act::Receipt),
    ]
}

fn round() -> impl Strategy<Value = Act> {
    let cut = prop_oneof![
        5 => Just(None),
        1 => (0u8..80).prop_map(|step| Some(Cut::Step(step))),
        1 => (0u8..12, any::<u8>()).prop_map(|(write, seed)| Some(Cut::Disk(write, seed))),
    ];
    (prop::collection::vec((0u8..80, meanwhile()), 0..4), cut)
        .prop_map(|(meanwhile, cut)| Act::Round { meanwhile, cut })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => deed().prop_map(Act::Hospital),
        7 => round(),
        1 => hiding(),
        1 => Just(Act::ShowAll),
        2 => any::<u16>().prop_map(Act::Hint),
        1 => any::<u8>().prop_map(Act::Receipt),
        1 => (1u16..100).prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ]
}

fn living() -> impl Strategy<Value = Living> {
    prop_oneof![
        6 => Just(Living::Rounds),
        1 => Just(Living::Turns(None)),
        1 => Just(Living::Turns(Some(Step::FileRead))),
        1 => Just(Living::Turns(Some(Step::Gone))),
    ]
}

/// Histories of up to 30 acts.
pub fn story() -> impl Strategy<Value = Story> {
    let acts = prop::collection::vec(act(), 1..31);
    (0u16..1000, living(), acts).prop_map(|(seed, living, acts)| Story { seed, living, acts })
}
