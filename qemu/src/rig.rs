//! The whole lab of one scenario: three machines, their cables, their certificates, and the verbs of a story.
//!
//! 1. A run has one folder below `target/lab/`, with every log, capture and disc; it is emptied when the run starts.
//! 2. The guests boot at once, side by side; the box is switched on when the story says so.

use crate::accel;
use crate::agent::AgentError;
use crate::box_machine::{BoxError, BoxMachine, OUTSIDE, Start};
use crate::events::Event;
use crate::guest_image::{self, ImageError};
use crate::guests::{self, Guest, GuestError, Places, RECEIVED, RIGHT, Shown};
use crate::limits::{BOX_BOOTS, DELIVERY, Limit, TUNNEL_COMES_UP};
use crate::machine::LinkState;
use crate::network::cable;
use crate::pki::{BOX, Pki};
use crate::process::ProcessError;
use crate::restore::{Comparison, RestoreError, Restorer};
use crate::serial::WaitError;
use crate::site_disc::{DiscError, ROOTS, Root, SHARE, SiteDisc};
use crate::state_image::StateImageError;
use crate::{Inputs, pcap};
use lab_guest::{Action, Answer, Service};
use std::io;
use std::path::{Path, PathBuf};

/// Events that a story waits for.
pub const TUNNEL_UP: &str = "tunnel-up";
pub const DELIVERED: &str = "delivered";

/// What a scenario wants different from the usual.
#[derive(Clone, Debug)]
pub struct Setting {
    pub start: Start,
    pub shown: Shown,
    /// A disk image other than the shipped one.
    pub disk: Option<PathBuf>,
    /// What the box collects.
    pub roots: &'static [Root],
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            start: Start::Direct,
            shown: RIGHT,
            disk: None,
            roots: ROOTS,
        }
    }
}

/// An empty folder for the run, and one for its sockets.
fn run_folder(inputs: &Inputs, name: &str) -> Result<(PathBuf, tempfile::TempDir), LabError> {
    let run = inputs.target.join("lab").join(name);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LabError::Folder { path, source }
    };
    if run.exists() {
        std::fs::remove_dir_all(&run).map_err(failed(&run))?;
    }
    std::fs::create_dir_all(&run).map_err(failed(&run))?;
    // Socket paths have at most 107 bytes: the run folder's own may be too long.
    let sockets = tempfile::Builder::new()
        .prefix("lab-")
        .tempdir()
        .map_err(failed(&run))?;
    Ok((run, sockets))
}

/// A box alone, with cables that lead nowhere.
pub struct Lonely {
    pub collector: BoxMachine,
    pub pki: Pki,
    run: PathBuf,
    // The sockets vanish last.
    _sockets: tempfile::TempDir,
}

impl Lonely {
    /// Prepares a box without a disc; it stays off.
    pub fn new(inputs: &Inputs, name: &str) -> Result<Self, LabError> {
        let (run, sockets) = run_folder(inputs, name)?;
        let pki = Pki::make(&inputs.programs.datacentre, run.join("pki")).map_err(LabError::Pki)?;
        let ends = (
            cable(sockets.path(), "lan").1,
            cable(sockets.path(), "wan").1,
        );
        let disk = &inputs.image.disk;
        let collector = BoxMachine::new(
            inputs,
            Start::Direct,
            disk,
            &run,
            sockets.path(),
            ends,
            accel::best(),
        )
        .map_err(LabError::Box)?;
        Ok(Self {
            collector,
            pki,
            run,
            _sockets: sockets,
        })
    }

    /// Puts this disc into the drive for the next power-on.
    pub fn commission(&mut self, disc: &SiteDisc, name: &str) -> Result<(), LabError> {
        let image = disc.burn(&self.run, name).map_err(LabError::Disc)?;
        self.collector.load_disc(&image);
        Ok(())
    }
}

/// A hospital, a data centre and a box.
pub struct Lab {
    pub hospital: Guest,
    pub datacentre: Guest,
    pub collector: BoxMachine,
    pub pki: Pki,
    run: PathBuf,
    restorer: Restorer,
    // The sockets vanish last.
    _sockets: tempfile::TempDir,
}

