//! The receiver's process, and what it takes.

use super::field::{Field, SERVER};
use super::{LoadError, Settings, fault};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest start of a receiver.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at the process.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// A running receiver; dropped, it is killed.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    ended: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Peak>>,
}

/// What all processes of the receiver took.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    pub processor_seconds: f64,
    pub resident_mib: f64,
    pub descriptors: usize,
    /// How it ended before it was told to.
    pub died: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Peak {
    resident_kib: u64,
    descriptors: usize,
}

impl Server {
    pub fn start(settings: &Settings, field: &Field) -> Result<Self, LoadError> {
        let (child, address) = match &settings.nginx {
            None => receiver(settings, field)?,
            Some(program) => nginx(program, settings, field)?,
        };
        let ended = Arc::new(AtomicBool::new(false));
        let watcher = thread::spawn({
            let (ended, id) = (ended.clone(), child.id());
            move || watch(id, &ended)
        });
        Ok(Self {
            address,
            child,
            ended,
            watcher: Some(watcher),
        })
    }

    /// Ends it and says what it took.
    pub fn stop(&mut self) -> Taken {
        let status = self.child.try_wait().ok().flatten();
        let processor_seconds = family(self.child.id()).iter().map(|id| ticks(*id)).sum();
        self.ended.store(true, Ordering::Relaxed);
        let peak = self.watcher.take().and_then(|watcher| watcher.join().ok());
        let peak = peak.unwrap_or_default();
        Taken {
            processor_seconds,
            resident_mib: peak.resident_kib as f64 / 1024.0,
            descriptors: peak.descriptors,
            died: status.map(|status| status.to_string()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // nginx's workers end with their master only when that is asked to, so they are named one by one.
        for id in family(self.child.id()) {
            let id = i32::try_from(id)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let _ = id.map(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL));
        }
        let _ = self.child.wait();
    }
}

fn receiver(settings: &Settings, field: &Field) -> Result<(Child, SocketAddr), LoadError> {
    let mut command = Command::new(&settings.datacentre);
    command.args(["receive", "--listen", "127.0.0.1:0"]);
    for (option, file) in [
        ("--cert", "server.pem"),
        ("--key", "server.key"),
        ("--client-ca", "ca.pem"),
        ("--crl", "crl.pem"),
        ("--receipt-cert", "receipt.pem"),
        ("--receipt-key", "receipt.key"),
    ] {
        command.arg(option).arg(field.key_file(file));
    }
    command.arg("--dir").arg(&field.received);
    let room = settings.boxes.max(512).to_string();
    command.args(["--max-connections", &room]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let spawned = command.spawn();
    let mut child = spawned.map_err(fault("start", &settings.datacentre))?;
    let mut lines = child.stderr.take().map(BufReader::new);
    let mut line = String::new();
    if let Some(lines) = &mut lines {
        let _ = lines.read_line(&mut line);
    }
    let address = line
        .trim()
        .strip_prefix("receive: listening at ")
        .and_then(|text| text.parse().ok());
    let Some(address) = address else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(LoadError::Server { said: line });
    };
    // Its lines are read to the end, so that it never waits for whoever reads them.
    thread::spawn(move || lines.map(|mut lines| std::io::copy(&mut lines, &mut std::io::sink())));
    Ok((child, address))
}

fn nginx(
    program: &Path,
    settings: &Settings,
    field: &Field,
) -> Result<(Child, SocketAddr), LoadError> {
    let folder = settings.folder.join("nginx");
    fs::create_dir(&folder).map_err(fault("create", &folder))?;
    // A free port: nginx cannot choose one itself.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(fault("find a port for", program))?;
    let path = folder.join("nginx.conf");
    let written = fs::write(&path, configuration(&folder, field, address));
    written.map_err(fault("write", &path))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).arg("-c").arg(&path);
    command.arg("-e").arg(folder.join("error.log"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(fault("start", program))?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || begun.elapsed() > START_LIMIT {
            let said = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            let _ = child.kill();
            let _ = child.wait();
            return Err(LoadError::Server { said });
        }
        thread::sleep(LOOK_PERIOD);
    }
    Ok((child, address))
}

/// As an expert would set nginx up for this: TLS 1.3 with client certificates and a revocation list, no tickets, bodies
/// straight to a temporary file on the same file system, one rename into place, no log of each request.
fn configuration(folder: &Path, field: &Field, address: SocketAddr) -> String {
    let folder = folder.display();
    let received = field.received.display();
    let pki = |name| field.key_file(name).display().to_string();
    // Its workers would otherwise become somebody who may not write here.
    let user = if rustix::process::geteuid().is_root() {
        "user root;\n"
    } else {
        ""
    };
    format!(
        "{user}daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {received}/.temporary;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    keepalive_timeout 120s;
    keepalive_requests 100000;
    server {{
        listen {address} ssl backlog=1024;
        server_name {SERVER};
        ssl_certificate {server_pem};
        ssl_certificate_key {server_key};
        ssl_client_certificate {ca};
        ssl_crl {crl};
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519MLKEM768:X25519;
        ssl_session_tickets off;
        ssl_session_cache off;
        client_max_body_size 64m;
        client_body_buffer_size 1m;
        location / {{
            root {received};
            dav_methods PUT;
            create_full_put_path on;
        }}
    }}
}}
",
        server_pem = pki("server.pem"),
        server_key = pki("server.key"),
        ca = pki("ca.pem"),
        crl = pki("crl.pem"),
    )
}

/// Looks at memory and descriptors until the end.
fn watch(id: u32, ended: &AtomicBool) -> Peak {
    let mut peak = Peak::default();
    loop {
        let last = ended.load(Ordering::Relaxed);
        let family = family(id);
        let open = family.iter().map(|id| descriptors(*id)).sum();
        let resident = family.iter().map(|id| resident_kib(*id)).sum();
        peak.descriptors = peak.descriptors.max(open);
        peak.resident_kib = peak.resident_kib.max(resident);
        if last {
            return peak;
        }
        thread::sleep(LOOK_PERIOD);
    }
}

/// A process and its children.
fn family(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    std::iter::once(id).chain(children).collect()
}

fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// The largest that it has been.
fn resident_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Processor seconds of a process, its own.
fn ticks(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // After the name in brackets: state is the third field, user and system time the fourteenth and fifteenth.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
