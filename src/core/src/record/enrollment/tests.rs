use super::text::checksum_line;
use super::*;
use crate::backup_code::SetId;
use crate::config::Window;
use crate::contact::Recipient;
use crate::otp::{Algorithm, Digits, MovingFactor, Otp, Period};
use crate::secret::Secret;

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const KEY: &str = "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn sample() -> Enrollment {
    let device = |id, name: &str, digits, algorithm| Device {
        id: DeviceId(id),
        name: DeviceName::parse(name).unwrap(),
        otp: Otp {
            algorithm,
            digits: Digits::new(digits).unwrap(),
            factor: MovingFactor::Time(Period::new(60).unwrap()),
        },
        secret: Secret::from_base32(SECRET).unwrap(),
        enrolled: Time::from_unix(1_795_339_800),
        ssh_key: None,
        window: None,
    };
    let bound = Device {
        ssh_key: Fingerprint::parse(KEY),
        window: Window::new(0),
        ..device(u64::MAX, "token", 8, Algorithm::Sha512)
    };
    let contact = |id, name: &str, channel, address: &str| Contact {
        id: DeviceId(id),
        name: DeviceName::parse(name).unwrap(),
        recipient: Recipient::new(channel, address).unwrap(),
        enrolled: Time::from_unix(1_795_339_800),
    };
    Enrollment {
        uid: 1000,
        devices: vec![device(1, "phone", 6, Algorithm::Sha1), bound],
        contacts: vec![
            contact(2, "mail", Channel::Mail, "alice.b'c@example.org"),
            contact(3, "mobile", Channel::Text, "+41791234567"),
        ],
        backup_codes: Some(BackupSet {
            id: SetId(0xfedc),
            salt: [0xab; 16],
            hashes: vec![[1; 32], [2; 32]],
        }),
        backup_key: Some(BackupSet {
            id: SetId(0xba98),
            salt: [0xcd; 16],
            hashes: vec![[3; 32]],
        }),
        invite: None,
    }
}

#[test]
fn what_is_written_reads_back() {
    let text = sample().to_toml();
    // A login has no time for all of TOML.
    assert!(crate::document::is_plain(&text));
    let again = Enrollment::parse(&text).unwrap();
    assert_eq!(again.to_toml().as_str(), text.as_str());
    assert_eq!(again.devices.len(), 2);
    assert_eq!(again.contacts, sample().contacts);
    assert_eq!(again.backup_codes, sample().backup_codes);
    assert_eq!(again.backup_key, sample().backup_key);
    assert_eq!(again.devices[1].ssh_key, Fingerprint::parse(KEY));
    assert_eq!(again.devices[1].window, Window::new(0));
    assert_eq!(again.devices[1].otp.digits.get(), 8);
}

#[test]
fn an_event_token_has_no_period_and_no_counter() {
    let mut tokens = sample();
    tokens.devices.truncate(1);
    tokens.devices[0].otp.factor = MovingFactor::Counter;
    let text = tokens.to_toml();
    assert!(text.contains("type = \"hotp\"") && !text.contains("period"));
    let again = Enrollment::parse(&text).unwrap();
    assert_eq!(again.devices[0].otp, tokens.devices[0].otp);
}

#[test]
fn more_codes_than_are_read_are_not_written() {
    let mut many = sample();
    let hashes = vec![[1; 32]; usize::from(Count::MAX) + 1];
    many.backup_codes = many.backup_codes.map(|set| BackupSet { hashes, ..set });
    assert_eq!(many.check(), Err(EnrollmentError::TooManyBackupCodes));
}

#[test]
fn an_invite_stands_alone() {
    let alone = Enrollment {
        invite: Some(Invite {
            set: BackupSet {
                id: SetId(0x7654),
                salt: [0xef; 16],
                hashes: vec![[4; 32]],
            },
            expires: Time::from_unix(1_795_339_800),
        }),
        ..Enrollment::new(1000)
    };
    let again = Enrollment::parse(&alone.to_toml()).unwrap();
    assert_eq!(again.invite, alone.invite);
    let beside = Enrollment {
        devices: sample().devices,
        ..alone
    };
    let error = Enrollment::parse(&beside.to_toml()).err();
    assert_eq!(error, Some(EnrollmentError::InviteBesideDevices));
}

