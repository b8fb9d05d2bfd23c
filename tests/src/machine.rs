//! A machine of its own for one test, as root.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::enrolled::Enrolled;
use crate::example::Example;
use crate::log::Log;
use crate::phone::Phone;
use crate::product;
use crate::secret;
use crate::ssh_key;
use crate::terminal::Terminal;
use crate::tree::{Tree, tree};

/// The key of sshd's client.
pub const CLIENT_KEY: &str = "/etc/ssh/client_key";

/// Private mount, pid, net, uts and ipc namespaces in which the product is installed. The system's own
/// files, users and daemons are seen but never touched. When it is dropped everything in it has ended; the
/// test fails if a session was left running or if anything logged what should have stayed secret.
pub struct Machine {
    /// Process 1 of the machine lives as long as this one's standard input is open.
    unshare: Child,
    init: String,
    log: Arc<Log>,
}

impl Machine {
    /// With the product and no users but the system's.
    pub fn new() -> Self {
        Self::without_product().with_product()
    }

    /// Debian as it is, and no users but the system's.
    pub fn without_product() -> Self {
        let namespaces = "--mount --propagation private --pid --fork --net --uts --ipc";
        let mut unshare = Command::new("unshare")
            .args(namespaces.split(' '))
            .args(["sh", "-c", include_str!("machine.sh")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut init = String::new();
        let said = unshare.stdout.take().expect("a pipe");
        BufReader::new(said)
            .read_line(&mut init)
            .expect("process 1 speaks");
        let init = init.trim_end().to_owned();
        assert!(
            !init.is_empty(),
            "no private machine: these tests need root and a kernel with overlay"
        );

        let log = Arc::new(Log::listen(
            &Path::new("/proc").join(&init).join("root/dev/log"),
        ));
        Self { unshare, init, log }
    }

    /// Adds an account.
    pub fn user(self, name: &str, password: &str) -> Self {
        self.run(&format!("useradd --create-home --shell /bin/sh {name}"));
        self.password(name, password)
    }

    /// Changes a password.
    pub fn password(self, name: &str, password: &str) -> Self {
        self.log.keep_secret(password);
        self.feed("chpasswd", format!("{name}:{password}\n"));
        self
    }

    /// Puts a file in place, owned by root.
    pub fn file(self, path: &str, mode: &str, content: impl AsRef<[u8]>) -> Self {
        self.feed(&format!("install -D -m {mode} /dev/fd/0 {path}"), content);
        self
    }

    /// Puts an example in place as the stack of `service`.
    pub fn pam(self, service: &str, example: &Example) -> Self {
        self.file(&format!("/etc/pam.d/{service}"), "644", &example.stack)
    }

    /// Starts sshd on 127.0.0.1 with Debian's configuration, the stack and the lines of an example, and
    /// `settings`.
    pub fn sshd(self, example: &Example, settings: &str) -> Self {
        self.pam("sshd", example)
            .sshd_with_its_stack(&example.lines_below("Needed in"), settings)
    }

    /// The same with the stack that is there.
    pub fn sshd_with_its_stack(self, drop_in: &str, settings: &str) -> Self {
        let own = format!("ListenAddress 127.0.0.1\nHostKey {HOST_KEY}\n{settings}\n");
        let machine = self.file(DROP_IN, "644", drop_in).file(
            "/etc/ssh/sshd_config.d/machine.conf",
            "644",
            own,
        );
        machine.run("cp /usr/share/openssh/sshd_config /etc/ssh/sshd_config");
        for key in [HOST_KEY, CLIENT_KEY] {
            machine.make_key(key, "ed25519");
        }
        machine.run(&format!(
            "echo 127.0.0.1 $(cat {HOST_KEY}.pub) >{KNOWN_HOSTS}"
        ));
        // From 9.8 on it keeps an address out by itself after some failures.
        machine.run(&format!(
            "/usr/sbin/sshd -T -f /dev/null -h {HOST_KEY} -o PerSourcePenalties=no >/dev/null 2>&1 || exit 0
             echo PerSourcePenalties no >>/etc/ssh/sshd_config.d/machine.conf"
        ));
        machine.run("/usr/sbin/sshd");
        machine.log.wait_for(&["Server listening on 127.0.0.1"]);
        machine
    }

    /// Lets the key of sshd's client in as `user`.
    pub fn authorized_key(self, user: &str) -> Self {
        self.authorize(user, &[CLIENT_KEY]);
        self
    }

    /// Lets these keys in as `user`, and no others.
    pub fn authorize(&self, user: &str, keys: &[&str]) {
        let files: Vec<String> = keys.iter().map(|key| format!("{key}.pub")).collect();
        let place = format!("/dev/fd/0 ~{user}/.ssh/authorized_keys");
        let install = format!("install -D -m 600 -o {user} {place}");
        self.run(&format!("cat {} | {install}", files.join(" ")));
    }

    /// Makes a key of `kind` for `ssh -i`.
    pub fn make_key(&self, path: &str, kind: &str) {
        self.run(&format!("ssh-keygen -q -t {kind} -N '' -f {path}"));
    }

    /// What `ssh-keygen -l` says of a key or certificate.
    pub fn fingerprint(&self, path: &str) -> String {
        ssh_key::fingerprint(&self.run(&format!("ssh-keygen -lf {path}")))
    }

    /// Enrolls `user` by totpctl with a new secret.
    pub fn enroll(&self, user: &str) -> Enrolled {
        self.enroll_device(user, "phone")
    }

    /// Enrolls a further device of `user`.
    pub fn enroll_device(&self, user: &str, device: &str) -> Enrolled {
        let secret = secret::fresh();
        self.log.keep_secret(&secret);
        let enroll =
            format!("totpctl enroll {user} --device {device} --secret-file - --no-confirm");
        self.feed(&enroll, &secret);
        Enrolled::with(Phone::new(&secret))
    }

    /// `ssh user@127.0.0.1 words` on a terminal.
    pub fn ssh(&self, user: &str, words: &[&str]) -> Terminal {
        Terminal::open(self.ssh_command(user, words), Arc::clone(&self.log))
    }

    /// The same, yet to be given a terminal.
    pub fn ssh_command(&self, user: &str, words: &[&str]) -> Command {
        self.ssh_started_by(&["setsid", "--ctty"], 9, user, words)
    }

    /// The same without a terminal: the program `askpass` answers each prompt once.
    pub fn ssh_by_askpass(&self, askpass: &str, user: &str, words: &[&str]) -> Command {
        let askpass = format!("SSH_ASKPASS={askpass}");
        let starter = ["env", &askpass, "SSH_ASKPASS_REQUIRE=force"];
        self.ssh_started_by(&starter, 1, user, words)
    }

    fn ssh_started_by(&self, starter: &[&str], tries: u8, user: &str, words: &[&str]) -> Command {
        let ssh = format!(
            "ssh -F none -i {CLIENT_KEY} -oIdentitiesOnly=yes -oNumberOfPasswordPrompts={tries} \
             -oGlobalKnownHostsFile={KNOWN_HOSTS} -oUserKnownHostsFile=none {user}@127.0.0.1"
        );
        let ssh: Vec<&str> = ssh.split(' ').collect();
        self.command(&[starter, &ssh, words].concat())
    }

    /// A command of root that leads the session of a terminal, as what getty starts does.
    pub fn terminal(&self, words: &[&str]) -> Terminal {
        let command = self.command(&[&["setsid", "--ctty"], words].concat());
        Terminal::open(command, Arc::clone(&self.log))
    }

    /// The same of somebody else.
    pub fn terminal_as(&self, user: &str, words: &[&str]) -> Terminal {
        self.terminal(&[&become_user(user), words].concat())
    }

    /// A command of root in the machine.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init])
            .args("--mount --pid --net --uts --ipc -- env -i TERM=dumb LC_ALL=C.UTF-8".split(' '))
            .arg(PATH)
            .args(words);
        command
    }

    /// The same of somebody else.
    pub fn command_as(&self, user: &str, words: &[&str]) -> Command {
        self.command(&[&become_user(user), words].concat())
    }

    /// Runs a shell script of root and returns what it printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        self.feed(script, "")
    }

