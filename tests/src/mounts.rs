//! File systems that only one test sees.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::patience::wait_for;
use crate::skipped::skip;

/// Runs `test` in a thread with a mount namespace of its own. Needs root: without it, says so and runs
/// nothing.
pub fn privately(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        return skip("mounting needs root");
    }
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("root may unshare");
            let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, all, None::<&str>).expect("a private root");
            test();
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// The same for what needs an [`Image`]: where there are no loop devices, says so and runs nothing.
pub fn with_images(test: impl FnOnce() + Send) {
    privately(|| match Image::new() {
        Some(_) => test(),
        None => skip("no file system can be mounted by a loop device here"),
    });
}

/// Hides `folder` behind an empty file system of `bytes`.
pub fn hide(folder: &Path, bytes: usize) {
    let options = format!("size={bytes},mode=0755");
    let options = Some(options.as_str());
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        options,
    )
    .expect("a tmpfs");
}

/// Shows the file `with` in the place of the file `path`. To be done within [`privately`].
pub fn cover(path: &Path, with: &Path) {
    mount(
        Some(with),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .expect("a bind mount");
}

/// A file system of its own in a temporary folder.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// An empty one with room for `bytes`. To be made within [`privately`].
    pub fn new(bytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        hide(folder.path(), bytes);
        Self { folder }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// From now on nothing can be written.
    pub fn make_read_only(&self) {
        self.remount(MsFlags::MS_RDONLY);
    }

    /// Takes that back.
    pub fn make_writable(&self) {
        self.remount(MsFlags::empty());
    }

    fn remount(&self, flags: MsFlags) {
        let flags = MsFlags::MS_REMOUNT | flags;
        mount(None::<&str>, self.path(), None::<&str>, flags, None::<&str>).expect("a remount");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Without it the folder below can't be removed.
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// A file system of its own that can lose its power: ext4 in a file, by a loop device.
pub struct Image {
    /// The files, which lie on another file system.
    folder: TempDir,
    mounted: TempDir,
}

impl Image {
    /// An empty one, to be made within [`privately`]; `None` where there are no loop devices.
    pub fn new() -> Option<Self> {
        // What the device is told to sync need not wait for a disk of this machine's.
        let folder = tempfile::tempdir_in("/dev/shm").expect("a temporary folder");
        let mounted = tempfile::tempdir().expect("a temporary folder");
        let image = Self { folder, mounted };
        let file = File::create(image.file("now")).expect("a new file");
        file.set_len(8 << 20).expect("a sparse file");
        // Nothing is left to be written later by the kernel on its own.
        let eager = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4")
            .args(["-q", "-E", eager])
            .arg(image.file("now")));
        match image.mount("now").status() {
            Ok(status) if status.success() => Some(image),
            _ => None,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }

    /// Keeps what is there now, for [`Image::restore`].
    pub fn keep(&self) {
        self.unmount();
        self.copy("now", "kept");
        run(&mut self.mount("now"));
    }

    /// Puts what was kept in the place of what is there.
    pub fn restore(&self) {
        self.unmount();
        self.copy("kept", "now");
        run(&mut self.mount("now"));
    }

    /// Loses what has not reached the device, and goes on with what has. Nobody may be writing.
    pub fn cut_power(&self) {
        self.copy("now", "cut");
        self.unmount();
        self.copy("cut", "now");
        run(&mut self.mount("now"));
    }

    /// From now on the device fails whatever is written.
    pub fn fail(&self) {
        let file = self.file("now");
        let mut find = Command::new("losetup");
        find.args(["--noheadings", "--output", "NAME", "--associated"]);
        let found = find.arg(&file).output().expect("losetup is installed");
        let device = String::from_utf8(found.stdout).expect("text");
        // It has no block any more.
        let device_file = File::options().write(true).open(&file);
        device_file
            .and_then(|file| file.set_len(0))
            .expect("our own file");
        run(Command::new("losetup").args(["--set-capacity", device.trim()]));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn copy(&self, from: &str, to: &str) {
        run(Command::new("cp")
            .arg("--sparse=always")
            .args([self.file(from), self.file(to)]));
    }

    fn mount(&self, name: &str) -> Command {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", "loop"])
            .arg(self.file(name))
            .arg(self.path());
        mount
    }

    fn unmount(&self) {
        // Whoever was killed in it may not be quite gone.
        wait_for("nobody to be in it", || {
            umount2(self.path(), MntFlags::empty()).is_ok()
        });
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}
