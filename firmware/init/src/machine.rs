//! PID 1's loop: waits for an event, lets the state machines decide, does what they say.
//!
//! 1. One thread, one place that waits ([`Machine::wait`]), and it waits for nobody in particular.
//! 2. The hardware watchdog is petted from this loop alone, so that it proves that this loop turns.
//! 3. Nothing here may panic: PID 1's end is the kernel's panic, which restarts the box after ten seconds.

use crate::roles::{ROLES, Readiness};
use crate::shares::{self, Errand, Shares};
use crate::supervise::{Action, Ending, Event, Millis, Pid, Supervisor};
use crate::{boot, disc, errand, folders, log, network, notify, state_disk, status, stop};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use sys::power::{self, Button, End};
use sys::watchdog::Watchdog;

/// Asked of the hardware. Six missed turns of the loop.
const WATCHDOG_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait of the loop.
const TURN: Millis = 10_000;
/// Until the network is tried again where a card was missing: doubled each time up to the longest, because each try
/// says again what is missing.
const SHORTEST_NETWORK_REST: Millis = 2_000;
const LONGEST_NETWORK_REST: Millis = 60_000;
/// From the request to end until the end is forced, whatever still runs.
const STOP_LIMIT: Millis = 20_000;

struct Machine {
    supervisor: Supervisor,
    shares: Shares,
    share_names: Vec<String>,
    events: VecDeque<Event>,
    network: Network,
    network_rest: Millis,
    listener: notify::Listener,
    signals: SignalFd,
    buttons: Vec<Button>,
    watchdog: Option<Watchdog>,
    ending: Option<(End, Millis)>,
    published: String,
}

/// The errand of the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    /// No plan yet, or all done.
    Idle,
    Running(Pid),
    RetryAt(Millis),
}

