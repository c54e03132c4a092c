//! How a share of the hospital is mounted, and what an error number of mounting means to an operator.
//!
//! 1. Read-only, and nothing of it can be executed, be a device or change a user: the restrictions are not options.
//! 2. SMB is 3.1.1, signed and encrypted, or not mounted. No referral is followed: a third host is never contacted.
//! 3. A silent server gives an error after bounded time (`soft`), never a process that cannot be killed.
//!
//! Sources: mount.cifs(8), nfs(5), fs/smb/client/fs_context.c and fs/nfs/fs_context.c of Linux 6.12.

use site::{Mount, Protocol};
use std::path::PathBuf;
use sys::mounts::{MountOption, Restriction};

pub const RESTRICTIONS: &[Restriction] = &[
    Restriction::ReadOnly,
    Restriction::NoSetuid,
    Restriction::NoDevices,
    Restriction::NoPrograms,
];

/// The arguments of one mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub kind: &'static str,
    pub source: String,
    pub target: PathBuf,
    pub options: Vec<MountOption>,
}

/// The mount for `mount`, seen by user and group `reader`.
pub fn request(mount: &Mount, reader: u32) -> Request {
    let target = PathBuf::from("/mnt").join(&mount.name);
    match &mount.protocol {
        Protocol::Smb {
            share,
            user,
            password,
            domain,
        } => {
            let mut options = smb(reader);
            options.push(text("ip", mount.server.to_string()));
            options.push(text("username", user.clone()));
            options.push(text("password", password.clone()));
            if let Some(domain) = domain {
                options.push(text("domain", domain.clone()));
            }
            Request {
                kind: "cifs",
                source: format!("//{}/{share}", mount.server),
                target,
                options,
            }
        }
        Protocol::Nfs { export } => {
            let mut options = nfs();
            options.push(text("addr", mount.server.to_string()));
            Request {
                kind: "nfs4",
                source: format!("{}:{export}", mount.server),
                target,
                options,
            }
        }
    }
}

fn text(name: &'static str, value: impl Into<String>) -> MountOption {
    MountOption::Text(name, value.into())
}

fn smb(reader: u32) -> Vec<MountOption> {
    vec![
        text("vers", "3.1.1"),
        text("sec", "ntlmssp"),
        MountOption::Flag("sign"),
        MountOption::Flag("seal"),
        MountOption::Flag("soft"),
        MountOption::Flag("nodfs"),
        text("uid", reader.to_string()),
        text("gid", reader.to_string()),
        MountOption::Flag("forceuid"),
        MountOption::Flag("forcegid"),
        // the group may enter folders, so that `listener` can name one to the server, and open no file
        text("file_mode", "0400"),
        text("dir_mode", "0550"),
        text("iocharset", "utf8"),
        // what the box reads it reads once, from the server: no lease that a writer of the hospital would have to
        // wait for, no handle that stays open behind our back, attributes at most a second old
        text("cache", "none"),
        MountOption::Flag("nolease"),
        MountOption::Flag("nohandlecache"),
        text("closetimeo", "0"),
        text("actimeo", "1"),
        // seconds between the probes of a silent connection: it is given up after three
        text("echo_interval", "10"),
    ]
}

fn nfs() -> Vec<MountOption> {
    vec![
        text("vers", "4.2"),
        text("proto", "tcp"),
        text("sec", "sys"),
        // an error instead of endless patience: three tries of 10 s (tenths of a second), growing
        MountOption::Flag("softerr"),
        text("timeo", "100"),
        text("retrans", "2"),
        text("actimeo", "1"),
        text("lookupcache", "positive"),
    ]
}

/// Whether an error number means that the server does not let us in, so that trying often may lock the account.
pub fn is_denied(errno: i32) -> bool {
    matches!(errno, 1 | 13 | 126..=129)
}

/// What the operator can do about an error number of mounting or looking.
pub fn explain(errno: i32) -> String {
    let what = match errno {
        1 | 13 => "access denied: check user, password and the rights of the share",
        2 | 6 => "the server has no such share or export",
        5 => "the server broke off (input/output error)",
        16 => "the folder of the mount is busy",
        19 => "this kernel lacks the file system",
        22 => "the server refused the request (invalid argument)",
        95 | 93 => "the server does not offer SMB 3.1.1 with encryption, or NFS 4.2",
        101 | 113 => "no route to the server",
        104 | 103 => "the server ended the connection",
        110 | 112 | 115 | 11 => "the server does not answer",
        111 => "the server does not offer this service (connection refused)",
        116 => "the server's file system was replaced (stale handle)",
        126..=129 => "access denied: the server asks for another kind of login",
        other => {
            return format!(
                "error {other} ({})",
                std::io::Error::from_raw_os_error(other)
            );
        }
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn smb_mount(password: &str) -> Mount {
        let protocol = Protocol::Smb {
            share: "ssmix2".to_owned(),
            user: "collector".to_owned(),
            password: password.to_owned(),
            domain: None,
        };
        Mount {
            name: "data".to_owned(),
            server: Ipv4Addr::new(192, 0, 2, 7),
            protocol,
        }
    }

    #[test]
    fn an_smb_share_is_mounted_signed_encrypted_soft_and_without_referrals() {
        let request = request(&smb_mount("secret"), 101);
        assert_eq!(
            (request.kind, request.source.as_str()),
            ("cifs", "//192.0.2.7/ssmix2")
        );
        assert_eq!(request.target, PathBuf::from("/mnt/data"));
        for option in ["sign", "seal", "soft", "nodfs"] {
            assert!(
                request.options.contains(&MountOption::Flag(option)),
                "{option}"
            );
        }
        assert!(request.options.contains(&text("vers", "3.1.1")));
        assert!(request.options.contains(&text("uid", "101")));
        assert!(request.options.contains(&text("file_mode", "0400")));
    }

    #[test]
    fn a_comma_in_a_password_is_part_of_the_password() {
        let request = request(&smb_mount("a,rw,vers=1.0"), 101);
        assert!(request.options.contains(&text("password", "a,rw,vers=1.0")));
    }

    #[test]
    fn an_nfs_export_is_mounted_with_bounded_patience() {
        let protocol = Protocol::Nfs {
            export: "/export/store".to_owned(),
        };
        let mount = Mount {
            name: "store".to_owned(),
            server: Ipv4Addr::new(192, 0, 2, 8),
            protocol,
        };
        let request = request(&mount, 101);
        assert_eq!(
            (request.kind, request.source.as_str()),
            ("nfs4", "192.0.2.8:/export/store")
        );
        assert!(request.options.contains(&MountOption::Flag("softerr")));
    }

    #[test]
    fn nothing_on_a_share_can_be_written_executed_or_be_a_device() {
        assert_eq!(RESTRICTIONS.len(), 4);
    }

    #[test]
    fn common_failures_are_explained_and_others_keep_their_number() {
        assert!(explain(13).starts_with("access denied"));
        assert!(explain(113).contains("no route"));
        assert!(explain(75).contains("75"));
    }
}
