//! What a stranger may bring: each hostile file is refused at once and in little memory.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use end_to_end::clock;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, Scratch, totpctl};

/// What one run took.
struct Cost {
    status: i64,
    said: String,
    /// Of the processor, whoever else uses it.
    time: Duration,
    /// In KiB, at most.
    memory: i64,
}

/// `totpctl import` in a process of its own.
fn import(scratch: &Scratch, format: &str, file: &Path) -> Cost {
    let words = ["import", "--format", format, "--user", ACCOUNT, "--dry-run"];
    let measured = Command::new(env!("CARGO_BIN_EXE_cost"))
        .arg(totpctl())
        .arg("--config")
        .arg(scratch.config())
        .args(words)
        .arg(file)
        .output()
        .unwrap();
    assert!(measured.status.success(), "{measured:?}");
    let figures = String::from_utf8(measured.stdout).unwrap();
    let figures: Vec<i64> = figures
        .split_whitespace()
        .map(|one| one.parse().unwrap())
        .collect();
    let [status, micros, memory] = figures[..] else {
        panic!("{figures:?}")
    };
    Cost {
        status,
        said: String::from_utf8(measured.stderr).unwrap(),
        time: Duration::from_micros(micros.unsigned_abs()),
        memory,
    }
}

fn repeated(head: &str, unit: &str, tail: &str, bytes: usize) -> String {
    let count = (bytes - head.len() - tail.len()) / unit.len();
    format!("{head}{}{tail}", unit.repeat(count))
}

const HEAD: &str = "<KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">";

/// A name, the format, and the content.
fn files() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let full = 4 << 20;
    let mut rubbish = vec![0; full];
    File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut rubbish)
        .unwrap();
    let zeros = vec![0; 64 << 10];
    let mut bomb = "<!DOCTYPE a [<!ENTITY e0 \"ha\">".to_owned();
    for level in 1..30 {
        let below = format!("&e{};", level - 1).repeat(10);
        write!(bomb, "<!ENTITY e{level} \"{below}\">").unwrap();
    }
    bomb += "]><a>&e29;</a>";
    let mut attributes = format!("{}<a", &HEAD[..HEAD.len() - 1]);
    let mut namespaces = attributes.clone();
    attributes.truncate(HEAD.len() - 1);
    for number in 0..200_000 {
        write!(attributes, " a{number}=\"\"").unwrap();
    }
    attributes += "/>";
    for number in 0..100_000 {
        write!(namespaces, " xmlns:n{number}=\"u{number}\"").unwrap();
    }
    namespaces += "/></KeyContainer>";
    let text = |text: String| text.into_bytes();
    let iterations = "<EncryptionKey><DerivedKey><KeyDerivationMethod Algorithm=\"#pbkdf2\"><PBKDF2-params><Salt>\
        <Specified>AAAA</Specified></Salt><IterationCount>4000000000</IterationCount><KeyLength>16</KeyLength>\
        </PBKDF2-params></KeyDerivationMethod></DerivedKey></EncryptionKey></KeyContainer>";
    vec![
        ("rubbish.google", "google", rubbish[..60 << 10].to_vec()),
        ("rubbish.oath", "oath", rubbish.clone()),
        ("rubbish.otpauth", "otpauth", rubbish[..1 << 20].to_vec()),
        ("rubbish.pskc", "pskc", rubbish),
        ("zeros", "google", zeros.clone()),
        ("zeros.pskc", "pskc", zeros),
        ("bomb", "pskc", text(bomb)),
        ("deep", "pskc", text(repeated(HEAD, "<a>", "", full))),
        (
            "wide",
            "pskc",
            text(repeated(HEAD, "<a/>", "</KeyContainer>", full)),
        ),
        ("attributes", "pskc", text(attributes)),
        ("namespaces", "pskc", text(namespaces)),
        (
            "references",
            "pskc",
            text(repeated(
                &format!("{HEAD}<a>"),
                "&#65;",
                "</a></KeyContainer>",
                full,
            )),
        ),
        (
            "unclosed",
            "pskc",
            text(repeated("<KeyContainer a=\"", "<", "", full)),
        ),
        ("iterations", "pskc", text(format!("{HEAD}{iterations}"))),
        (
            "keys",
            "pskc",
            text(repeated(
                HEAD,
                "<KeyPackage><Key Id=\"1\"/></KeyPackage>",
                "</KeyContainer>",
                full,
            )),
        ),
        ("lines", "oath", text(repeated("", "\n", "x", 8 << 20))),
        ("words", "oath", text(repeated("", "a\n", "", 8 << 20))),
        (
            "tokens",
            "oath",
            text(repeated(
                "",
                "HOTP/T30 nobody-here - 31 1 123456 x\n",
                "",
                8 << 20,
            )),
        ),
        ("blanks", "google", text(repeated("A", " ", "", 60 << 10))),
        (
            "export",
            "otpauth",
            text(repeated(
                "otpauth-migration://offline?data=",
                "CgAA",
                "",
                1 << 20,
            )),
        ),
        (
            "exports",
            "otpauth",
            text(repeated(
                "",
                "otpauth-migration://offline?data=CgA\n",
                "",
                1 << 20,
            )),
        ),
    ]
}

