//! A Debian machine that boots, under emulation: kernel, systemd, getty and disk are its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::log::Log;
use crate::machine::output;
use crate::package;
use crate::patience::wait_long_for;
use crate::terminal::Terminal;

/// What it boots from: Debian with the packages installed and an account named alice.
pub struct Disk {
    /// Debian's parts, which are made once.
    folder: PathBuf,
    /// Where the log's socket is.
    _scratch: TempDir,
    log: Arc<Log>,
}

impl Disk {
    /// With one password for root and alice.
    pub fn new(password: &str) -> Self {
        let folder = package::folder().with_file_name("boot");
        fs::create_dir_all(&folder).expect("a folder");
        let mut boot = Command::new("sh");
        boot.args(["-e", "-c", include_str!("boot.sh"), "boot.sh"]);
        boot.arg(&folder).args(package::NAMES.map(package::file));
        let passwords = format!("root:{password}\nalice:{password}\n");
        let made = output(boot, passwords.as_bytes());
        assert!(made.status.success(), "{made:?}");

        let scratch = tempfile::tempdir().expect("a temporary folder");
        let log = Arc::new(Log::listen(&scratch.path().join("log")));
        log.keep_secret(password);
        Self {
            folder,
            _scratch: scratch,
            log,
        }
    }

    /// Starts the machine.
    pub fn boot(&self) -> Booted {
        let mut qemu = Command::new("qemu-system-x86_64");
        let (folder, journal) = (&self.folder, self.folder.join("journal"));
        qemu.args("-accel tcg -smp 2 -m 512 -no-reboot".split(' '))
            .args("-nodefaults -no-user-config -display none -serial stdio".split(' '))
            .arg("-serial")
            .arg(format!("file:{}", journal.display()))
            .arg("-kernel")
            .arg(folder.join("vmlinuz"))
            .args(["-append", "root=/dev/nvme0n1 rw quiet console=ttyS0"])
            .arg("-drive")
            .arg(format!(
                "if=none,id=disk,format=raw,file={}",
                folder.join("disk").display()
            ))
            .args(["-device", "nvme,drive=disk,serial=disk"]);
        let console = Terminal::open_patiently(qemu, Arc::clone(&self.log), A_BOOT);
        Booted { console, journal }
    }
}

/// A machine that runs.
pub struct Booted {
    /// Its serial console, where somebody can log in.
    pub console: Terminal,
    journal: PathBuf,
}

impl Booted {
    /// Has the shell that the console is at run a command, which succeeds; returns what it printed.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> String {
        self.console
            .enter(&format!("{command}; echo status=$?"))
            .see("status=0\r")
    }

    /// Waits until the journal has a line with all of `parts`.
    #[track_caller]
    pub fn wait_for(&self, parts: &[&str]) {
        wait_long_for(A_BOOT, &format!("{parts:?}"), || {
            let journal = fs::read(&self.journal).unwrap_or_default();
            let journal = String::from_utf8_lossy(&journal);
            journal
                .lines()
                .any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }

    /// Cuts the power.
    pub fn cut(self) {
        self.console.kill();
    }
}

/// Longer than a machine takes to start, with two cores that others use as well.
const A_BOOT: Duration = Duration::from_secs(180);