    /// The same with something on its standard input.
    #[track_caller]
    pub fn feed(&self, script: &str, input: impl AsRef<[u8]>) -> String {
        let output = output(self.command(&["sh", "-e", "-c", script]), input.as_ref());
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {complaint}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// A path of the machine, as it is seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.init).into()
    }

    /// Everything in a folder of the machine.
    pub fn tree(&self, folder: &str) -> Tree {
        tree(&self.path(folder))
    }

    /// What all programs logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn with_product(self) -> Self {
        // The built files must be there: `make install` alone would say so less clearly.
        let (module, totpctl) = (product::module(), product::totpctl());
        assert_eq!(module.parent(), totpctl.parent());
        let install = Command::new("make")
            .args(["--silent", "install"])
            .arg(format!("DESTDIR=/proc/{}/root", self.init))
            .arg(format!(
                "BUILD={}",
                module.parent().expect("a folder").display()
            ))
            .current_dir(product::workspace())
            .env_remove("MAKEFLAGS")
            .output()
            .expect("make starts");
        assert!(install.status.success(), "{install:?}");
        self
    }

    /// The command lines of all processes but process 1 and the listening sshd.
    fn sessions(&self) -> Vec<String> {
        let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
        let init = Path::new("/proc").join(&self.init);
        let ours = namespace(&init);
        let mut processes: Vec<PathBuf> = fs::read_dir("/proc")
            .expect("processes")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        processes.retain(|process| *process != init && namespace(process) == ours);
        let command_lines = processes
            .iter()
            .filter_map(|process| fs::read_to_string(process.join("cmdline")).ok());
        command_lines
            .filter(|line| !line.contains("[listener]"))
            .collect()
    }

    /// Waits until everything has ended but what listens.
    pub fn assert_quiet(&self) {
        let started = Instant::now();
        while !self.sessions().is_empty() {
            assert!(
                started.elapsed() < DEADLINE,
                "left running: {:?}",
                self.sessions()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_quiet();
            self.log.assert_discreet();
        }
        drop(self.unshare.stdin.take());
        // With process 1 the kernel ends and buries every other.
        self.unshare.wait().expect("unshare ends");
    }
}

/// Runs `command` with `input` on its standard input.
pub fn output(mut command: Command, input: &[u8]) -> Output {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command need not read its input.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the command ends")
}

fn become_user(user: &str) -> [&str; 8] {
    [
        "setpriv",
        "--reset-env",
        "--init-groups",
        "--reuid",
        user,
        "--regid",
        user,
        "--",
    ]
}

const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-pam_totp.conf";
const HOST_KEY: &str = "/etc/ssh/machine_key";
const KNOWN_HOSTS: &str = "/etc/ssh/machine_known_hosts";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEADLINE: Duration = Duration::from_secs(20);
