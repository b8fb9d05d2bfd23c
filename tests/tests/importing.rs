//! Moving in: what the other programs themselves have written, through their own modules and ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use end_to_end::clock;
use end_to_end::gateway::Gateway;
use end_to_end::libpam::{Code, Login};
use end_to_end::machine::output;
use end_to_end::phone::{Hash, Phone};
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch, answering};
use serde_json::Value;

/// The clock stays the system's: the other modules can't be told another.
fn step() -> i64 {
    clock::system() / 30
}

/// A login by another module, which is the whole stack.
fn gets_in_by(scratch: &Scratch, module: &str, answer: &str) -> bool {
    let service = format!("auth required {module}\naccount required pam_permit.so\n");
    fs::write(scratch.path("pam.d/old"), service).unwrap();
    let mut login = Login::start(
        &scratch.path("pam.d"),
        "old",
        ACCOUNT.as_bytes(),
        answering(answer),
    )
    .unwrap();
    login.authenticate(0) == Code::SUCCESS
}

fn gets_in(scratch: &Scratch, code: &str) -> bool {
    scratch.login(ACCOUNT, code).code == Code::SUCCESS
}

#[track_caller]
fn import(scratch: &Scratch, format: &str, file: &Path, more: &[&str]) -> Value {
    let file = file.to_str().unwrap();
    scratch.document(&[&["import", "--format", format, file], more].concat())
}

