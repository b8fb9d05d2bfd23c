//! What an account brings from another module: all of it or nothing, and nothing of it works twice.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use totp_core::address::Address;
use totp_core::answer::Answer;
use totp_core::backup_code::{BackupSet, ScratchCode};
use totp_core::config::Config;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::{Account, Caller, Store, Subject, System};
use totp_core::event::Event;
use totp_core::judge::Verdict;
use totp_core::otp::{Code, MovingFactor, Otp, Period, Step};
use totp_core::secret::Secret;
use totp_host::error::StoreError;
use totp_host::store::{Backup, FileStore, Import, NewDevice};
use totp_host::system::{Machine, SystemEntropy};

type Machinery = Machine<fn(&Event)>;

struct Case {
    _folder: tempfile::TempDir,
    config: Config,
    system: Machinery,
    account: Account,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "secret_dir = {:?}\nstate_dir = {:?}\nrun_dir = {:?}\n\
             [limits]\ndeny = 0\naddress_deny = 0\ndaily = 0\nuser_limit = 0\n",
            folder.path().join("secrets"),
            folder.path().join("state"),
            folder.path().join("run"),
        );
        Self {
            config: Config::parse(&config).unwrap(),
            system: Machine::new(|_| ()),
            account: Account {
                name: "alice".to_owned(),
                uid: 1000,
            },
            _folder: folder,
        }
    }

    fn store(&self) -> FileStore<'_> {
        FileStore::new(&self.config, &self.system)
    }

    fn takes(&self, answer: &str) -> bool {
        let caller = Caller {
            service: "test".to_owned(),
            is_sshd: false,
            address: Address::Local,
            ssh_keys: Vec::new(),
            place: None,
        };
        let answer = Answer::new(answer.as_bytes().to_vec().into());
        let subject = Subject::Enrolled(&self.account);
        let verdict = self.store().submit(subject, &caller, &answer).unwrap();
        matches!(verdict, Verdict::Accepted(_))
    }

    fn import(&self, import: &Import) -> Result<(), StoreError> {
        self.store().import(&self.account, import)
    }

    /// The names of the devices, and of how many the state knows.
    fn devices(&self) -> (Vec<String>, usize) {
        let records = self.store().records(&self.account).unwrap();
        records.map_or((Vec::new(), 0), |(enrolled, state)| {
            let devices = enrolled.devices.iter();
            let names = devices.map(|device| device.name.to_string()).collect();
            (names, state.devices.len())
        })
    }

    /// The code of a phone whose clock is so many steps ahead.
    fn code_of(&self, new: &NewDevice, ahead: i32) -> String {
        let step = Period::default().step_at(self.system.now()).moved(ahead);
        shown(new, step)
    }
}

fn shown(new: &NewDevice, step: Step) -> String {
    let Device { otp, secret, .. } = &new.device;
    otp.code(secret, step).to_digits().to_string()
}

fn device(name: &str, factor: MovingFactor) -> NewDevice {
    let device = Device {
        id: DeviceId::random(&SystemEntropy).unwrap(),
        name: DeviceName::parse(name).unwrap(),
        otp: Otp {
            factor,
            ..Otp::default()
        },
        secret: Secret::random(&SystemEntropy).unwrap(),
        enrolled: Machinery::new(|_| ()).now(),
        ssh_key: None,
        window: None,
    };
    NewDevice {
        device,
        used: None,
        drift: 0,
    }
}

fn phone(name: &str) -> NewDevice {
    device(name, MovingFactor::Time(Period::default()))
}

fn token(name: &str, next: u64) -> NewDevice {
    NewDevice {
        used: Step(next).before(),
        ..device(name, MovingFactor::Counter)
    }
}

fn scratch_codes(count: u32) -> BackupSet {
    let code = |number| Code::from_digits(format!("{number:08}").as_bytes());
    let codes = (0..count).filter_map(|number| ScratchCode::of(&code(number)?));
    BackupSet::keep(&codes.collect::<Vec<_>>(), &SystemEntropy).unwrap()
}

fn only(devices: Vec<NewDevice>) -> Import {
    Import {
        devices,
        backup_codes: None,
        joins: false,
    }
}

/// As a kill can leave one, when a disk is bad or after a downgrade.
#[test]
fn a_state_of_nobody_that_cannot_be_read_keeps_nobody_from_enrolling() {
    let case = Case::new();
    let first = only(vec![phone("phone")]);
    case.import(&first).unwrap();
    assert!(case.store().reset("alice").unwrap());
    let state = case.config.state_dir.join("alice");
    fs::write(&state, [0x55; 8192]).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o600)).unwrap();
    case.import(&first).unwrap();
    assert!(case.takes(&case.code_of(&first.devices[0], 1)));

    fs::write(&state, [0x55; 8192]).unwrap();
    let tablet = only(vec![device("tablet", MovingFactor::Counter)]);
    let joins = Import {
        joins: true,
        ..tablet
    };
    let refused = case.import(&joins);
    assert!(
        matches!(refused, Err(StoreError::State(..))),
        "what is somebody's is not taken for nobody's: {refused:?}"
    );
}

#[test]
fn everything_comes_with_its_past() {
    let case = Case::new();
    let drifted = NewDevice {
        drift: 5,
        ..phone("phone")
    };
    let import = Import {
        backup_codes: Some(scratch_codes(5)),
        ..only(vec![drifted, token("token", 42)])
    };
    case.import(&import).unwrap();
    let [phone, token] = &import.devices[..] else {
        panic!("two devices")
    };
    assert!(!case.takes(&case.code_of(phone, 0)) && case.takes(&case.code_of(phone, 5)));
    assert!(!case.takes(&shown(token, Step(41))) && case.takes(&shown(token, Step(42))));
    assert!(!case.takes("00000005"), "no code of the set");
    for code in ["00000000", "0000 0004"] {
        assert!(case.takes(code) && !case.takes(code), "{code}");
    }
}

