//! Where the bench logs in: file systems, accounts and a log of its own, which nobody else sees and which end with it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use end_to_end::mounts::{cover, hide};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, geteuid};
use tempfile::TempDir;

use crate::run;

/// How many accounts there are that people enroll.
pub const OWNERS: usize = 64;

/// An account that nobody enrolls.
pub const UNENROLLED: &str = "bench-unenrolled";

/// No account.
pub const UNKNOWN: &str = "bench-unknown";

/// The name and the user id of an account that people enroll.
pub fn owner(number: usize) -> (String, Uid) {
    (
        format!("bench{number:02}"),
        Uid::from_raw(60_000 + number as u32),
    )
}

/// The private part of this process's world.
pub struct Ground {
    memory: TempDir,
    disk: TempDir,
    log_reader: Child,
}

/// A folder on some file system.
pub struct Place {
    /// What it is called in the tables.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
}

impl Ground {
    /// Makes it. Needs root.
    pub fn make() -> Self {
        assert!(geteuid().is_root(), "mounting needs root");
        unshare(CloneFlags::CLONE_NEWNS).expect("root may unshare");
        let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, all, None::<&str>).expect("a private root");
        let memory = tempfile::tempdir().expect("a temporary folder");
        hide(memory.path(), 8 << 30);
        add_accounts(memory.path());
        mount_image(memory.path());
        let disk = tempfile::tempdir().expect("a temporary folder");
        run("chmod", ["755".as_ref(), disk.path().as_os_str()]);
        let log_reader = start_log(memory.path());
        Self {
            memory,
            disk,
            log_reader,
        }
    }

    /// A file in memory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.memory.path().join(name)
    }

    /// Memory; ext4 on a disk in memory, which shows what the file system takes; and whatever temporary files are on.
    pub fn places(&self) -> [Place; 3] {
        let place = |name: &str, folder| Place {
            name: name.to_owned(),
            folder,
        };
        let memory = self.path("tmpfs");
        fs::create_dir(&memory).expect("a new folder");
        let disk = self.disk.path().as_os_str();
        let kind = run(
            "findmnt",
            ["-no".as_ref(), "FSTYPE".as_ref(), "-T".as_ref(), disk],
        );
        let disk = format!("{} of this machine", kind.trim());
        [
            place("tmpfs", memory),
            place("ext4", self.path("ext4")),
            place(&disk, self.disk.path().to_owned()),
        ]
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.log_reader.kill();
        let _ = self.log_reader.wait();
        // Else what is below can't be removed.
        let _ = nix::mount::umount2(self.memory.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

fn add_accounts(memory: &Path) {
    let mut passwd = fs::read_to_string("/etc/passwd").expect("accounts");
    let unenrolled = (UNENROLLED.to_owned(), Uid::from_raw(60_999));
    for (name, uid) in (0..OWNERS).map(owner).chain([unenrolled]) {
        passwd += &format!("{name}:x:{uid}:{uid}::/:/bin/sh\n");
    }
    let file = memory.join("passwd");
    fs::write(&file, passwd).expect("writes accounts");
    cover(Path::new("/etc/passwd"), &file);
}

/// A file with ext4 in it, mounted.
fn mount_image(memory: &Path) {
    let (image, folder) = (memory.join("image"), memory.join("ext4"));
    fs::create_dir(&folder).expect("a new folder");
    let file = File::create(&image).expect("a new file");
    file.set_len(4 << 30).expect("an empty file");
    let (image, folder) = (image.as_os_str(), folder.as_os_str());
    let options = "-q -t ext4 -N 600000 -E lazy_itable_init=0,lazy_journal_init=0";
    run(
        "mke2fs",
        options.split(' ').map(AsRef::as_ref).chain([image]),
    );
    run("mount", ["-o".as_ref(), "loop".as_ref(), image, folder]);
}

/// A /dev with little more in it than a log that somebody reads: with nobody there what modules log costs them a
/// failed call, and what libc does after it.
fn start_log(memory: &Path) -> Child {
    let devices = memory.join("dev");
    fs::create_dir(&devices).expect("a new folder");
    for name in ["null", "zero", "random", "urandom", "tty"] {
        File::create(devices.join(name)).expect("a new file");
        cover(&devices.join(name), &Path::new("/dev").join(name));
    }
    let tree = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&devices), "/dev", None::<&str>, tree, None::<&str>).expect("a bind mount");
    let mut reader = Command::new("/proc/self/exe")
        .arg("log")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let said = reader.stdout.take().expect("a pipe");
    let ready = BufReader::new(said).lines().next();
    ready.transpose().expect("text").expect("the log is open");
    reader
}

/// Reads the log, for ever.
pub fn read_log() -> io::Result<()> {
    let log = std::os::unix::net::UnixDatagram::bind("/dev/log")?;
    println!("ready");
    let mut line = [0; 4096];
    loop {
        log.recv(&mut line)?;
    }
}
