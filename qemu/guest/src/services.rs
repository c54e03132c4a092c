//! The guests' services: each started by one function, stopped with SIGKILL, and ready when its start returns.

use crate::boot::run;
use crate::tunnel;
use lab_guest::{DatacentreSettings, HospitalSettings, SETTINGS, Service, Settings, WRITTEN};
use std::collections::HashMap;
use std::error::Error;
use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn Error>>;

/// A service answers within this time after its start or has failed.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks whether it answers.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub struct Services {
    settings: Settings,
    running: HashMap<Service, Vec<Child>>,
}

impl Services {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            running: HashMap::new(),
        }
    }

    pub fn start(&mut self, service: Service) -> Outcome {
        self.stop(service)?;
        let children = match service {
            Service::Smb => self.smb()?,
            Service::Writer => self.writer()?,
            Service::Nfs => self.nfs()?,
            Service::Time => time(self.datacentre()?)?,
            Service::Tunnel => tunnel::start(self.datacentre()?)?,
            Service::Receive => receive(self.datacentre()?)?,
        };
        self.running.insert(service, children);
        Ok(())
    }

    pub fn stop(&mut self, service: Service) -> Outcome {
        if service == Service::Nfs && self.running.contains_key(&service) {
            run("rpc.nfsd", &["0"])?;
        }
        if service == Service::Tunnel {
            tunnel::fall_silent(self.datacentre()?)?;
        }
        for mut child in self.running.remove(&service).unwrap_or_default() {
            child.kill()?;
            child.wait()?;
        }
        match service {
            // smbd serves each client in a process of its own, which outlives the first one.
            Service::Smb => kill_by_name("smbd"),
            Service::Tunnel => tunnel::forget(),
            _ => Ok(()),
        }
    }

    fn hospital(&self) -> Result<&HospitalSettings, Box<dyn Error>> {
        self.settings
            .hospital
            .as_ref()
            .ok_or_else(|| "this guest is no hospital".into())
    }

    fn datacentre(&self) -> Result<&DatacentreSettings, Box<dyn Error>> {
        self.settings
            .datacentre
            .as_ref()
            .ok_or_else(|| "this guest is no data centre".into())
    }

    fn smb(&self) -> Result<Vec<Child>, Box<dyn Error>> {
        let hospital = self.hospital()?;
        let user = &hospital.user;
        if !fs::read_to_string("/etc/passwd")?
            .lines()
            .any(|line| line.starts_with(&format!("{user}:")))
        {
            let mut passwd = fs::OpenOptions::new().append(true).open("/etc/passwd")?;
            writeln!(
                passwd,
                "{user}:x:5000:65534::/nonexistent:/usr/sbin/nologin"
            )?;
        }
        for folder in [
            "/run/samba",
            "/var/lib/samba/private",
            "/var/cache/samba",
            "/var/log/samba",
        ] {
            fs::create_dir_all(folder)?;
        }
        let share = hospital.share.display();
        let cards = self.settings.cards.iter();
        let address = cards
            .map(|card| card.address.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        // SMB 3 with encryption and signing only, as the box asks for; whatever is mounted is read-only.
        fs::write(
            "/run/smb.conf",
            format!(
                "[global]\nserver role = standalone server\nserver min protocol = SMB3\nserver smb encrypt = required\n\
             server signing = mandatory\nrestrict anonymous = 2\nmap to guest = never\ndisable netbios = yes\n\
             bind interfaces only = yes\ninterfaces = 127.0.0.1 {address}\nsmb ports = 445\nload printers = no\nprinting = bsd\nlog level = 1\nunix charset = UTF-8\nmangled names = no\n\
             [store]\npath = {share}\nread only = yes\nvalid users = {user}\n\
             [writer]\npath = {share}\nread only = no\nvalid users = {user}\nforce user = root\n",
            ),
        )?;
        let mut smbpasswd = Command::new("smbpasswd");
        smbpasswd
            .args(["-c", "/run/smb.conf", "-s", "-a", user])
            .env("PATH", "/usr/sbin:/usr/bin")
            .stdin(Stdio::piped());
        let mut child = smbpasswd.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            write!(stdin, "{0}\n{0}\n", hospital.password)?;
        }
        if !child.wait()?.success() {
            return Err("smbpasswd refused the share's user".into());
        }
        let smbd = spawn(
            "smbd",
            &[
                "--foreground",
                "--no-process-group",
                "--debug-stdout",
                "-s",
                "/run/smb.conf",
            ],
        )?;
        listening(SocketAddr::from(([127, 0, 0, 1], 445)))?;
        Ok(vec![smbd])
    }

    /// Mounts the hospital's own share, after which whatever is written below [`WRITTEN`] comes to the server over SMB.
    fn writer(&self) -> Result<Vec<Child>, Box<dyn Error>> {
        let HospitalSettings { user, password, .. } = self.hospital()?;
        run("modprobe", &["cifs"])?;
        fs::create_dir_all(WRITTEN)?;
        let options =
            format!("ip=127.0.0.1,vers=3.1.1,seal,cache=none,username={user},password={password}");
        rustix::mount::mount(
            "//127.0.0.1/writer",
            WRITTEN,
            "cifs",
            rustix::mount::MountFlags::empty(),
            CString::new(options)?.as_c_str(),
        )
        .map_err(|error| format!("cannot mount the share for writing: {error}"))?;
        Ok(Vec::new())
    }

    fn nfs(&self) -> Result<Vec<Child>, Box<dyn Error>> {
        let hospital = self.hospital()?;
        run("modprobe", &["nfsd"])?;
        for (kind, place) in [("nfsd", "/proc/fs/nfsd"), ("rpc_pipefs", "/run/rpc_pipefs")] {
            fs::create_dir_all(place).or_else(|e| {
                if Path::new(place).is_dir() {
                    Ok(())
                } else {
                    Err(e)
                }
            })?;
            match rustix::mount::mount(
                kind,
                place,
                kind,
                rustix::mount::MountFlags::empty(),
                None::<&std::ffi::CStr>,
            ) {
                Ok(()) | Err(rustix::io::Errno::BUSY) => {}
                Err(error) => return Err(format!("cannot mount {kind}: {error}").into()),
            }
        }
        let exports = format!(
            "{} {}(ro,fsid=7,no_subtree_check,insecure)\n",
            hospital.share.display(),
            hospital.client
        );
        fs::write("/etc/exports", exports)?;
        fs::create_dir_all("/var/lib/nfs/v4recovery")?;
        run("exportfs", &["-ra"])?;
        let exportd = spawn("rpc.mountd", &["--foreground", "--no-nfs-version", "3"])?;
        // A grace period makes no sense for a server that remembers nothing.
        // It only makes the first mount quicker.
        let _ = fs::write("/proc/fs/nfsd/nfsv4gracetime", "10");
        run("rpc.nfsd", &["--no-nfs-version", "3", "--no-udp", "4"])?;
        listening(SocketAddr::from(([127, 0, 0, 1], 2049)))?;
        Ok(vec![exportd])
    }
}