fn now() -> Millis {
    let time = clock_gettime(ClockId::Monotonic);
    Millis::try_from(time.tv_sec).unwrap_or(0) * 1000
        + Millis::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// PID 1.
pub fn run() -> ! {
    log::line(&format!("started at {} ms", now()));
    if let Err(error) = boot::file_systems() {
        stop::hopeless(&error, None);
    }
    let watchdog = open_watchdog();
    boot::settings();
    boot::refuse_usb();
    boot::floor_clock();
    if let Err(error) = power::ignore_keyboard_restart() {
        log::line(&format!("ctrl-alt-del still restarts the box: {error}"));
    }
    if let Err(error) = network::close() {
        // no card is started later either: the network's errand sets the filter first
        log::line(&format!("packet filter: {}", log::chain(&error)));
    }
    if let Err(error) = folders::make(folders::RUN) {
        stop::hopeless(&error, watchdog);
    }
    match state_disk::mount() {
        Ok(device) => log::line(&format!("state is {}", device.display())),
        Err(error) => stop::hopeless(&error, watchdog),
    }
    if let Err(error) = folders::make(folders::STATE) {
        // a full or damaged disk: roles that can work do, and say what they miss
        log::error(&error);
    }
    boot::hand_over_devices();
    keep_tunnel_namespace();
    match Machine::new(watchdog) {
        Ok(machine) => machine.serve(),
        Err(error) => stop::hopeless(&error, None),
    }
}

fn open_watchdog() -> Option<Watchdog> {
    match Watchdog::open(Path::new("/dev/watchdog0"), WATCHDOG_TIMEOUT) {
        Ok((watchdog, chosen)) => {
            let seconds = chosen.map_or("unknown".to_owned(), |time| time.as_secs().to_string());
            log::line(&format!("hardware watchdog armed, seconds: {seconds}"));
            Some(watchdog)
        }
        Err(error) => {
            log::line(&format!("no hardware watchdog: {error}"));
            None
        }
    }
}

/// The one errand that is waited for: it asks nothing but the kernel.
fn keep_tunnel_namespace() {
    let result = errand::start(&["tunnel-namespace"]).and_then(|mut errand| errand.wait());
    match result {
        Ok(status) if status.success() => {}
        Ok(status) => log::line(&format!("the tunnel has no network of its own: {status}")),
        Err(error) => log::line(&format!("the tunnel has no network of its own: {error}")),
    }
}

impl Machine {
    fn new(watchdog: Option<Watchdog>) -> std::io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGPWR,
        ] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            supervisor: Supervisor::new(ROLES),
            shares: Shares::default(),
            share_names: Vec::new(),
            events: VecDeque::new(),
            network: Network::Idle,
            network_rest: SHORTEST_NETWORK_REST,
            listener: notify::Listener::open()?,
            signals,
            buttons: buttons(),
            watchdog,
            ending: None,
            published: String::new(),
        })
    }

    fn serve(mut self) -> ! {
        loop {
            self.events.push_back(Event::Tick);
            while let Some(event) = self.events.pop_front() {
                for action in self.supervisor.handle(now(), event) {
                    self.act(action);
                }
            }
            self.tend_shares();
            self.tend_network();
            self.publish();
            if let Some((how, limit)) = self.ending
                && now() >= limit
            {
                log::line("not everything ended in time");
                stop::finish(how, &self.share_names);
            }
            self.wait();
            if let Some(watchdog) = &mut self.watchdog
                && let Err(error) = watchdog.pet()
            {
                log::line(&format!("cannot pet the hardware watchdog: {error}"));
            }
            self.reap();
            while let Some((pid, message)) = self.listener.next() {
                self.events.extend(notify::events(pid, &message));
            }
        }
    }

    /// Waits until something happens or is due.
    fn wait(&mut self) {
        let retry = match self.network {
            Network::RetryAt(at) => Some(at),
            Network::Idle | Network::Running(_) => None,
        };
        let limit = self.ending.map(|(_, limit)| limit);
        let due = [self.supervisor.next(), self.shares.next(), retry, limit];
        let now = now();
        let time = due
            .into_iter()
            .flatten()
            .map(|at| at.saturating_sub(now))
            .min()
            .unwrap_or(TURN)
            .min(TURN);
        let timeout = Timespec {
            tv_sec: (time / 1000) as i64,
            tv_nsec: (time % 1000 * 1_000_000) as i64,
        };
        let mut descriptors = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        descriptors.extend(
            self.buttons
                .iter()
                .map(|button| PollFd::new(button, PollFlags::IN)),
        );
        // interrupted or not: what happened is looked for anyway
        let _ = poll(&mut descriptors, Some(&timeout));
        drop(descriptors);
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match Signal::try_from(signal.ssi_signo as i32) {
                Ok(Signal::SIGTERM | Signal::SIGPWR) => self.end(End::PowerOff),
                Ok(Signal::SIGINT) => self.end(End::Restart),
                _ => {}
            }
        }
        // every one is read, or it would wake the loop for ever
        let pressed = self
            .buttons
            .iter_mut()
            .map(Button::pressed)
            .filter(|pressed| *pressed)
            .count();
        if pressed > 0 {
            log::line("power button");
            self.end(End::PowerOff);
        }
    }

    fn end(&mut self, how: End) {
        if self.ending.is_none() {
            self.ending = Some((how, now() + STOP_LIMIT));
            self.shares = Shares::default();
            self.network = Network::Idle;
            self.events.push_back(Event::Stop);
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let ending = ending(status);
            if self.network == Network::Running(pid) {
                self.network_ended(ending);
                continue;
            }
            let failure = errand::failure(ending);
            let actions = self.shares.ended(pid, now(), failure.as_ref());
            self.act_on_shares(actions);
            self.events.push_back(Event::Ended(pid, ending));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(index) => {
                if let Readiness::Makes(socket) = ROLES[index].readiness {
                    // one of its last run would be taken for readiness
                    let _ = std::fs::remove_file(socket);
                }
                let event = match errand::start(&["enter", ROLES[index].name]) {
                    Ok(child) => Event::Started(index, child.id() as Pid),
                    Err(error) => Event::NotStarted(index, error.to_string()),
                };
                self.events.push_back(event);
            }
            Action::Terminate(pid) => signal(pid, Signal::SIGTERM),
            Action::Kill(pid) => signal(pid, Signal::SIGKILL),
            Action::LookFor(index) => {
                if let Readiness::Makes(socket) = ROLES[index].readiness
                    && Path::new(socket).exists()
                {
                    self.events.push_back(Event::Made(index));
                }
            }
            Action::LoadPlan => self.load_plan(),
            Action::Report(text) => log::line(&text),
            Action::AllReady => {
                let (total, available) =
                    status::memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default());
                log::line(&format!(
                    "all roles ready ms={} mem_total_kb={total} mem_available_kb={available}",
                    now()
                ));
            }
            Action::AllStopped => {
                if let Some((how, _)) = self.ending {
                    stop::finish(how, &self.share_names);
                }
            }
        }
    }

    fn load_plan(&mut self) {
        disc::remove();
        match network::plan() {
            Ok(plan) => {
                self.share_names = plan.mounts.into_iter().map(|mount| mount.name).collect();
                self.network = Network::RetryAt(now());
            }
            Err(error) => self.events.push_back(Event::Unusable(log::chain(&error))),
        }
    }

    fn tend_network(&mut self) {
        let Network::RetryAt(at) = self.network else {
            return;
        };
        if now() < at {
            return;
        }
        match errand::start(&["network"]) {
            Ok(child) => self.network = Network::Running(child.id() as Pid),
            Err(error) => {
                log::line(&format!("cannot set up the network: {error}"));
                self.rest_network();
            }
        }
    }

    /// With or without a whole network the roles start: what is in the spool is safe, and each says what it misses.
    fn network_ended(&mut self, ending: Ending) {
        match ending {
            Ending::Status(0) => self.network = Network::Idle,
            _ => self.rest_network(),
        }
        if !self.supervisor.commissioned() && self.ending.is_none() {
            self.shares = Shares::new(now(), self.share_names.iter().cloned());
            self.events.push_back(Event::Commissioned);
        }
    }

    fn rest_network(&mut self) {
        self.network = Network::RetryAt(now() + self.network_rest);
        self.network_rest = (self.network_rest * 2).min(LONGEST_NETWORK_REST);
    }

    fn tend_shares(&mut self) {
        let actions = self.shares.tick(now());
        self.act_on_shares(actions);
    }

    fn act_on_shares(&mut self, actions: Vec<shares::Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                shares::Action::Run(index, what) => {
                    let word = match what {
                        Errand::Mount => "mount",
                        Errand::Look => "look",
                    };
                    match errand::start(&[word, self.shares.name(index)]) {
                        Ok(child) => self.shares.started(index, child.id() as Pid),
                        Err(error) => actions.extend(self.shares.not_started(
                            index,
                            now(),
                            &error.to_string(),
                        )),
                    }
                }
                shares::Action::Kill(pid) => signal(pid, Signal::SIGKILL),
                shares::Action::Detach(index) => {
                    // not mounted any more is what is wanted
                    let _ = sys::mounts::detach(&Path::new("/mnt").join(self.shares.name(index)));
                }
                shares::Action::Report(text) => log::line(&text),
            }
        }
    }

    fn publish(&mut self) {
        let document = status::document(&self.supervisor, &self.shares).to_string();
        if document != self.published {
            if let Err(error) = status::publish(&document) {
                log::line(&format!("cannot publish the status: {error}"));
            }
            self.published = document;
        }
    }
}

fn buttons() -> Vec<Button> {
    let Ok(devices) = std::fs::read_dir("/dev/input") else {
        return Vec::new();
    };
    let events = devices
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"));
    events
        .filter_map(|entry| Button::open(&entry.path()).ok())
        .collect()
}

fn ending(status: WaitStatus) -> Ending {
    match status.exit_status() {
        Some(code) => Ending::Status(code),
        None => Ending::Signal(status.terminating_signal().unwrap_or(0)),
    }
}

fn signal(pid: Pid, signal: Signal) {
    // a process that has just ended is not hit: it is not reaped yet, so that its number is not taken again
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}
