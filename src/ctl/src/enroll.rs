//! `totpctl enroll`: gives a user a new device.
//!
//! Nothing is on disk before the code is confirmed: whatever goes wrong until then, or whoever walks
//! away, leaves the user as before.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde_json::json;
use totp_core::config::Issuer;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::{Account, Conversation as _, Entropy};
use totp_core::flow::{Confirmation, confirm};
use totp_core::key_uri::KeyUri;
use totp_core::otp::Totp;
use totp_core::secret::Secret;
use totp_host::system::{SystemEntropy, host_name};
use zeroize::Zeroizing;

use crate::cli::{Drawing, Enroll};
use crate::context::Context;
use crate::failure::Failure;
use crate::qr::Qr;
use crate::terminal::{Terminal, read_line};

pub(crate) fn run(context: &Context, arguments: &Enroll) -> Result<(), Failure> {
    let account = context.account(&arguments.user)?;
    let enrolled = context.store().records(&account)?;
    if enrolled.is_some_and(|(enrollment, _)| enrollment.device(&arguments.device).is_some()) {
        return Err(Failure::refused(format_args!(
            "{} has a device named {} already, which stays as it is: give the new one another name \
             with --device, or remove all of them with totpctl reset {} --force",
            account.name, arguments.device, account.name
        )));
    }
    let mut terminal = Terminal::new(context.json);
    let device = new_device(context, arguments, &mut terminal)?;
    let key = Key::new(context, &account, &device)?;

    // Who hands in a secret and wants no code asked has nobody watching, and knows the key.
    let is_unattended = arguments.secret_file.is_some() && arguments.no_confirm;
    if !is_unattended {
        key.show(arguments.qr, &terminal)?;
    }
    if let Some(path) = &arguments.qr_file {
        Qr::new(&key.uri)?.write(path)?;
    }
    let used = if arguments.no_confirm {
        None
    } else {
        match confirm(
            &device,
            &context.config.verify,
            &mut terminal,
            context.system(),
        ) {
            Confirmation::Confirmed(step) => Some(step),
            Confirmation::Aborted => {
                return Err(Failure::refused("no code was typed: nothing was enrolled"));
            }
            Confirmation::Wrong => {
                return Err(Failure::refused("three wrong codes: nothing was enrolled"));
            }
        }
    };
    context.store().add_device(&account, &device, used)?;
    context.log("enrolled", &account.name, Some(device.name.as_str()));

    let text = done(&account, &device.name, used.is_some());
    let mut document = json!({
        "user": account.name,
        "device": device.name.as_str(),
        "confirmed": used.is_some(),
    });
    if !is_unattended && let Some(fields) = document.as_object_mut() {
        fields.insert(
            "secret".to_owned(),
            device.secret.to_base32().as_str().into(),
        );
        fields.insert("uri".to_owned(), key.uri.as_str().into());
    }
    context.print(&text, &document);
    Ok(())
}

fn done(account: &Account, device: &DeviceName, confirmed: bool) -> String {
    let next = if confirmed {
        "The code just typed is used up: wait for the next code to log in."
    } else {
        "No code was asked for: try a login before you close this session."
    };
    format!("Device {device} of {} is active. {next}", account.name)
}

fn new_device(
    context: &Context,
    arguments: &Enroll,
    terminal: &mut Terminal,
) -> Result<Device, Failure> {
    let random = |length| SystemEntropy.random(length).map_err(Failure::unreachable);
    let mut totp = Totp {
        algorithm: arguments.algorithm,
        digits: arguments.digits,
        period: arguments.period,
    };
    let secret = match &arguments.secret_file {
        None => Secret::from_bytes(random(Secret::NEW_BYTES)?).map_err(Failure::unreachable)?,
        Some(path) => {
            let text = read_secret(path)?;
            if text
                .to_ascii_lowercase()
                .trim_start()
                .starts_with("otpauth:")
            {
                let uri = KeyUri::parse(&text).map_err(|error| bad_secret(path, error))?;
                totp = uri.totp;
                uri.secret
            } else {
                Secret::from_base32(&text).map_err(|error| bad_secret(path, error))?
            }
        }
    };
    if secret.expose().len() < Secret::RECOMMENDED_BYTES {
        terminal.tell(
            "Warning: this secret is shorter than 128 bits, which RFC 4226 asks for at least.",
        );
    }
    let id = random(8)?
        .iter()
        .fold(0, |id: u64, byte| id << 8 | u64::from(*byte));
    Ok(Device {
        id: DeviceId(id),
        name: arguments.device.clone(),
        totp,
        secret,
        enrolled: context.system().now(),
    })
}