fn time(datacentre: &DatacentreSettings) -> Result<Vec<Child>, Box<dyn Error>> {
    let inner = datacentre.inner;
    tunnel::inner_address(datacentre)?;
    fs::create_dir_all("/run/chrony")?;
    // The guest's own clock is the truth of the lab.
    fs::write(
        "/run/chrony.conf",
        format!(
            "local stratum 1\nallow\nbindaddress {inner}\ncmdport 0\npidfile /run/chrony/pid\n"
        ),
    )?;
    Ok(vec![spawn(
        "chronyd",
        &["-d", "-x", "-u", "root", "-f", "/run/chrony.conf"],
    )?])
}

fn receive(datacentre: &DatacentreSettings) -> Result<Vec<Child>, Box<dyn Error>> {
    tunnel::inner_address(datacentre)?;
    let program = Path::new(SETTINGS).join("bin/datacentre");
    let mut command = Command::new(program);
    command
        .args(&datacentre.receive)
        .current_dir(SETTINGS)
        .stdin(Stdio::null());
    Ok(vec![command.spawn()?])
}

pub fn spawn(program: &str, arguments: &[&str]) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin")
        .stdin(Stdio::null());
    command
        .spawn()
        .map_err(|e| format!("cannot start {program}: {e}").into())
}

fn listening(address: SocketAddr) -> Outcome {
    await_until(&format!("something listens on {address}"), || {
        TcpStream::connect(address).is_ok()
    })
}

/// Looks until it is so; for daemons that have no way to tell that they are ready.
pub fn await_until(what: &str, mut so: impl FnMut() -> bool) -> Outcome {
    let deadline = Instant::now() + READY_LIMIT;
    while !so() {
        if Instant::now() > deadline {
            return Err(format!("not so after {} s: {what}", READY_LIMIT.as_secs()).into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn kill_by_name(name: &str) -> Outcome {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|text| text.parse::<i32>().ok())
        else {
            continue;
        };
        let is_it = fs::read_to_string(entry.path().join("comm"))
            .is_ok_and(|comm| comm.trim().starts_with(name));
        if let (true, Some(pid)) = (is_it, rustix::process::Pid::from_raw(number)) {
            // It may have ended by itself in between.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}
