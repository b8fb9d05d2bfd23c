//! What others save while somebody waits for a lock stays.

#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::config::Config;
use totp_core::delivery::Message;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::{Account, Caller, Entropy, Store, Subject, System};
use totp_core::event::Event;
use totp_core::judge::Verdict;
use totp_core::otp::{Otp, Period};
use totp_core::secret::Secret;
use totp_core::time::Time;
use totp_core::trust::Place;
use totp_host::store::{FileStore, Import, NewDevice};
use totp_host::system::SystemEntropy;
use zeroize::Zeroizing;

const NOON: i64 = 1_800_000_000;

/// A clock that stands still, and what happens the next time that somebody looks at it.
struct Clock<'a> {
    now: &'a Cell<i64>,
    next: RefCell<Option<Box<dyn FnOnce() + 'a>>>,
}

impl<'a> Clock<'a> {
    fn of(now: &'a Cell<i64>) -> Self {
        Self {
            now,
            next: RefCell::new(None),
        }
    }
}

impl System for Clock<'_> {
    fn now(&self) -> Time {
        let now = Time::from_unix(self.now.get());
        if let Some(next) = self.next.take() {
            next();
        }
        now
    }

    fn host_name(&self) -> Option<String> {
        None
    }

    fn account(&self, _: &str) -> Result<Option<Account>, String> {
        Ok(None)
    }

    fn is_member(&self, _: &Account, _: &str) -> Result<bool, String> {
        Ok(false)
    }

    fn is_local(&self, _: &Account) -> Result<bool, String> {
        Ok(false)
    }

    fn deliver(&self, _: &Message) -> Result<(), String> {
        Ok(())
    }

    fn log(&self, _: &Event) {}
}

impl Entropy for Clock<'_> {
    fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
        SystemEntropy.random(length)
    }
}

#[test]
fn a_login_that_ends_takes_nothing_back_from_one_that_was_accepted_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "secret_dir = {:?}\nstate_dir = {:?}\nrun_dir = {:?}\n[policy]\ntrust = \"12h\"\n",
        folder.path().join("secrets"),
        folder.path().join("state"),
        folder.path().join("run"),
    );
    let config = Config::parse(&config).unwrap();
    let account = Account {
        name: "alice".to_owned(),
        uid: 1000,
    };
    let device = Device {
        id: DeviceId(1),
        name: DeviceName::parse("phone").unwrap(),
        otp: Otp::default(),
        secret: Secret::random(&SystemEntropy).unwrap(),
        enrolled: Time::from_unix(NOON),
        ssh_key: None,
        window: None,
    };
    let code = |now: i64| {
        let step = Period::default().step_at(Time::from_unix(now));
        let code = device.otp.code(&device.secret, step);
        Answer::new(code.to_digits().as_bytes().to_vec().into())
    };
    let login = |clock: &Clock<'_>, place| {
        let caller = Caller {
            service: "test".to_owned(),
            is_sshd: false,
            address: Address::Local,
            ssh_keys: Vec::new(),
            place: Some(place),
        };
        let store = FileStore::new(&config, clock);
        let subject = Subject::Enrolled(&account);
        let verdict = store.submit(subject, &caller, &code(clock.now.get()));
        assert!(matches!(verdict.unwrap(), Verdict::Accepted(_)));
    };
    let [mine, theirs] = [Place(1), Place(2)];

    let now = Cell::new(NOON);
    let elsewhere = Clock::of(&now);
    let clock = Clock::of(&now);
    let import = Import {
        devices: vec![NewDevice {
            device: device.clone(),
            used: None,
            drift: 0,
        }],
        backup_codes: None,
        joins: false,
    };
    let store = FileStore::new(&config, &clock);
    store.import(&account, &import).unwrap();
    now.set(NOON + 60);
    login(&clock, mine);
    clock.next.replace(Some(Box::new(|| {
        now.set(NOON + 120);
        login(&elsewhere, theirs);
    })));
    store.confirm_trust(&account, mine).unwrap();

    assert!(clock.next.take().is_none(), "it looked at the clock");
    store.confirm_trust(&account, theirs).unwrap();
    for place in [mine, theirs] {
        let trusted = store.trusted(&account, place).unwrap();
        assert!(trusted.is_some(), "{place:?}");
    }
}