#[test]
fn t54_hostile_files_are_refused_in_100_ms_and_50_mb() {
    let scratch = Scratch::new("");
    let mut slow = String::new();
    for (name, format, content) in files() {
        let path = scratch.path(name);
        fs::write(&path, &content).unwrap();
        check(&mut slow, name, &import(&scratch, format, &path));
    }
    // Larger than anybody's memory; endless; nobody at the other end; somebody else's.
    let huge = scratch.path("huge");
    File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let fifo = scratch.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let link = scratch.path("link");
    symlink("/etc/passwd", &link).unwrap();
    let others: [PathBuf; 4] = [huge, fifo, link, "/dev/zero".into()];
    for path in others {
        for format in ["google", "oath", "pskc", "otpauth"] {
            let name = path.display().to_string();
            let cost = import(&scratch, format, &path);
            check(&mut slow, &name, &cost);
            let is_told = ["is not a regular file", "bytes"]
                .iter()
                .any(|one| cost.said.contains(one));
            assert!(
                is_told && !cost.said.contains("root:"),
                "{name}: {}",
                cost.said
            );
        }
    }
    assert!(slow.is_empty(), "{slow}");
}

fn check(slow: &mut String, name: &str, cost: &Cost) {
    let Cost {
        status,
        said,
        time,
        memory,
    } = cost;
    assert!(matches!(status, 1 | 3), "{name}: {status} {said}");
    assert!(!said.is_empty(), "{name}");
    println!("{name}: {time:?}, {memory} KiB");
    if *time > Duration::from_millis(100) || *memory > 50_000 {
        writeln!(slow, "{name}: {time:?}, {memory} KiB").unwrap();
    }
}

#[test]
fn ten_thousand_people_are_read_in_a_second() {
    let scratch = Scratch::new("");
    let now = clock::system() - 3600;
    let code = Phone::new(Phone::SECRET).code_at(now);
    let date = Command::new("date")
        .args([&format!("--date=@{now}"), "+%Y-%m-%dT%H:%M:%SL"])
        .output()
        .unwrap();
    let date = String::from_utf8(date.stdout).unwrap();
    let mut text = String::new();
    for number in 0..10_000 {
        let user = match number {
            9_999 => ACCOUNT.to_owned(),
            _ => format!("user{number}"),
        };
        write!(
            text,
            "HOTP/T30/6\t{user}\t-\t3132333435363738393031323334353637383930\t0\t{code}\t{date}"
        )
        .unwrap();
    }
    let path = scratch.path("users");
    fs::write(&path, text).unwrap();
    let cost = import(&scratch, "oath", &path);
    assert_eq!(cost.status, 0, "{}", cost.said);
    println!("10,000 people: {:?}, {} KiB", cost.time, cost.memory);
    assert!(cost.time < Duration::from_secs(1), "{:?}", cost.time);
    assert!(cost.memory < 50_000, "{} KiB", cost.memory);
}