fn write(scratch: &Scratch, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = scratch.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn google(scratch: &Scratch, options: &[&str]) -> (std::path::PathBuf, String) {
    let path = scratch.path("google_authenticator");
    let mut command = Command::new("google-authenticator");
    let secret = format!("--secret={}", path.display());
    run(command
        .args([
            "--quiet",
            "--force",
            "--no-confirm",
            "--qr-mode=NONE",
            &secret,
        ])
        .args(options));
    let text = fs::read_to_string(&path).unwrap();
    let key = text.lines().next().unwrap().to_owned();
    (path, key)
}

fn hotp(key: &str, counter: u64) -> String {
    let counter = counter.to_string();
    let code =
        run(Command::new("oathtool").args(["--hotp", "--base32", "--counter", &counter, key]));
    code.trim().to_owned()
}

#[test]
fn google_authenticators_own_file_moves_with_its_used_codes_and_its_scratch_codes() {
    let scratch = Scratch::new(NO_LIMITS);
    let time = [
        "--time-based",
        "--disallow-reuse",
        "--rate-limit=3",
        "--rate-time=30",
    ];
    let (path, key) = google(&scratch, &[&time[..], &["--window-size=3"]].concat());
    let phone = Phone::new(&key);
    let module = format!(
        "pam_google_authenticator.so user=root secret={}",
        path.display()
    );
    let written = fs::read_to_string(&path).unwrap();
    let codes: Vec<&str> = written.lines().filter(|line| line.len() == 8).collect();
    assert_eq!(codes.len(), 5);

    let used = step();
    assert!(gets_in_by(&scratch, &module, &phone.code_at(used * 30)));
    assert!(gets_in_by(&scratch, &module, codes[0]));
    let said = import(&scratch, "google", &path, &["--user", ACCOUNT]);
    let device = &said["users"][0]["devices"][0];
    assert_eq!(device["used"], used, "{said}");
    assert_eq!(said["users"][0]["backup_codes"], 4);

    for gone in [
        codes[0],
        &phone.code_at(used * 30),
        &phone.code_at((used - 1) * 30),
    ] {
        assert!(!gets_in(&scratch, gone), "{gone}");
    }
    assert!(gets_in(&scratch, &phone.code_at((used + 1) * 30)));
    assert!(gets_in(&scratch, codes[1]) && !gets_in(&scratch, codes[1]));
}

#[test]
fn a_window_that_was_narrower_stays_so_with_another_key() {
    const NEW: &str = "MZXW6YTBOI4TQNZWGU2DGMRRGBQWEY3E";
    let scratch = Scratch::new(NO_LIMITS);
    let options = ["--time-based", "--disallow-reuse", "--no-rate-limit"];
    let (path, _) = google(&scratch, &[&options[..], &["--window-size=1"]].concat());
    import(&scratch, "google", &path, &["--user", ACCOUNT]);
    let has_window = || {
        let text = fs::read_to_string(scratch.secret(ACCOUNT)).expect("a secret");
        text.lines().any(|line| line == "window = 0")
    };
    assert!(has_window());
    let code = Phone::new(NEW).code_at(step() * 30);
    let rotate = ["rotate", ACCOUNT, "--secret-file", "-"];
    let rotated = scratch.totpctl(&rotate, &format!("{NEW}\n{code}\n"));
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(has_window());
}

#[test]
fn google_authenticators_counter_goes_on() {
    let scratch = Scratch::new(NO_LIMITS);
    let (path, key) = google(
        &scratch,
        &[
            "--counter-based",
            "--rate-limit=3",
            "--rate-time=30",
            "--window-size=3",
        ],
    );
    let module = format!(
        "pam_google_authenticator.so user=root secret={}",
        path.display()
    );
    // The second, as one whose owner pressed the button once for nothing.
    assert!(gets_in_by(&scratch, &module, &hotp(&key, 2)));
    import(&scratch, "google", &path, &["--user", ACCOUNT]);
    assert!(!gets_in(&scratch, &hotp(&key, 1)) && !gets_in(&scratch, &hotp(&key, 2)));
    assert!(gets_in(&scratch, &hotp(&key, 3)) && !gets_in(&scratch, &hotp(&key, 3)));
}

#[test]
fn what_pam_oath_has_noted_of_a_login_is_used_up() {
    const HEX: &str = "3132333435363738393031323334353637383930";
    for (kind, digits) in [
        ("HOTP", 6),
        ("HOTP/E/8", 8),
        ("HOTP/T30", 6),
        ("HOTP/T30/8", 8),
        ("HOTP/T60/7", 7),
    ] {
        let scratch = Scratch::new(NO_LIMITS);
        let path = write(
            &scratch,
            "users.oath",
            format!("# tokens\n{kind} {ACCOUNT} - {HEX}\n"),
        );
        let file = path.display();
        let module = format!("pam_oath.so usersfile={file} window=5 digits={digits}");
        let period = if kind.contains("T60") { 60 } else { 30 };
        let first = match kind.contains("/T") {
            true => clock::system() / period,
            // Not the first that pam_oath would take.
            false => 3,
        };
        let code = |moving: i64| {
            let mut oathtool = Command::new("oathtool");
            let digits = format!("--digits={digits}");
            let counter = format!("--counter={moving}");
            run(oathtool.args(["--hotp", &digits, &counter, HEX]))
                .trim()
                .to_owned()
        };
        assert!(gets_in_by(&scratch, &module, &code(first)), "{kind}");
        let noted = fs::read_to_string(&path).unwrap();
        assert!(noted.contains(&code(first)), "{noted}");
        let said = import(&scratch, "oath", &path, &[]);
        assert_eq!(
            said["users"][0]["devices"][0]["used"], first,
            "{kind}: {noted}{said}"
        );
        assert_eq!(said["notes"].as_array().unwrap().len(), 0, "{said}");
        assert!(!gets_in(&scratch, &code(first)), "{kind}");
        assert!(!gets_in(&scratch, &code(first - 1)), "{kind}");
        assert!(gets_in(&scratch, &code(first + 1)), "{kind}");
    }
}

#[test]
fn every_algorithm_length_and_period_makes_the_codes_of_oathtool() {
    for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha512] {
        let scratch = Scratch::new(NO_LIMITS);
        let mut phones = Vec::new();
        for digits in [6, 7, 8] {
            for period in [15, 30, 60, 120] {
                let secret = end_to_end::secret::fresh();
                phones.push(Phone {
                    hash,
                    digits,
                    period,
                    ..Phone::new(&secret)
                });
            }
        }
        let uris: String = phones.iter().map(|phone| phone.uri() + "\n").collect();
        let path = write(&scratch, "uris", uris);
        let before = clock::system();
        import(&scratch, "otpauth", &path, &["--user", ACCOUNT]);
        for phone in phones {
            for step in [-1, 0, 1] {
                let code = phone.code_at(before + step * phone.period);
                assert!(!gets_in(&scratch, &code), "{phone:?}, {step}");
            }
            clock::set(clock::system() + 2 * phone.period);
            assert!(gets_in(&scratch, &phone.code_at(clock::now())), "{phone:?}");
            clock::unset();
        }
    }
}

