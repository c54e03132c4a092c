//! Given a hospital whose share is exported over SMB and over NFS, and a box that collects all of its roots over both; when the
//! hospital lives a history that a seed draws (orders, updates and deletions by renaming, late, slow and torn writes, files
//! replaced in place, documents, monthly files, odd names, a clock that is set), while each server dies and returns, the
//! line is cut, a root vanishes or is empty, and the box's mains fail; then the hospital never waits for the box, whenever the hospital rests, what `datacentre
//! open` restored is its store twice, and by the manifests of all bundles every state was delivered as [`oracle`] says: none
//! half-written, none twice, none lost.
//!
//! `LAB_SEED=N` repeats a history: the same acts with the same pauses. What the machines make of them in between is
//! theirs. The usual run lives one history of [`SHORT`]; with `--full` it is [`HISTORIES`] of [`LONG`].
//!
//! Not here: files of old dates that are changed in place. The box looks for those once in `verify-days`, a day at the
//! least; the native property test has them.

mod oracle;
mod story;
mod told;

use super::{Depth, Outcome, must};
use crate::Inputs;
use crate::box_machine::Start;
use crate::guests::GuestError;
use crate::limits::{BOX_BOOTS, DEED, SHARE_NOTICED};
use crate::machine::LinkState;
use crate::nbd::Loss;
use crate::restore::Comparison;
use crate::rig::{Lab, LabError, Setting};
use crate::seed::{self, mix};
use crate::site_disc::{Root, SHARE, SiteDisc, root};
use hospital::live::Mark;
use lab_guest::{Action, Answer, Home, Service};
use oracle::Rest;
use std::time::{Duration, Instant};
use story::{Act, Chapter, FOLDERS};

const NAME: &str = "histories";
const FACILITY: &str = "1319999999";
const QUIET_MS: u64 = 2_000;

/// Chapters with trouble, and deeds in each.
struct Length {
    chapters: usize,
    deeds: u64,
}

const SHORT: Length = Length {
    chapters: 5,
    deeds: 9,
};
const LONG: Length = Length {
    chapters: 15,
    deeds: 30,
};
/// Histories of a full run, each of a seed of its own.
const HISTORIES: u64 = 4;

/// Names of the roots at the data centre, without the protocol, in the order of [`FOLDERS`].
const KINDS: [&str; FOLDERS.len()] = ["wards", "documents", "monthly", "claims", "feed"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Smb,
    Nfs,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Smb, Self::Nfs];

    fn word(self) -> &'static str {
        match self {
            Self::Smb => "smb",
            Self::Nfs => "nfs",
        }
    }
}

/// All roots, over either protocol.
const ROOTS: &[Root] = &[
    root("wards-smb", "ssmix2-standardized", "emr", "std"),
    root("documents-smb", "ssmix2-extended", "emr", "ext"),
    root("monthly-smb", "dpc", "emr", "dpc"),
    root("claims-smb", "receipt", "emr", "receipt"),
    root("feed-smb", "ssmix2-transaction", "emr", "tx"),
    root("wards-nfs", "ssmix2-standardized", "claims", "std"),
    root("documents-nfs", "ssmix2-extended", "claims", "ext"),
    root("monthly-nfs", "dpc", "claims", "dpc"),
    root("claims-nfs", "receipt", "claims", "receipt"),
    root("feed-nfs", "ssmix2-transaction", "claims", "tx"),
];

pub fn story(inputs: &Inputs, depth: Depth) -> Result<Outcome, LabError> {
    let first = seed::given_or_new();
    let (length, histories) = match depth {
        Depth::Short => (SHORT, 1),
        Depth::Full => (LONG, HISTORIES),
    };
    for number in 0..histories {
        let seed = if number == 0 {
            first
        } else {
            mix(first.wrapping_add(number)) >> 16
        };
        let full = if depth == Depth::Full { " --full" } else { "" };
        println!(
            "{NAME}: seed {seed} (LAB_SEED={seed} cargo xtask test vm {NAME}{full} repeats it)"
        );
        let chapters = story::draw(seed, length.chapters, length.deeds);
        let mut reached = 0;
        if let Err(error) = live(inputs, seed, &chapters, &mut reached) {
            println!("{NAME}: seed {seed} failed after this:");
            for chapter in &chapters[..reached] {
                print!("{chapter}");
            }
            return Err(error);
        }
    }
    Ok(Outcome::Passed)
}

/// Lives through a history and judges it. `reached` is the number of chapters that were begun.
fn live(
    inputs: &Inputs,
    seed: u64,
    chapters: &[Chapter],
    reached: &mut usize,
) -> Result<(), LabError> {
    let mut scene = Scene::open(inputs, seed)?;
    let mut rests = Vec::new();
    for chapter in chapters {
        *reached += 1;
        for step in &chapter.steps {
            scene.now_ms += step.pause_ms;
            scene.perform(&step.act)?;
        }
        let (rest, comparison) = scene.rest()?;
        println!(
            "{NAME}: {}: at {} s {comparison}",
            chapter.title,
            rest.at_ms / 1000
        );
        if rests.is_empty() {
            scene.nobody_would_wait_for_the_box()?;
        }
        rests.push(rest);
    }
    scene.judge(&rests)
}

/// A lab with a hospital that lives.
struct Scene {
    lab: Lab,
    /// The hospital's clock began then, by the clock of the box's log.
    begun: Duration,
    /// The hospital's clock after the last act.
    now_ms: u64,
}

