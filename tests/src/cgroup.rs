//! Control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// A control group of its own.
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// In the first hierarchy of `kind` that can be written and has `file` in its groups.
    pub fn new(kind: &str, name: &str, file: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc");
        mounts.lines().find_map(|mount| {
            let (place, system) = mount.split_once(" - ")?;
            let folder = Path::new(place.split(' ').nth(4)?);
            let is_kind = system.split(' ').next() == Some(kind);
            let path = folder.join(format!("pam_totp-{name}-{}", std::process::id()));
            (is_kind && fs::create_dir(&path).is_ok()).then_some(())?;
            let group = Self { path };
            group.path.join(file).exists().then_some(group)
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, value: &str) {
        fs::write(self.path.join(file), value).expect("a group of root's");
    }

    /// Takes a process in.
    pub fn add(&self, pid: u32) {
        self.set("cgroup.procs", &pid.to_string());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let began = Instant::now();
        // Who has just been killed may still be in it.
        while fs::remove_dir(&self.path).is_err() && began.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