#[test]
fn every_other_text_is_refused_with_its_place_and_without_its_content() {
    let text = sample().to_toml();
    for (old, new, line) in [
        ("uid = 1000", "uid = -1", 3),
        ("uid = 1000", "", 1),
        ("uid = 1000", "uid = 1000\ncolour = 1", 4),
        ("digits = 6", "digits = 5", 11),
        ("period = 60", "period = \"60\"", 12),
        ("algorithm = \"SHA1\"", "algorithm = \"MD5\"", 10),
        ("type = \"totp\"", "type = \"motp\"", 8),
        ("type = \"totp\"", "type = \"hotp\"", 12),
        ("period = 60\n", "", 5),
        ("id = \"0000000000000001\"", "id = \"1\"", 6),
        ("name = \"phone\"", "name = \"my phone\"", 7),
        (
            "TQOJQ\"\nalgorithm = \"SHA1\"",
            "TQOJ1\"\nalgorithm = \"SHA1\"",
            9,
        ),
        (
            "TQOJQ\"\nalgorithm = \"SHA1\"",
            "TQOJQ\nalgorithm = \"SHA1\"",
            9,
        ),
        ("secret = \"GEZ", "secret = GEZ", 9),
        ("secret = \"GEZ", "GEZ = \"", 5),
    ] {
        assert!(text.contains(old), "{old}");
        let broken = text.replacen(old, new, 1);
        let Err(error) = Enrollment::parse(&broken) else {
            panic!("{new} was taken");
        };
        let EnrollmentError::Malformed { line: at, .. } = &error else {
            panic!("{new}: {error}");
        };
        assert_eq!(*at, line, "{new}: {error}");
        for leak in ["GEZ", "TQOJ", "DGNB", "MD5", "motp", "my phone"] {
            assert!(!error.to_string().contains(leak), "{error}");
        }
    }
}

/// The text with its last line made anew.
fn resealed(text: &str) -> String {
    let body = &text[..text.rfind("# sha256").unwrap()];
    format!("{body}{}", checksum_line(body))
}

#[test]
fn versions_and_duplicates_are_told_apart() {
    let text = sample().to_toml();
    let newer = text.replacen("version = 1", "version = 2", 1);
    assert_eq!(
        Enrollment::parse(&newer).err(),
        Some(EnrollmentError::Version(2))
    );
    let twice = resealed(&text.replacen("token", "phone", 1));
    let phone = DeviceName::parse("phone").unwrap();
    assert_eq!(
        Enrollment::parse(&twice).err(),
        Some(EnrollmentError::DuplicateDevice(phone))
    );
    let taken = resealed(&text.replacen("name = \"mail\"", "name = \"phone\"", 1));
    assert!(matches!(
        Enrollment::parse(&taken).err(),
        Some(EnrollmentError::DuplicateDevice(_))
    ));
    let two = text.replacen("text = \"+41791234567\"", "mail = \"b@c.d\"", 1);
    assert_eq!(
        Enrollment::parse(&resealed(&two)).err(),
        Some(EnrollmentError::DuplicateContact(Channel::Mail))
    );
    let mut many = sample();
    many.devices = vec![many.devices.remove(0); 17];
    assert_eq!(
        Enrollment::parse(&many.to_toml()).err(),
        Some(EnrollmentError::TooManyDevices)
    );
}

/// Miri, which takes a thousand times as long, looks at one place of so many.
const STRIDE: usize = if cfg!(miri) { 509 } else { 1 };

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let text = sample().to_toml();
    for end in (0..text.len()).step_by(STRIDE) {
        assert!(Enrollment::parse(&text[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_file_with_any_bit_flipped_is_refused() {
    let text = sample().to_toml();
    for bit in (0..text.len() * 8).step_by(STRIDE) {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = String::from_utf8(bytes);
        assert!(
            flipped.map_or(true, |text| Enrollment::parse(&text).is_err()),
            "bit {bit}"
        );
    }
}
