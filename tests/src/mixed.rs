//! One person's code, typed into ssh, sudo and su at the same moment, while totpctl changes the records it is judged by.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::example::Example;
use crate::machine::Machine;
use crate::patience::wait_long_for;
use crate::product::NO_LIMITS;
use crate::secret;
use crate::token::Token;

/// How many type the code in each round: as many by ssh as by sudo and by su.
pub const COUNT: usize = 24;

/// What totpctl does meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Edit {
    /// A second device is enrolled.
    Add,
    /// New backup codes take the place of the old ones.
    Regenerate,
    /// The second device is removed.
    Remove,
    /// The second device gets another name.
    Rename,
    /// Everything is reset, and the token enrolled with a new secret.
    Reset,
    /// The token gets a new secret: it is removed, and enrolled as another one.
    Swap,
    /// Nothing is counted any more.
    Unlock,
}

/// In an order in which each is possible, over and over.
pub const EDITS: [Edit; 7] = [
    Edit::Add,
    Edit::Rename,
    Edit::Regenerate,
    Edit::Remove,
    Edit::Unlock,
    Edit::Swap,
    Edit::Reset,
];

impl Edit {
    /// Whether the code may be nobody's any more before anybody was let in.
    pub fn ends_the_token(self) -> bool {
        matches!(self, Self::Reset | Self::Swap)
    }
}

/// A machine on which alice has an event token: its codes are good at any time, so a round waits for no clock.
pub struct Mixed {
    machine: Machine,
    token: Token,
    counter: u64,
}

impl Mixed {
    /// With sshd, sudo and su as the examples have them.
    pub fn new() -> Self {
        let machine = Machine::new()
            .user("alice", PASSWORD)
            .user("carol", PASSWORD)
            .pam("sudo", &Example::named("sudo"))
            .pam("su", &Example::named("su"))
            .file("/etc/sudoers", "440", SUDOERS)
            .file("/etc/security/pam_totp.toml", "644", NO_LIMITS)
            .file(ASKPASS, "755", ANSWERS)
            // By itself sshd lets ten come at once.
            .sshd(&Example::named("sshd"), "MaxStartups 100");
        // These delays are not ours.
        machine.run("sed -i 's/pam_unix.so/& nodelay/' /etc/pam.d/common-auth; echo FAIL_DELAY 0 >>/etc/login.defs");
        machine.run("touch /run/gate /run/asked; chmod 666 /run/gate /run/asked");
        let mixed = Self {
            machine,
            token: new_token(),
            counter: 0,
        };
        mixed.enroll("token", &mixed.token);
        mixed
    }

    /// All type the next code, released at once, while `edit` is done. How many of them got in.
    ///
    /// # Panics
    /// Where somebody neither got in nor was refused, or the edit failed.
    pub fn round(&mut self, edit: Edit) -> usize {
        let new = new_token();
        let code = self.token.code(self.counter);
        self.counter += 1;
        let [asked, gate] = ["/run/asked", "/run/gate"].map(|path| self.machine.path(path));
        fs::write(self.machine.path("/run/code"), format!("{code}\n")).expect("a file");
        fs::write(&asked, "").expect("a file");
        let gate = File::open(gate).expect("the gate");
        let gate = Flock::lock(gate, FlockArg::LockExclusive).expect("nobody waits at the gate");
        let callers: Vec<_> = (0..COUNT).map(|index| self.start(index % 3)).collect();
        let patience = Duration::from_secs(120);
        wait_long_for(patience, "all to be asked for the code", || {
            fs::read(&asked).is_ok_and(|asked| asked.len() == COUNT)
        });
        drop(gate);
        self.edit(edit, &new);
        let ended = callers.into_iter().map(|caller| {
            let output = caller.wait_with_output().expect("it ends");
            match (output.status.success(), output.stdout.as_slice()) {
                (true, b"alice\n" | b"root\n") => true,
                (false, b"") => false,
                _ => panic!("{output:?}"),
            }
        });
        let got_in = ended.filter(|got_in| *got_in).count();
        if edit.ends_the_token() {
            (self.token, self.counter) = (new, 0);
        }
        got_in
    }

    /// By ssh, sudo or su.
    fn start(&self, way: usize) -> Child {
        let mut command = match way {
            0 => self
                .machine
                .ssh_by_askpass(ASKPASS, "alice", &["id", "-un"]),
            1 => {
                let askpass = format!("SUDO_ASKPASS={ASKPASS}");
                let sudo = ["env", &askpass, "sudo", "-A", "-k", "id", "-un"];
                self.machine.command_as("alice", &sudo)
            }
            _ => {
                let su =
                    format!("{{ {ASKPASS} password; {ASKPASS} code; }} | su alice -c 'id -un'");
                self.machine.command_as("carol", &["sh", "-c", &su])
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    }

    fn edit(&self, edit: Edit, new: &Token) {
        match edit {
            Edit::Add => self.enroll("tablet", new),
            Edit::Regenerate => self.totpctl("backup-codes alice --regenerate"),
            Edit::Remove => self.totpctl("device remove alice slate --force"),
            Edit::Rename => self.totpctl("device rename alice tablet slate"),
            Edit::Reset => {
                self.totpctl("reset alice --force");
                self.enroll("token", new);
            }
            Edit::Swap => {
                // The last device is not removed.
                self.enroll("new", new);
                self.totpctl("device remove alice token --force");
                self.totpctl("device rename alice new token");
            }
            Edit::Unlock => self.totpctl("unlock alice"),
        }
    }

    fn enroll(&self, device: &str, token: &Token) {
        let enroll = format!("totpctl enroll alice --device {device} --secret-file - --no-confirm");
        self.machine.feed(&enroll, format!("{}\n", token.uri(0)));
    }

    fn totpctl(&self, words: &str) {
        self.machine.run(&format!("totpctl {words}"));
    }
}

impl Default for Mixed {
    fn default() -> Self {
        Self::new()
    }
}

/// By eight digits no other code is the same by chance.
fn new_token() -> Token {
    Token {
        digits: 8,
        ..Token::new(&secret::fresh())
    }
}

const PASSWORD: &str = "correct horse";

const SUDOERS: &str = "Defaults passwd_tries=1\nalice ALL = (ALL) ALL\n";

const ASKPASS: &str = "/usr/local/bin/askpass";

/// Answers a prompt: with the password at once, with the code when nobody holds the gate any more.
const ANSWERS: &str = "#!/bin/sh
case $1 in
*assword*) echo 'correct horse' ;;
*) printf . >>/run/asked; exec flock --shared /run/gate cat /run/code ;;
esac
";