/// The first line of a file, or of stdin for `-`; further lines of stdin are codes.
fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error| Failure::unreachable(format_args!("{}: {error}", path.display()));
    let line = if path == Path::new("-") {
        read_line(&mut io::stdin().lock()).map_err(failed)?
    } else {
        let file = File::open(path).map_err(failed)?;
        read_line(&mut BufReader::new(file)).map_err(failed)?
    };
    line.ok_or_else(|| bad_secret(path, "no secret in it"))
}

fn bad_secret(path: &Path, reason: impl std::fmt::Display) -> Failure {
    Failure::refused(format_args!("{}: {reason}", path.display()))
}

/// What the app of a person has to be told.
struct Key {
    grouped: Zeroizing<String>,
    uri: Zeroizing<String>,
    totp: Totp,
}

impl Key {
    fn new(context: &Context, account: &Account, device: &Device) -> Result<Self, Failure> {
        let host = host_name().unwrap_or_else(|| "localhost".to_owned());
        let issuer = match &context.config.issuer {
            Some(issuer) => issuer.clone(),
            None => Issuer::new(&host).ok_or_else(|| {
                Failure::refused(
                    "the host's name can't stand for the issuer: set issuer in the configuration",
                )
            })?,
        };
        let label = match device.name.as_str() {
            Enroll::DEFAULT_DEVICE => format!("{}@{host}", account.name),
            name => format!("{}@{host} ({name})", account.name),
        };
        let uri = KeyUri {
            secret: device.secret.clone(),
            totp: device.totp,
        };
        Ok(Self {
            grouped: grouped(&device.secret.to_base32()),
            uri: uri.write(issuer.as_str(), &label),
            totp: device.totp,
        })
    }

    /// Prints the key, the URI and, last so that it stays on the screen, the QR code.
    fn show(&self, drawing: Drawing, terminal: &Terminal) -> Result<(), Failure> {
        let Totp {
            algorithm,
            digits,
            period,
        } = self.totp;
        terminal.print(&format!(
            "Add this key to an authenticator app, by hand or by its QR code:\n\n  {}\n\n  \
             time-based, {algorithm}, {digits} digits, {period} seconds\n\n  {}\n\n",
            self.grouped.as_str(),
            self.uri.as_str(),
        ));
        let qr = Qr::new(&self.uri)?;
        let picture = match drawing {
            Drawing::None => return Ok(()),
            Drawing::Utf8 => qr.to_half_blocks(),
            Drawing::Ascii => qr.to_ascii(),
            Drawing::Auto if is_utf8_locale() => qr.to_half_blocks(),
            Drawing::Auto => qr.to_ascii(),
        };
        // The last row is the prompt's.
        let (columns, rows) = Qr::size_of(&picture);
        match terminal.size().filter(|_| terminal.is_watched()) {
            Some((width, height)) if columns > width || rows >= height => {
                terminal.print(&format!(
                    "The QR code needs {columns} columns and {} rows, and this terminal has {width} and \
                     {height}: type the key, or press Ctrl-C, enlarge the terminal (or give --qr-file) \
                     and begin again.\n",
                    rows.saturating_add(1)
                ));
            }
            _ => terminal.print(&picture),
        }
        Ok(())
    }
}

/// Groups of four, as people read and type them.
fn grouped(key: &str) -> Zeroizing<String> {
    let mut grouped = Zeroizing::new(String::with_capacity(key.len().saturating_mul(2)));
    for (index, symbol) in key.chars().enumerate() {
        if index != 0 && index % 4 == 0 {
            grouped.push(' ');
        }
        grouped.push(symbol);
    }
    grouped
}

/// Whether the terminal shows UTF-8, as the locale has it (POSIX: LC_ALL, then LC_CTYPE, then LANG).
fn is_utf8_locale() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    let codeset = locale.unwrap_or_default().to_ascii_uppercase();
    codeset.contains("UTF-8") || codeset.contains("UTF8")
}
