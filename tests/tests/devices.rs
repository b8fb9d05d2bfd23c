//! Several devices of one person, and what becomes of one that is renamed or removed.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use end_to_end::clock;
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, NO_LIMITS, Scratch};

const OTHER: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

/// totpctl goes by the system's clock, so these tests do.
fn now() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.expect("a clock after 1970").as_secs() as i64
}

struct Case {
    scratch: Scratch,
    phone: Phone,
    tablet: Phone,
    start: i64,
    steps: Cell<i64>,
}

impl Case {
    fn new() -> Self {
        let (phone, tablet) = (Phone::new(Phone::SECRET), Phone::new(OTHER));
        let scratch = Scratch::new(NO_LIMITS);
        scratch.enroll_device(ACCOUNT, "phone", &phone);
        scratch.enroll_device(ACCOUNT, "tablet", &tablet);
        Self {
            scratch,
            phone,
            tablet,
            start: now(),
            steps: Cell::new(0),
        }
    }

    /// Whether a code that was never used gets in.
    fn lets_in(&self, device: &Phone) -> bool {
        self.steps.set(self.steps.get() + 4);
        let time = self.start + 30 * self.steps.get();
        clock::set(time);
        let code = self.scratch.login(ACCOUNT, device.code_at(time).as_str());
        clock::unset();
        code.code == Code::SUCCESS
    }

    fn totpctl(&self, arguments: &[&str], input: &str) -> i32 {
        let output = self.scratch.totpctl(arguments, input);
        output.status.code().expect("a status")
    }
}

#[test]
fn the_code_of_any_device_gets_in() {
    let case = Case::new();
    assert!(case.lets_in(&case.phone) && case.lets_in(&case.tablet));
}

#[test]
fn another_name_changes_no_code_and_frees_none() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::SUCCESS
    );
    assert_eq!(
        case.totpctl(&["device", "rename", ACCOUNT, "phone", "pixel"], ""),
        0
    );
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::AUTH_ERR
    );
    assert!(case.lets_in(&case.phone));
    assert_eq!(
        case.scratch.status(ACCOUNT)["users"][0]["devices"][0]["name"],
        "pixel"
    );
}

#[test]
fn a_removed_device_is_dead_and_the_other_is_not() {
    let case = Case::new();
    assert_eq!(
        case.totpctl(&["device", "remove", ACCOUNT, "phone", "--force"], ""),
        0
    );
    assert!(!case.lets_in(&case.phone));
    assert!(case.lets_in(&case.tablet));
    // Of the same secret and name it is another device.
    case.scratch.enroll_device(ACCOUNT, "phone", &case.phone);
    assert!(case.lets_in(&case.phone));
}

#[test]
fn removing_takes_an_unused_code_of_any_device_and_uses_it_up() {
    let case = Case::new();
    let (code, wrong) = (case.tablet.code_at(now()), case.phone.wrong_code_at(now()));
    let remove = ["device", "remove", ACCOUNT, "phone"];
    for answer in ["", &wrong, "no code"] {
        assert_eq!(case.totpctl(&remove, &format!("{answer}\n")), 1, "{answer}");
    }
    assert_eq!(
        case.scratch.login(ACCOUNT, code.as_str()).code,
        Code::SUCCESS
    );
    assert_eq!(case.totpctl(&remove, &format!("{code}\n")), 1, "a used one");
    let next = case.tablet.code_at(now() + 30);
    assert_eq!(case.totpctl(&remove, &format!("{next}\n")), 0);
    assert_eq!(
        case.scratch.login(ACCOUNT, next.as_str()).code,
        Code::AUTH_ERR
    );
    assert!(!case.lets_in(&case.phone) && case.lets_in(&case.tablet));
}

#[test]
fn a_device_that_is_removed_while_its_code_is_asked_for_lets_nobody_in() {
    let case = Case::new();
    let code = case.phone.code_at(now());
    let person = |message: &Message| {
        if !message.style.is_prompt() {
            return Reply::Null;
        }
        assert_eq!(
            case.totpctl(&["device", "remove", ACCOUNT, "phone", "--force"], ""),
            0
        );
        code.as_str().into()
    };
    let mut login = case.scratch.start(ACCOUNT, person);
    assert_eq!(login.authenticate(0), Code::AUTH_ERR);
}

#[test]
fn without_the_last_device_nobody_is_enrolled() {
    let case = Case::new();
    for device in ["phone", "tablet"] {
        assert_eq!(
            case.totpctl(&["device", "remove", ACCOUNT, device, "--force"], ""),
            0
        );
    }
    assert_eq!(case.scratch.status(ACCOUNT)["users"][0]["enrolled"], false);
    assert!(!case.lets_in(&case.tablet));
    assert!(!case.scratch.state(ACCOUNT).exists() && !case.scratch.secret(ACCOUNT).exists());
}