#[test]
fn what_was_used_before_stays_used() {
    let case = Case::new();
    let mut used = phone("phone");
    used.used = Some(Period::default().step_at(case.system.now()).moved(1));
    let import = only(vec![used]);
    case.import(&import).unwrap();
    assert!(!case.takes(&case.code_of(&import.devices[0], 0)));
}

#[test]
fn an_account_that_is_enrolled_is_joined_only_where_that_is_asked() {
    let case = Case::new();
    let first = only(vec![phone("phone")]);
    case.import(&first).unwrap();
    let second = only(vec![token("token", 0)]);
    let refused = case.import(&second);
    assert!(matches!(refused, Err(StoreError::Enrolled)), "{refused:?}");
    assert_eq!(case.devices(), (vec!["phone".to_owned()], 1));
    let second = Import {
        backup_codes: Some(scratch_codes(1)),
        joins: true,
        ..second
    };
    case.import(&second).unwrap();
    assert!(case.takes(&case.code_of(&first.devices[0], 0)));
    assert!(case.takes(&shown(&second.devices[0], Step(0))));
    assert!(case.takes("00000000"));
}

#[test]
fn t54_what_cannot_all_be_taken_is_not_taken_at_all() {
    let case = Case::new();
    for devices in [
        vec![],
        vec![phone("phone"), phone("tablet"), token("phone", 0)],
        (0..17)
            .map(|number| phone(&format!("phone{number}")))
            .collect(),
    ] {
        assert!(case.import(&only(devices)).is_err());
        assert_eq!(case.devices(), (vec![], 0));
    }
    let too_many = Import {
        backup_codes: Some(scratch_codes(17)),
        ..only(vec![phone("phone")])
    };
    let refused = case.import(&too_many);
    assert!(matches!(refused, Err(StoreError::TooManyBackupCodes)));
    assert_eq!(case.devices(), (vec![], 0));

    // Beside what there is.
    let first = only(vec![phone("phone")]);
    case.import(&first).unwrap();
    let codes = scratch_codes(3);
    let (account, which) = (&case.account, Backup::Codes);
    case.store()
        .replace_backup(account, which, Some(&codes))
        .unwrap();
    for (devices, backup_codes) in [
        (vec![phone("tablet"), phone("phone")], None),
        (vec![phone("tablet")], Some(scratch_codes(3))),
    ] {
        let import = Import {
            devices,
            backup_codes,
            joins: true,
        };
        assert!(case.import(&import).is_err());
        assert_eq!(case.devices(), (vec!["phone".to_owned()], 1));
    }
    assert!(case.takes("00000000"), "the codes of before are good");
    assert!(case.takes(&case.code_of(&first.devices[0], 0)));
}

#[test]
fn an_old_count_is_not_believed_of_a_token_that_waits_for_two_codes() {
    let case = Case::new();
    let first = only(vec![token("token", 0)]);
    case.import(&first).unwrap();
    assert!(case.takes(&shown(&first.devices[0], Step(7))));
    fs::remove_file(case.config.state_dir.join("alice")).unwrap();
    case.store().repair(&case.account, false).unwrap();

    let mut again = token("again", 3);
    again.device.secret = first.devices[0].device.secret.clone();
    let again = Import {
        joins: true,
        ..only(vec![again])
    };
    case.import(&again).unwrap();
    let code = |count| shown(&first.devices[0], Step(count));
    assert!(!case.takes(&code(5)), "it was skipped before");
    assert!(!case.takes(&code(8)) && case.takes(&code(9)));
    assert!(case.takes(&code(10)), "one is enough");
}

#[test]
fn what_is_taken_back_leaves_what_was_there_before() {
    let case = Case::new();
    let take_back = |import: &Import| case.store().take_back(&case.account, import);
    let first = only(vec![phone("phone")]);
    case.import(&first).unwrap();
    let second = Import {
        backup_codes: Some(scratch_codes(1)),
        joins: true,
        ..only(vec![token("token", 0), phone("tablet")])
    };
    case.import(&second).unwrap();
    assert!(take_back(&second).unwrap());
    assert_eq!(case.devices(), (vec!["phone".to_owned()], 1));
    assert!(!case.takes("00000000") && !case.takes(&shown(&second.devices[0], Step(0))));
    assert!(case.takes(&case.code_of(&first.devices[0], 0)));

    for is_there in [true, false] {
        assert_eq!(take_back(&first).unwrap(), is_there);
        assert_eq!(case.devices(), (vec![], 0));
    }
}

#[test]
fn a_device_that_is_there_under_another_name_brings_no_used_code_back() {
    let case = Case::new();
    let first = only(vec![token("token", 0)]);
    case.import(&first).unwrap();
    assert!(case.takes(&shown(&first.devices[0], Step(3))));
    let mut twin = token("twin", 0);
    twin.device.secret = first.devices[0].device.secret.clone();
    let import = Import {
        joins: true,
        ..only(vec![twin])
    };
    case.import(&import).unwrap();
    assert!(!case.takes(&shown(&first.devices[0], Step(3))));
    assert!(case.takes(&shown(&first.devices[0], Step(4))));
}
