//! What `make` built, at work in a scratch folder: configuration, enrollments and services of its own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::libpam::{Code, Item, Login, Message, Reply};
use crate::phone::Phone;

/// What the module asks unless `prompt=` says otherwise.
pub const PROMPT: &str = "Verification code: ";

/// An account that every system has.
pub const ACCOUNT: &str = "daemon";

/// Where a login comes from unless a test says otherwise.
pub const HOME: &str = "203.0.113.7";

/// What the prompt says where one code is not enough.
pub const TWO_CODES: &str = "\nAfter too many wrong codes, two in a row are needed: type the first one now,\n\
                             and the next one that your app shows when you are asked again.";

/// What a person is told after an answer where two codes are needed, be it right or wrong.
pub fn next_code_needed(count: usize) -> String {
    format!("If that was a right code, the next one is needed too. (Attempts left: {count})")
}

/// What libpam makes of a stack in which everybody abstains.
pub const IGNORED: Code = Code::PERM_DENIED;

/// Settings without any limit on wrong answers.
pub const NO_LIMITS: &str = "[limits]\ndeny = 0\naddress_deny = 0\ndaily = 0\nuser_limit = 0\n";

/// Settings with no limit but the one by user and address.
pub const BY_PLACE: &str = "[limits]\naddress_deny = 0\ndaily = 0\nuser_limit = 0\n";

/// What a person is told after a wrong answer.
pub fn attempts_left(count: usize) -> String {
    format!("Invalid One Time Password! (Attempts left: {count})")
}

/// What a person is told when no more answers are judged.
pub fn limit_reached(minutes: usize) -> String {
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    format!("You have reached the limit of attempts. Please try again later in {minutes} {unit}.")
}

/// What was built by that name. `PAM_TOTP_BUILD` names another folder than the workspace's release build.
pub fn built(name: &str) -> PathBuf {
    let folder = match std::env::var_os("PAM_TOTP_BUILD") {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("target/release"),
    };
    let file = folder.join(name);
    assert!(
        file.exists(),
        "{} is missing: run `make` first",
        file.display()
    );
    file
}

/// The built module.
pub fn module() -> PathBuf {
    built("libpam_totp.so")
}

/// The built command.
pub fn totpctl() -> PathBuf {
    built("totpctl")
}

/// The folder of the whole project.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
}

