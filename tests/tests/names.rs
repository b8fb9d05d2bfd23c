//! Names that no account has, and that mean something to a file system, a shell or a database.

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::Code;
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, PROMPT, Scratch};
use end_to_end::tree::{names, tree};

fn strange_names() -> Vec<Vec<u8>> {
    let mut strange: Vec<Vec<u8>> = [
        "",
        ".",
        "..",
        "../x",
        "../../x",
        "/",
        "/daemon",
        "daemon/",
        "./daemon",
        "../secrets/daemon",
        "daemon/../daemon",
        "root/../root",
        ".daemon",
        "daemon\n",
        "\ndaemon",
        "dae\nmon",
        " daemon",
        "daemon ",
        "DAEMON",
        "-u",
        "--help",
        "-1",
        "0",
        "1",
        "4294967295",
        "%2e",
        "%2e%2e%2fx",
        "%64aemon",
        "daemon%00",
        "$(id)",
        "daemon;id",
        "*",
        "~",
        "con",
        "no-such-person",
        "ｄaemon",
        "\u{202e}nomead",
        "\x1b[31m",
        "%s%n",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    strange.push(vec![b'a'; 300]);
    strange.push(vec![b'/'; 300]);
    strange.push("é".repeat(200).into_bytes());
    strange.push(vec![b'%'; 100_000]);
    strange.push(b"\xff\xfe".to_vec());
    strange.push(b"daemon\xff".to_vec());
    strange
}

#[test]
fn t30_a_strange_name_is_asked_and_refused_like_any_other_and_leaves_no_file() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new("");
    for account in [ACCOUNT, "root"] {
        scratch.enroll(account, &phone);
    }
    clock::set(EPOCH);
    let (right, wrong) = (phone.code_at(EPOCH), phone.wrong_code_at(EPOCH));
    let refused = scratch.login(ACCOUNT, wrong.as_str());
    assert_eq!(
        (refused.code, refused.asked()),
        (Code::AUTH_ERR, vec![PROMPT])
    );

    let whole = scratch.path("");
    let (files, secrets) = (names(&whole), tree(&scratch.path("secrets")));
    let states = [ACCOUNT, "root"].map(|account| tree(&scratch.state(account)));
    for (index, name) in strange_names().into_iter().enumerate() {
        let shown = String::from_utf8_lossy(&name[..name.len().min(40)]).into_owned();
        let address = format!("198.51.100.{index}");
        let outcome = scratch.login_from(&address, &name, right.as_str());
        assert_eq!(outcome, refused, "{shown:?}");
        assert_eq!(names(&whole), files, "{shown:?}");
    }
    assert_eq!(tree(&scratch.path("secrets")), secrets);
    assert_eq!(
        [ACCOUNT, "root"].map(|account| tree(&scratch.state(account))),
        states
    );
    assert!(!whole.join("../x").exists());

    assert_eq!(scratch.login(ACCOUNT, right.as_str()).code, Code::SUCCESS);
}

/// Each network of IPv6 is an address, and whoever has one has many.
#[test]
fn t24_who_has_more_addresses_than_are_remembered_learns_of_no_name_whether_it_is_enrolled() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new("");
    scratch.enroll(ACCOUNT, &phone);
    clock::set(EPOCH);
    let right = phone.code_at(EPOCH);
    assert_eq!(scratch.login(ACCOUNT, right.as_str()).code, Code::SUCCESS);
    let is_refused = |network: u32| {
        let address = format!("2001:db8:0:{network}::1");
        let names = [ACCOUNT, "no-such-person"];
        let tried = names.map(|name| scratch.login_from(&address, name, "no code"));
        assert_eq!(tried[0], tried[1], "network {network}");
        tried[0].told().concat().contains("limit of attempts")
    };
    for answer in 0..300 {
        is_refused(answer / 3);
    }
    let refused: Vec<_> = (0..100).rev().filter(|it| is_refused(*it)).collect();
    assert!(
        refused.into_iter().eq((52..100).rev()),
        "those that are remembered"
    );
}

#[test]
fn a_strange_name_cannot_be_enrolled() {
    let scratch = Scratch::new("");
    let phone = Phone::new(Phone::SECRET);
    scratch.enroll(ACCOUNT, &phone);
    let before = tree(&scratch.path(""));
    for name in strange_names() {
        let Ok(name) = std::str::from_utf8(&name) else {
            continue;
        };
        let arguments = ["enroll", "--secret-file", "-", "--no-confirm", "--", name];
        let output = scratch.totpctl(&arguments, &phone.uri());
        assert!(
            !output.status.success(),
            "{:?}",
            name.get(..40).unwrap_or(name)
        );
    }
    assert_eq!(tree(&scratch.path("")), before);
}