#[test]
fn pskctool_reads_what_is_exported_and_it_comes_back_as_it_was() {
    let (scratch, other) = (Scratch::new(NO_LIMITS), Scratch::new(NO_LIMITS));
    let phone = Phone {
        hash: Hash::Sha256,
        digits: 8,
        ..Phone::new(Phone::SECRET)
    };
    scratch.enroll(ACCOUNT, &phone);
    assert!(gets_in(&scratch, &phone.code_at(clock::system())));
    let used = scratch.status(ACCOUNT);
    for format in ["pskc", "otpauth"] {
        let path = scratch.path(format);
        let file = path.to_str().unwrap();
        scratch.document(&["export", ACCOUNT, "--format", format, "--output", file]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = scratch.totpctl(
            &["export", ACCOUNT, "--format", format, "--output", file],
            "",
        );
        assert_eq!(again.status.code(), Some(3), "no file is replaced");
    }
    let listed = run(Command::new("pskctool")
        .arg("--info")
        .arg(scratch.path("pskc")));
    for line in [
        "FriendlyName: phone",
        "Algorithm: urn:ietf:params:xml:ns:keyprov:pskc:totp",
        "Key Secret (base64): MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=",
        "Key TimeInterval: 30",
        "Algorithm Parameters Suite: HMAC-SHA256",
        "Response Format Length: 8",
        &format!("UserId: {ACCOUNT}"),
    ] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
    // Nobody watches: a pipe gets no keys.
    let piped = scratch.totpctl(&["export", ACCOUNT, "--format", "otpauth"], "");
    assert_eq!((piped.status.code(), piped.stdout.len()), (Some(2), 0));

    import(&other, "pskc", &scratch.path("pskc"), &[]);
    assert_eq!(
        other.status(ACCOUNT)["users"][0]["devices"][0]["name"],
        used["users"][0]["devices"][0]["name"]
    );
    assert!(!gets_in(&other, &phone.code_at(clock::system())));
    clock::set(clock::system() + 60);
    assert!(gets_in(&other, &phone.code_at(clock::now())));
    clock::unset();
    let uris = fs::read_to_string(scratch.path("otpauth")).unwrap();
    assert!(uris.contains("algorithm=SHA256&digits=8") && uris.contains(Phone::SECRET));
}

#[test]
fn t29_homes_are_read_without_following_or_waiting() {
    use end_to_end::machine::Machine;

    let machine = Machine::new();
    for user in ["alice", "bob", "carol", "dave", "erin", "frank", "grace"] {
        machine.run(&format!("useradd --create-home --shell /bin/sh {user}"));
    }
    let key = end_to_end::secret::fresh();
    machine.log().keep_secret(&key);
    let file = format!("{key}\n\" TOTP_AUTH\n\" DISALLOW_REUSE\n");
    for user in ["alice", "erin"] {
        let home = format!("install -m 600 -o {user} /dev/fd/0 /home/{user}/.google_authenticator");
        machine.feed(&home, &file);
    }
    let hostile = "cd /home
        ln -s /etc/shadow bob/.google_authenticator
        mkfifo carol/.google_authenticator
        ln erin/.google_authenticator dave/.google_authenticator
        mkdir frank/.google_authenticator
        ln -s /root stray
        chown root erin/.google_authenticator
        printf '%s' 'root:secret' >passwd";
    machine.run(hostile);
    let import = "totpctl import --format google --all-homes";
    let refused = output(
        // Fewer may be open than there are homes.
        machine.command(&[
            "sh",
            "-c",
            &format!("ulimit -n 9; timeout 20 {import} /home"),
        ]),
        b"",
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    for line in [
        "bob: /home/bob/.google_authenticator is not a regular file",
        "carol: /home/carol/.google_authenticator is not a regular file",
        "dave: /home/dave/.google_authenticator has 2 hard links",
        "erin: /home/erin/.google_authenticator has 2 hard links",
        "frank: /home/frank/.google_authenticator is not a regular file",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(
        !said.contains("alice") && !said.contains("grace") && !said.contains("root:"),
        "{said}"
    );
    assert!(machine.run("totpctl status").contains("Nobody is enrolled"));

    // Of somebody who has gone, and twice of one who has not.
    machine.run("install -D -o 54321 /dev/null /home/gone/.google_authenticator");
    let homes = "/home/alice /home/grace /home/gone /home/alice/";
    let said = machine.run(&format!("{import} {homes}"));
    assert!(said.starts_with("alice:"), "{said}");
    let left =
        "/home/gone/.google_authenticator: the file: not carried over: its folder is not the home";
    assert!(said.contains(left), "{said}");
    let status: Value = serde_json::from_str(&machine.run("totpctl status alice --json")).unwrap();
    let devices = &status["users"][0]["devices"];
    assert_eq!(devices[0]["name"], "phone");
    assert_eq!(devices.as_array().unwrap().len(), 1);
    machine
        .log()
        .wait_for(&["imported", "user=alice", "google"]);
}

/// What is written last is found wanting before anything is written.
#[test]
fn whoever_has_a_code_sent_is_enrolled_and_its_name_is_taken() {
    let gateway = Gateway::new();
    let command = gateway.program().display().to_string();
    let settings = format!("[delivery.text]\ncommand = [{command:?}, \"{{address}}\"]\n");
    let scratch = Scratch::new(&settings);
    let enroll = ["enroll", ACCOUNT, "--text", "+41791234567", "--no-confirm"];
    scratch.document(&enroll);
    let contact = &scratch.status(ACCOUNT)["users"][0]["devices"][0];
    let name = contact["name"].as_str().unwrap();
    let key = Phone::SECRET;
    let uri = format!("otpauth://totp/{name}:x?secret={key}\n");
    let oath = "HOTP/T30 bin - 3132333435363738393031323334353637383931\n";
    let people = format!("{oath}HOTP {ACCOUNT} - 3132333435363738393031323334353637383930\n");
    let (uris, people) = (
        write(&scratch, "uris", uri),
        write(&scratch, "users", people),
    );

    for more in [&["--dry-run"][..], &[]] {
        let words = ["import", "--format", "oath", people.to_str().unwrap()];
        let refused = scratch.totpctl(&[&words, more].concat(), "");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("enrolled already: --add"), "{said}");
    }
    let bin = scratch.totpctl(&["status", "bin"], "");
    assert!(String::from_utf8_lossy(&bin.stdout).contains("not enrolled"));

    let file = scratch.path("keys");
    let export = ["export", ACCOUNT, "--format", "otpauth", "--output"];
    let export = [&export[..], &[file.to_str().unwrap()]].concat();
    let refused = scratch.totpctl(&export, "");
    assert!(refused.status.code() == Some(1) && !file.exists());

    let said = import(&scratch, "otpauth", &uris, &["--user", ACCOUNT, "--add"]);
    let device = &said["users"][0]["devices"][0]["name"];
    assert_eq!(device, &format!("{name}-2"), "{said}");
}

#[test]
fn an_import_that_a_full_disk_ends_half_way_is_taken_back() {
    let machine = end_to_end::machine::Machine::new();
    let names: Vec<String> = (0..40).map(|number| format!("user{number:02}")).collect();
    machine.run(&format!(
        "for user in {}; do useradd --no-create-home $user; done",
        names.join(" ")
    ));
    let people = names.iter().enumerate();
    let file: String = people
        .map(|(number, name)| format!("HOTP {name} - {:040x}\n", number + 1))
        .collect();
    machine.run("mkdir -p /var/lib/pam_totp/secrets && chmod -R 700 /var/lib/pam_totp");
    // The decoys have their place; of the people but some.
    machine.feed(
        "totpctl import --format oath -",
        "HOTP bin - 3132333435363738393031323334353637383930\n",
    );
    machine.run(
        "cp -a /var/lib/pam_totp/secrets /root/kept
        mount -t tmpfs -o mode=700,size=80k,nr_inodes=24 small /var/lib/pam_totp/secrets
        cp -a /root/kept/. /var/lib/pam_totp/secrets",
    );
    let refused = output(
        machine.command(&["totpctl", "import", "--format", "oath", "-"]),
        file.as_bytes(),
    );
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.ends_with("; nothing was imported\n"), "{said}");
    machine.log().wait_for(&["imported", "user=user00"]);
    machine.log().wait_for(&["removed-by-force", "user=user00"]);
    let status = machine.run("totpctl status");
    assert!(
        status.contains("bin") && !status.contains("user"),
        "{status}"
    );
    machine.run("umount /var/lib/pam_totp/secrets");
    machine.run("cp -a /root/kept/. /var/lib/pam_totp/secrets");
    let said = machine.feed("totpctl import --format oath -", &file);
    assert!(said.contains("40 accounts imported"), "{said}");
}

/// The lines that MIGRATING.md gives for the time of moving.
fn side_by_side(scratch: &Scratch, old: &str) -> String {
    let page = fs::read_to_string(end_to_end::product::workspace().join("MIGRATING.md")).unwrap();
    let block = page
        .split("```\n")
        .find(|block| block.contains("default=die"))
        .unwrap();
    let ours = scratch.line("", "");
    let stack = block
        .replace(" pam_totp.so", &ours)
        .replace("pam_google_authenticator.so", old);
    assert!(stack.contains(old) && stack.contains("config="), "{stack}");
    stack
}

#[test]
fn side_by_side_everybody_is_asked_by_one_of_the_modules() {
    let scratch = Scratch::new(&format!("{NO_LIMITS}[policy]\nunenrolled = \"skip\"\n"));
    let (path, key) = google(
        &scratch,
        &[
            "--time-based",
            "--disallow-reuse",
            "--rate-limit=10",
            "--rate-time=30",
            "--window-size=3",
        ],
    );
    let phone = Phone::new(&key);
    let old = format!(
        "pam_google_authenticator.so user=root secret={}",
        path.display()
    );
    scratch.service(&side_by_side(&scratch, &old));
    // Where nobody ever enrolled the folder is missing, which denies.
    scratch.enroll("bin", &Phone::new(Phone::SECRET));
    let used = step();
    let wrong = phone.wrong_code_at(used * 30);
    assert!(!gets_in(&scratch, &wrong) && gets_in(&scratch, &phone.code_at(used * 30)));
    let before = fs::read_to_string(&path).unwrap();
    assert!(
        before.contains(&used.to_string()),
        "the old module noted it"
    );

    import(&scratch, "google", &path, &["--user", ACCOUNT]);
    assert!(!gets_in(&scratch, &wrong) && !gets_in(&scratch, &phone.code_at(used * 30)));
    assert!(gets_in(&scratch, &phone.code_at((used + 1) * 30)));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        before,
        "the old module was not asked"
    );
}