impl Lab {
    /// Prepares everything and switches the two guests on; the box stays off.
    pub fn start(inputs: &Inputs, name: &str, setting: &Setting) -> Result<Self, LabError> {
        let (run, sockets) = run_folder(inputs, name)?;
        let accelerator = accel::best();
        let pki = Pki::make(&inputs.programs.datacentre, run.join("pki")).map_err(LabError::Pki)?;
        let image = guest_image::build(
            &inputs.guest_root,
            &inputs.programs.lab_guest,
            &inputs.cache,
            &run,
        )
        .map_err(LabError::Image)?;
        let (lan_hospital, lan_box) = cable(sockets.path(), "lan");
        let (wan_gateway, wan_box) = cable(sockets.path(), "wan");
        let places = Places {
            run: &run,
            sockets: sockets.path(),
        };
        let hospital = Guest::start(
            guests::hospital(),
            &image,
            lan_hospital,
            &places,
            accelerator,
        )
        .map_err(LabError::Guest)?;
        let kind = guests::datacentre(
            &pki,
            setting.shown,
            &inputs.charon,
            &inputs.programs.datacentre,
        );
        let datacentre = Guest::start(kind, &image, wan_gateway, &places, accelerator)
            .map_err(LabError::Guest)?;
        let disk = setting.disk.as_ref().unwrap_or(&inputs.image.disk);
        let ends = (lan_box, wan_box);
        let mut collector = BoxMachine::new(
            inputs,
            setting.start,
            disk,
            &run,
            sockets.path(),
            ends,
            accelerator,
        )
        .map_err(LabError::Box)?;
        collector.load_disc(
            &SiteDisc::collecting(&pki, setting.roots)
                .burn(&run, "site")
                .map_err(LabError::Disc)?,
        );
        let restorer = Restorer::new(inputs, &pki, &run, setting.roots);
        Ok(Self {
            hospital,
            datacentre,
            collector,
            pki,
            run,
            restorer,
            _sockets: sockets,
        })
    }

    /// The folder with everything that this run leaves behind.
    pub fn folder(&self) -> &Path {
        &self.run
    }