/// The product in a folder that goes away with it.
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// `settings` follow the three folders in the configuration file. In memory, where there is such a
    /// place: hundreds of these come and go, and only some tests are about a disk.
    pub fn new(settings: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            Self::on(memory, settings)
        } else {
            Self::on(&std::env::temp_dir(), settings)
        }
    }

    /// The same, below `folder`.
    pub fn on(folder: &Path, settings: &str) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a temporary folder");
        let scratch = Self { folder };
        fs::create_dir(scratch.path("pam.d")).expect("a new folder");
        scratch.configure(settings);
        scratch.stack("");
        scratch
    }

    /// One account, enrolled with `phone`, in a product without limits.
    pub fn unlimited(account: &str, phone: &Phone) -> Self {
        let scratch = Self::new(NO_LIMITS);
        scratch.enroll(account, phone);
        scratch
    }

    /// A file of the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("pam_totp.toml")
    }

    /// The secret file of `account`.
    pub fn secret(&self, account: &str) -> PathBuf {
        self.path("secrets").join(account)
    }

    /// The state file of `account`.
    pub fn state(&self, account: &str) -> PathBuf {
        self.path("state").join(account)
    }

    /// Writes the configuration: the folders, then `settings`.
    pub fn configure(&self, settings: &str) {
        let mut text = String::new();
        for (key, folder) in [
            ("secret_dir", "secrets"),
            ("state_dir", "state"),
            ("run_dir", "run"),
        ] {
            text += &format!("{key} = {:?}\n", self.path(folder));
        }
        self.write_config(&format!("{text}{settings}"));
    }

    /// Writes the configuration, word for word.
    pub fn write_config(&self, text: &str) {
        fs::write(self.config(), text).expect("writes the configuration");
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(self.config(), mode).expect("owns the configuration");
    }

    /// The service that `login` starts: the module alone, with `config=` and `arguments`.
    pub fn stack(&self, arguments: &str) {
        let line = self.line("required", arguments);
        self.service(&format!(
            "auth {line}\naccount {line}\nsession {line}\npassword {line}\n"
        ));
    }

    /// The part of a service line after its type.
    pub fn line(&self, control: &str, arguments: &str) -> String {
        let (module, config) = (module(), self.config());
        format!(
            "{control} {} config={} {arguments}",
            module.display(),
            config.display()
        )
    }

    /// Writes the service file, word for word.
    pub fn service(&self, text: &str) {
        fs::write(self.path("pam.d/scratch"), text).expect("writes the service");
    }

    /// A login from `HOME` that has asked nothing yet.
    pub fn start<'a>(
        &self,
        user: impl AsRef<[u8]>,
        person: impl FnMut(&Message) -> Reply + 'a,
    ) -> Login<'a> {
        let mut login = Login::start(&self.path("pam.d"), "scratch", user.as_ref(), person)
            .expect("libpam reads the service");
        login.set(Item::Rhost, HOME);
        login
    }

    /// One whole login from `HOME` that answers every prompt alike.
    pub fn login(&self, user: impl AsRef<[u8]>, answer: impl Into<Reply>) -> Outcome {
        self.login_from(HOME, user, answer)
    }

    /// One whole login from `address`.
    pub fn login_from(
        &self,
        address: &str,
        user: impl AsRef<[u8]>,
        answer: impl Into<Reply>,
    ) -> Outcome {
        let mut login = self.start(user, answering(answer));
        login.set(Item::Rhost, address);
        let code = login.authenticate(0);
        Outcome {
            code,
            heard: login.heard(),
        }
    }

    /// A wrong answer for `account` from each of three addresses that nobody logged in from.
    pub fn three_strangers_guess(&self, account: &str, wrong: &str) {
        for stranger in 1..=3 {
            let address = format!("198.51.100.{stranger}");
            let login = self.login_from(&address, account, wrong);
            assert_eq!(login.code, Code::AUTH_ERR);
        }
    }

    /// Enrolls `account` with what `phone` knows.
    pub fn enroll(&self, account: &str, phone: &Phone) {
        self.enroll_device(account, "phone", phone);
    }

    /// Enrolls a further device of `account`.
    pub fn enroll_device(&self, account: &str, device: &str, phone: &Phone) {
        self.enroll_uri(account, device, &phone.uri());
    }

    /// Enrolls a device of `account` by what its QR code says.
    pub fn enroll_uri(&self, account: &str, device: &str, uri: &str) {
        let source = ["--secret-file", "-", "--no-confirm"];
        let arguments = [&["enroll", account, "--device", device], &source[..]].concat();
        let output = self.totpctl(&arguments, uri);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// What totpctl tells about `account`.
    pub fn status(&self, account: &str) -> Value {
        self.document(&["status", account])
    }

    /// New backup codes of `account`.
    pub fn new_backup_codes(&self, account: &str) -> Vec<String> {
        let made = self.document(&["backup-codes", account, "--regenerate"]);
        let codes = made["codes"].as_array().expect("codes").iter();
        codes
            .map(|code| code.as_str().expect("text").to_owned())
            .collect()
    }

    /// A new backup key of `account`.
    pub fn new_backup_key(&self, account: &str) -> String {
        let made = self.document(&["backup-key", account, "--regenerate"]);
        made["key"].as_str().expect("a key").to_owned()
    }

    /// What a command of totpctl that succeeds tells a program.
    #[track_caller]
    pub fn document(&self, arguments: &[&str]) -> Value {
        let output = self.totpctl(&[arguments, &["--json"]].concat(), "");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("--json prints one document")
    }

    /// totpctl with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(totpctl());
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// Runs totpctl with this configuration and `input` on its standard input.
    pub fn totpctl(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("totpctl starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A totpctl that has refused its arguments reads nothing.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("totpctl ends")
    }
}

/// A person who answers every prompt alike and listens to the rest.
pub fn answering<'a>(answer: impl Into<Reply>) -> impl FnMut(&Message) -> Reply + 'a {
    let answer = answer.into();
    move |message| {
        if message.style.is_prompt() {
            answer.clone()
        } else {
            Reply::Null
        }
    }
}

/// How a login ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// What `pam_authenticate` returned.
    pub code: Code,
    /// Everything the person was shown.
    pub heard: Vec<Message>,
}

impl Outcome {
    /// The texts of the prompts.
    pub fn asked(&self) -> Vec<&str> {
        self.texts(true)
    }

    /// The texts of everything but prompts.
    pub fn told(&self) -> Vec<&str> {
        self.texts(false)
    }

    fn texts(&self, prompts: bool) -> Vec<&str> {
        let wanted = self
            .heard
            .iter()
            .filter(|message| message.style.is_prompt() == prompts);
        wanted.map(|message| message.text.as_str()).collect()
    }
}
