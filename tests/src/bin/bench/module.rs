//! The modules, each with its people as its documentation has them.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use end_to_end::phone::Phone;
use end_to_end::product::{self, Scratch};
use nix::unistd::Uid;

use crate::ground::{Ground, Place, owner};
use crate::run;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Module {
    /// libpam's own cost.
    Permit,
    /// What any module pays that makes a change durable.
    Floor,
    /// pam_google_authenticator.
    Google,
    /// pam_oath.
    Oath,
    /// pam_totp.
    Ours,
}

impl Module {
    /// What all are compared with first, ours last.
    pub const ALL: [Self; 5] = [
        Self::Permit,
        Self::Floor,
        Self::Google,
        Self::Oath,
        Self::Ours,
    ];

    /// Those that judge, and what they are compared with.
    pub const JUDGING: [Self; 4] = [Self::Permit, Self::Google, Self::Oath, Self::Ours];

    /// In the tables, and its service.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permit => "pam_permit",
            Self::Floor => "floor",
            Self::Google => "google_authenticator",
            Self::Oath => "pam_oath",
            Self::Ours => "pam_totp",
        }
    }

    /// The shared object.
    pub fn file(self, ground: &Ground) -> PathBuf {
        let debian = |name: &str| {
            let folder = run("gcc", ["-print-multiarch".as_ref()]);
            Path::new("/lib")
                .join(folder.trim())
                .join("security")
                .join(name)
        };
        match self {
            Self::Permit => debian("pam_permit.so"),
            Self::Google => debian("pam_google_authenticator.so"),
            Self::Oath => debian("pam_oath.so"),
            Self::Floor | Self::Ours => ground.path(&format!("{}.so", self.name())),
        }
    }
}

/// Makes the two modules that Debian doesn't have, ours as it is installed.
pub fn build(ground: &Ground) {
    let floor = Module::Floor.file(ground);
    let source = product::workspace().join("tests/src/bin/bench/floor.c");
    let options = [
        "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-s", "-o",
    ];
    let files = [floor.as_os_str(), source.as_os_str(), "-lpam".as_ref()];
    run("cc", options.map(AsRef::as_ref).into_iter().chain(files));
    let (built, ours) = (product::module(), Module::Ours.file(ground));
    run(
        "install",
        ["-s".as_ref(), built.as_os_str(), ours.as_os_str()],
    );
}

/// The people of one place, enrolled in all modules with one phone.
pub struct People {
    folder: PathBuf,
    scratch: Scratch,
    owners: usize,
    others: usize,
}

impl People {
    /// Enrolls so many.
    pub fn settle(ground: &Ground, place: &Place, phone: &Phone, owners: usize) -> Self {
        let folder = place.folder.clone();
        let scratch = Scratch::on(&folder, "");
        // As installed: what may be lost at a reboot is in memory. Without the limit of all wrong answers since the last
        // right one, which strangers never give: the rounds go on for years.
        scratch.write_config(&format!(
            "secret_dir = {:?}\nstate_dir = {:?}\nrun_dir = {:?}\n[limits]\nuser_limit = 1_000_000\n",
            scratch.path("secrets"),
            scratch.path("state"),
            ground.path("run"),
        ));
        for name in ["floor", "home", "pam.d"] {
            fs::create_dir(folder.join(name)).expect("a new folder");
        }
        let people = Self {
            folder,
            scratch,
            owners,
            others: 0,
        };
        // Where there is none libpam complains to the log at each login.
        fs::write(people.services().join("other"), "").expect("writes a service");
        for module in Module::ALL {
            let line = people.line(module, &module.file(ground));
            let service = people.services().join(module.name());
            fs::write(service, format!("auth required {line}\n")).expect("writes a service");
        }
        let mut names = Vec::new();
        for number in 0..owners {
            let (name, uid) = owner(number);
            fs::write(people.path("floor").join(&name), [0; 512]).expect("writes a record");
            people.enroll_in_google(&name, uid);
            people.scratch.enroll(&name, phone);
            names.push(name);
        }
        people.enroll_in_oath(&names, true);
        run("sync", ["-f".as_ref(), people.folder.as_os_str()]);
        people
    }

    /// The services, one for each module.
    pub fn services(&self) -> PathBuf {
        self.path("pam.d")
    }

    /// Enrolls strangers until so many people are enrolled.
    pub fn grow_to(&mut self, count: usize) {
        let (template, _) = owner(0);
        let secret = fs::read(self.scratch.secret(&template)).expect("a secret");
        let state = fs::read(self.scratch.state(&template)).expect("a state");
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes).expect("writes a record");
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(path, mode).expect("owns the record");
        };
        let mut names = Vec::new();
        while self.owners + self.others < count {
            let name = format!("other{:06}", self.others);
            write(self.scratch.secret(&name), &secret);
            write(self.scratch.state(&name), &state);
            self.enroll_in_google(&name, Uid::from_raw(70_000 + self.others as u32));
            names.push(name);
            self.others += 1;
        }
        self.enroll_in_oath(&names, false);
        run("sync", ["-f".as_ref(), self.folder.as_os_str()]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn line(&self, module: Module, file: &Path) -> String {
        let (file, folder) = (file.display(), self.folder.display());
        match module {
            Module::Permit => format!("{file}"),
            Module::Floor => format!("{file} {folder}/floor"),
            Module::Google => {
                format!("{file} secret={folder}/home/${{USER}}/.google_authenticator")
            }
            Module::Oath => format!("{file} usersfile={folder}/users.oath window=3 digits=6"),
            Module::Ours => format!("{file} config={}", self.scratch.config().display()),
        }
    }

    /// As `google-authenticator -t -d -r 3 -R 30 -w 3` writes it, without scratch codes.
    fn enroll_in_google(&self, name: &str, uid: Uid) {
        let home = self.path("home").join(name);
        let file = home.join(".google_authenticator");
        let options = "\" RATE_LIMIT 3 30\n\" WINDOW_SIZE 3\n\" DISALLOW_REUSE\n\" TOTP_AUTH\n";
        fs::create_dir(&home).expect("a new folder");
        fs::write(&file, format!("{}\n{options}", Phone::SECRET)).expect("writes a secret");
        let mode = fs::Permissions::from_mode(0o400);
        fs::set_permissions(&file, mode).expect("owns the secret");
        for path in [home, file] {
            chown(path, Some(uid.as_raw()), Some(uid.as_raw())).expect("root may give away");
        }
    }

    fn enroll_in_oath(&self, names: &[String], is_first: bool) {
        let mut users = String::new();
        if !is_first {
            users = fs::read_to_string(self.path("users.oath")).expect("users");
        }
        for name in names {
            // The secret of the phone, which are the digits 1 to 0, twice.
            writeln!(users, "HOTP/T30/6 {name} - {SECRET_IN_HEX}").expect("memory");
        }
        fs::write(self.path("users.oath"), users).expect("writes users");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path("users.oath"), mode).expect("owns the users");
    }
}

const SECRET_IN_HEX: &str = "3132333435363738393031323334353637383930";