    /// The hospital's share holds a generated store, and is exported by both protocols. Gives the planted markers.
    pub fn hospital_opens_with(
        &mut self,
        seed: u64,
        files: u64,
        markers: u64,
    ) -> Result<Vec<String>, LabError> {
        self.hospital
            .agent
            .wait_until_up()
            .map_err(LabError::Agent)?;
        let action = Action::Generate {
            folder: SHARE.into(),
            seed,
            files,
            markers,
        };
        let (_, text) = self
            .hospital
            .agent
            .ask(&action, &[])
            .map_err(LabError::Agent)?;
        for root in ROOTS {
            let action = Action::MakeFolder {
                path: Path::new(SHARE).join(root.path),
            };
            self.hospital
                .agent
                .ask(&action, &[])
                .map_err(LabError::Agent)?;
        }
        for service in [Service::Smb, Service::Nfs] {
            self.hospital
                .agent
                .start(service)
                .map_err(LabError::Agent)?;
        }
        Ok(String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// The data centre's tunnel end, clock and receiver run.
    pub fn datacentre_opens(&mut self) -> Result<(), LabError> {
        self.datacentre
            .agent
            .wait_until_up()
            .map_err(LabError::Agent)?;
        for service in [Service::Receive, Service::Time, Service::Tunnel] {
            self.datacentre
                .agent
                .start(service)
                .map_err(LabError::Agent)?;
        }
        Ok(())
    }

    /// The data centre shows these certificates from now on.
    pub fn datacentre_shows(&mut self, shown: Shown) -> Result<(), LabError> {
        for (name, made) in [("gateway", shown.gateway), ("receiver", shown.receiver)] {
            for ending in ["pem", "key"] {
                let file = self.pki.file(&format!("{made}.{ending}"));
                let content = std::fs::read(&file)
                    .map_err(|source| LabError::Folder { path: file, source })?;
                let place = Path::new(lab_guest::SETTINGS).join(format!("{name}.{ending}"));
                self.datacentre
                    .agent
                    .write(&place, &content)
                    .map_err(LabError::Agent)?;
            }
        }
        for service in [Service::Receive, Service::Tunnel] {
            self.datacentre
                .agent
                .start(service)
                .map_err(LabError::Agent)?;
        }
        Ok(())
    }

    /// Puts this disc into the box's drive for the next power-on.
    pub fn commission(&mut self, disc: &SiteDisc, name: &str) -> Result<(), LabError> {
        let image = disc.burn(&self.run, name).map_err(LabError::Disc)?;
        self.collector.load_disc(&image);
        Ok(())
    }

    /// The data centre opens with this recipient's key: a name that `datacentre ca` gives.
    pub fn open_with(&mut self, recipient: &str) {
        self.restorer.use_recipient(&self.pki, recipient);
    }

    /// The hospital's system goes on writing: new, changed and removed files.
    pub fn hospital_writes(&mut self, seed: u64, changes: u64) -> Result<Answer, LabError> {
        let action = Action::Change {
            folder: SHARE.into(),
            seed,
            changes,
        };
        self.hospital
            .agent
            .ask(&action, &[])
            .map(|(answer, _)| answer)
            .map_err(LabError::Agent)
    }

    pub fn box_boots(&mut self) -> Result<(), LabError> {
        self.collector.power_on().map_err(LabError::Box)?;
        self.wait_for(BOX_BOOTS, "boot").map(drop)
    }

    pub fn tunnel_comes_up(&mut self) -> Result<Event, LabError> {
        self.wait_for(TUNNEL_COMES_UP, TUNNEL_UP)
    }

    pub fn wait_for(&self, limit: Limit, name: &str) -> Result<Event, LabError> {
        self.collector
            .wait_for(limit, name, |_| true)
            .map_err(LabError::Wait)
    }

    /// The line to the data centre is cut on its far side: the box's own card keeps its carrier.
    pub fn set_outside_line(&mut self, state: LinkState) -> Result<(), LabError> {
        self.datacentre
            .machine
            .set_link(OUTSIDE, state)
            .map_err(|source| LabError::Guest(GuestError::Machine(source)))
    }

    /// Opens everything that the data centre has received and compares it with the hospital's store as it is now.
    pub fn compare(&mut self) -> Result<Comparison, LabError> {
        let received = Path::new(RECEIVED).join(BOX);
        let bundles = match self
            .datacentre
            .agent
            .ask(&Action::Pack { folder: received }, &[])
        {
            Ok((_, archive)) => archive,
            // Nothing has come yet, so the box has no folder there.
            Err(AgentError::Failed { .. }) => Vec::new(),
            Err(other) => return Err(LabError::Agent(other)),
        };
        let lines = self
            .hospital
            .agent
            .digest(Path::new(SHARE))
            .map_err(LabError::Agent)?;
        self.restorer
            .compare(&bundles, &lines)
            .map_err(LabError::Restore)
    }

    /// Waits until the restored store equals the hospital's; looks after each delivery.
    pub fn wait_until_restored(&mut self) -> Result<Comparison, LabError> {
        self.wait_until(Comparison::complete)
    }

    /// Waits until a comparison of both stores is so; looks after each delivery.
    pub fn wait_until(&mut self, so: impl Fn(&Comparison) -> bool) -> Result<Comparison, LabError> {
        let mut seen = 0;
        loop {
            let comparison = self.compare()?;
            if so(&comparison) {
                return Ok(comparison);
            }
            let delivered = |events: &[Event]| {
                events
                    .iter()
                    .filter(|event| event.name == DELIVERED)
                    .count()
            };
            let now = delivered(&self.collector.events());
            if now > seen {
                seen = now;
                continue;
            }
            let mut count = 0;
            let next = self.collector.serial().wait_for(
                self.collector.since(),
                DELIVERY,
                "one more bundle delivered",
                |line| {
                    let is_one = Event::in_line(line).is_some_and(|event| event.name == DELIVERED);
                    count += usize::from(is_one);
                    (is_one && count > seen).then_some(())
                },
            );
            match next {
                Ok(_) => seen += 1,
                Err(source) => {
                    let (comparison, source) = (Box::new(comparison), Box::new(source));
                    return Err(LabError::NotRestored { comparison, source });
                }
            }
        }
    }

    /// Everything that was seen on the box's outside interface since the first power-on.
    pub fn outside(&self) -> Result<pcap::Census, LabError> {
        let mut census = pcap::Census::default();
        for capture in self.collector.captures() {
            census.add_file(capture).map_err(LabError::Capture)?;
        }
        Ok(census)
    }
}

/// A story stopped here.
#[derive(Debug)]
pub enum LabError {
    Folder {
        path: PathBuf,
        source: io::Error,
    },
    Pki(ProcessError),
    Image(ImageError),
    Disc(DiscError),
    Guest(GuestError),
    Agent(AgentError),
    Box(BoxError),
    Wait(WaitError),
    Capture(pcap::CaptureError),
    Restore(RestoreError),
    StateImage(StateImageError),
    NotRestored {
        comparison: Box<Comparison>,
        source: Box<WaitError>,
    },
    /// The story went its way and ended wrongly.
    Untrue(String),
}

impl std::fmt::Display for LabError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder { path, .. } => write!(f, "cannot use the folder {}", path.display()),
            Self::Pki(_) => write!(f, "cannot make certificates"),
            Self::Image(_) => write!(f, "cannot make the guests' image"),
            Self::Disc(_) => write!(f, "cannot make the commissioning disc"),
            Self::Guest(_) => write!(f, "a guest failed"),
            Self::Agent(_) => write!(f, "a guest's agent failed"),
            Self::Box(_) => write!(f, "the box cannot be handled"),
            Self::Wait(source) => source.fmt(f),
            Self::Capture(_) => write!(f, "the capture cannot be read"),
            Self::Restore(_) => write!(f, "what was received cannot be opened"),
            Self::StateImage(_) => write!(f, "cannot make a disk with little room"),
            Self::NotRestored { comparison, .. } => {
                write!(f, "the restored store is not the hospital's ({comparison})")
            }
            Self::Untrue(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { source, .. } => Some(source),
            Self::Pki(source) => Some(source),
            Self::Image(source) => Some(source),
            Self::Disc(source) => Some(source),
            Self::Guest(source) => Some(source),
            Self::Agent(source) => Some(source),
            Self::Box(source) => Some(source),
            Self::Capture(source) => Some(source),
            Self::Restore(source) => Some(source),
            Self::StateImage(source) => Some(source),
            Self::NotRestored { source, .. } => Some(source.as_ref()),
            Self::Wait(_) | Self::Untrue(_) => None,
        }
    }
}