impl Scene {
    fn open(inputs: &Inputs, seed: u64) -> Result<Self, LabError> {
        let setting = Setting {
            start: Start::Direct,
            roots: ROOTS,
            ..Setting::default()
        };
        let mut lab = Lab::start(inputs, NAME, &setting)?;
        let quiet_seconds = QUIET_MS / 1000;
        let disc = SiteDisc::collecting(&lab.pki, ROOTS)
            .with(
                "quiet-seconds = 1",
                &format!("quiet-seconds = {quiet_seconds}"),
            )
            .with(
                "period-seconds = 2",
                &format!("period-seconds = {}", 2 * quiet_seconds),
            );
        lab.commission(&disc, "histories")?;
        lab.hospital
            .agent
            .wait_until_up()
            .map_err(LabError::Agent)?;
        let begun = lab.collector.serial().clock();
        let home = Home {
            desk: "/srv/desk".into(),
            share: SHARE.into(),
            away: "/srv/away".into(),
            facility: FACILITY.to_owned(),
            roots: FOLDERS.map(Into::into).into(),
        };
        let mut scene = Self {
            lab,
            begun,
            now_ms: 0,
        };
        scene.ask(&Action::Live { home, seed })?;
        for service in [Service::Smb, Service::Nfs] {
            scene.ask(&Action::Start { service })?;
        }
        scene.lab.datacentre_opens()?;
        scene.lab.box_boots()?;
        scene
            .lab
            .collector
            .wait_for_line(BOX_BOOTS, "all roles ready")
            .map_err(LabError::Wait)?;
        Ok(scene)
    }

    fn ask(&mut self, action: &Action) -> Result<Vec<u8>, LabError> {
        let answered = self.lab.hospital.agent.ask(action, &[]);
        let (answer, payload) = answered.map_err(LabError::Agent)?;
        if let Answer::Lived { at_ms } = answer {
            self.now_ms = at_ms;
        }
        Ok(payload)
    }

    fn perform(&mut self, act: &Act) -> Result<(), LabError> {
        let lab = &mut self.lab;
        match *act {
            Act::Deed(deed) => {
                let at_ms = self.now_ms;
                let begun = Instant::now();
                self.ask(&Action::Deed { at_ms, deed })?;
                let waited = begun.elapsed();
                must(waited < DEED.duration, || {
                    let seconds = waited.as_secs();
                    format!("the hospital waited {seconds} s until it could do this: {act}")
                })
            }
            Act::Stop(service) => self.ask(&Action::Stop { service }).map(drop),
            Act::Start(service) => self.ask(&Action::Start { service }).map(drop),
            Act::CutLine => self.set_line(LinkState::Down),
            Act::JoinLine => self.set_line(LinkState::Up),
            Act::Hide { folder, empty } => {
                lab.collector.mark();
                let root = folder.into();
                self.ask(&Action::Hide { root, empty }).map(drop)
            }
            Act::Show { folder } => {
                for root in ROOTS.iter().filter(|root| root.path == folder) {
                    let missing = |event: &crate::events::Event| event.text("source") == root.name;
                    lab.collector
                        .wait_for(SHARE_NOTICED, "source-missing", missing)
                        .map_err(LabError::Wait)?;
                }
                let root = folder.into();
                self.ask(&Action::Show { root }).map(drop)
            }
            Act::CutMains { loss } => {
                let loss = Loss::Scattered { seed: loss };
                lab.collector
                    .cut_mains(loss)
                    .map(drop)
                    .map_err(LabError::Box)
            }
            Act::SwitchOn => lab.collector.power_on().map_err(LabError::Box),
        }
    }

    fn set_line(&mut self, state: LinkState) -> Result<(), LabError> {
        let line = self.lab.hospital.machine.set_link("lan", state);
        line.map_err(|source| LabError::Guest(GuestError::Machine(source)))
    }

    /// The hospital rests until everything has arrived.
    fn rest(&mut self) -> Result<(Rest, Comparison), LabError> {
        self.ask(&Action::Rest)?;
        self.lab.collector.mark();
        let comparison = self.lab.wait_until(Comparison::same)?;
        let bundle = comparison.bundles;
        let rest = Rest {
            at_ms: self.now_ms,
            bundle,
        };
        Ok((rest, comparison))
    }

    /// Whoever writes to a file of which the box has a delegation waits for the box, and for 90 s if it has gone.
    fn nobody_would_wait_for_the_box(&mut self) -> Result<(), LabError> {
        let answered = self.lab.hospital.agent.ask(&Action::Delegations, &[]);
        let (answer, _) = answered.map_err(LabError::Agent)?;
        must(answer == Answer::Delegations { count: 0 }, || {
            format!("the NFS server has given delegations to the box: {answer:?}")
        })
    }

    fn judge(&mut self, rests: &[Rest]) -> Result<(), LabError> {
        let marks = self.ask(&Action::Truth)?;
        let truth = self.lab.folder().join("truth.json");
        std::fs::write(&truth, &marks).map_err(|source| LabError::Folder {
            path: truth,
            source,
        })?;
        let marks: Vec<Mark> = serde_json::from_slice(&marks)
            .map_err(|error| LabError::Untrue(format!("the hospital's truth: {error}")))?;
        let entries = told::entries(&self.lab, self.begun)?;
        for protocol in Protocol::ALL {
            let told = entries.get(&protocol).map_or(&[][..], Vec::as_slice);
            let judged = oracle::judge(&marks, told, rests, QUIET_MS)
                .map_err(|what| LabError::Untrue(format!("over {}: {what}", protocol.word())))?;
            must(judged.bodies > 0 && judged.halves > 0, || {
                format!("the history was empty: {judged:?}")
            })?;
            println!(
                "{NAME}: over {}: {} states of files, {} of them half-written; {} contents, {} renames, {} removals delivered; {} half-written stood for the quiet time",
                protocol.word(),
                judged.states,
                judged.halves,
                judged.bodies,
                judged.renames,
                judged.removals,
                judged.stalled,
            );
        }
        Ok(())
    }
}
