//! The key of a device: made or read, shown, and confirmed by a code.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use serde_json::Value;
use totp_core::config::Issuer;
use totp_core::device::{Device, DeviceId};
use totp_core::doors::{Account, Entropy};
use totp_core::flow::{Confirmation, confirm};
use totp_core::key_uri::KeyUri;
use totp_core::otp::{Step, Totp};
use totp_core::secret::Secret;
use totp_host::system::{SystemEntropy, host_name};
use zeroize::Zeroizing;

use crate::cli::{Drawing, Enroll, NewKey, QrOptions};
use crate::context::Context;
use crate::failure::Failure;
use crate::qr::{Picture, Qr};
use crate::terminal::{Terminal, read_line};

/// The step of the code that confirms a device. `unchanged` is what holds where there is none.
pub(crate) fn confirmed(
    context: &Context,
    device: &Device,
    terminal: &mut Terminal,
    unchanged: &str,
) -> Result<Step, Failure> {
    match confirm(device, &context.config.verify, terminal, context.system()) {
        Confirmation::Confirmed(step) => Ok(step),
        Confirmation::Aborted => Err(Failure::refused(format_args!(
            "no code was typed: {unchanged}"
        ))),
        Confirmation::Wrong => Err(Failure::refused(format_args!(
            "three wrong codes: {unchanged}"
        ))),
    }
}

/// The key that was handed in, or one that nobody knows yet. What the command line leaves open is as `default` has it.
pub(crate) fn new_or_given(arguments: &NewKey, default: Totp) -> Result<KeyUri, Failure> {
    let asked = Totp {
        algorithm: arguments.algorithm.unwrap_or(default.algorithm),
        digits: arguments.digits.unwrap_or(default.digits),
        period: arguments.period.unwrap_or(default.period),
    };
    let key = match &arguments.secret_file {
        None => KeyUri {
            secret: new_secret()?,
            totp: asked,
        },
        Some(path) => read_key(path, arguments, asked)?,
    };
    if key.secret.expose().len() < Secret::RECOMMENDED_BYTES {
        let warning = "totpctl: warning: this secret is shorter than the 128 bits of RFC 4226";
        let _ = writeln!(io::stderr(), "{warning}");
    }
    Ok(key)
}

/// The key in the first line of a file, or of stdin for `-`; further lines of stdin are codes.
fn read_key(path: &Path, arguments: &NewKey, asked: Totp) -> Result<KeyUri, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => bad_secret(path, error),
        _ => Failure::unreachable(format_args!("{}: {error}", path.display())),
    };
    let line = if path == Path::new("-") {
        read_line(&mut io::stdin().lock()).map_err(failed)?
    } else {
        let file = File::open(path).map_err(failed)?;
        read_line(&mut BufReader::new(file)).map_err(failed)?
    };
    let line = line.filter(|line| !line.trim().is_empty());
    let line = line.ok_or_else(|| bad_secret(path, "no secret in the first line"))?;
    if !line.contains("://") {
        let secret = Secret::from_base32(&line).map_err(|error| bad_secret(path, error))?;
        return Ok(KeyUri {
            secret,
            totp: asked,
        });
    }
    let key = KeyUri::parse(&line).map_err(|error| bad_secret(path, error))?;
    let Totp {
        algorithm,
        digits,
        period,
    } = key.totp;
    let is_contradicted = arguments.algorithm.is_some_and(|asked| asked != algorithm)
        || arguments.digits.is_some_and(|asked| asked != digits)
        || arguments.period.is_some_and(|asked| asked != period);
    if is_contradicted {
        return Err(bad_secret(
            path,
            format_args!(
                "the URI says {algorithm}, {digits} digits and {period} seconds: leave the options out"
            ),
        ));
    }
    Ok(key)
}

/// 64 random bits that tell a device from every other.
pub(crate) fn new_id() -> Result<DeviceId, Failure> {
    let random = SystemEntropy.random(8).map_err(Failure::unreachable)?;
    let id = random
        .iter()
        .fold(0, |id: u64, byte| id << 8 | u64::from(*byte));
    Ok(DeviceId(id))
}

/// A secret that nobody knows yet.
fn new_secret() -> Result<Secret, Failure> {
    let random = SystemEntropy.random(Secret::NEW_BYTES);
    Secret::from_bytes(random.map_err(Failure::unreachable)?).map_err(Failure::unreachable)
}

fn bad_secret(path: &Path, reason: impl std::fmt::Display) -> Failure {
    let source = match path.to_str() {
        Some("-") => "standard input".into(),
        _ => path.to_string_lossy(),
    };
    Failure::refused(format_args!("{source}: {reason}"))
}

/// What the app of a person has to be told.
pub(crate) struct Key {
    grouped: Zeroizing<String>,
    uri: Zeroizing<String>,
    totp: Totp,
}

impl Key {
    pub(crate) fn new(
        context: &Context,
        account: &Account,
        device: &Device,
    ) -> Result<Self, Failure> {
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

    /// Writes the QR code into the file that was asked for.
    pub(crate) fn write(&self, options: &QrOptions) -> Result<Option<Picture>, Failure> {
        let path = options.qr_file.as_deref();
        path.map(|path| Qr::new(&self.uri)?.write(path)).transpose()
    }

    /// Adds the key to a document for programs.
    pub(crate) fn add_to(&self, document: &mut Value, device: &Device) {
        if let Some(fields) = document.as_object_mut() {
            let secret = device.secret.to_base32();
            fields.insert("secret".to_owned(), secret.as_str().into());
            fields.insert("uri".to_owned(), self.uri.as_str().into());
        }
    }

    /// Prints the key, the URI and, last so that it stays on the screen, the QR code.
    pub(crate) fn show(&self, drawing: Drawing, terminal: &Terminal) -> Result<(), Failure> {
        let failed = |error| {
            Failure::unreachable(format_args!(
                "the key can't be shown, so nothing has changed: {error}"
            ))
        };
        let Totp {
            algorithm,
            digits,
            period,
        } = self.totp;
        let text = Zeroizing::new(format!(
            "Add this key to an authenticator app, by hand or by its QR code:\n\n  {}\n\n  \
             time-based, {algorithm}, {digits} digits, {period} seconds\n\n  {}\n\n",
            self.grouped.as_str(),
            self.uri.as_str(),
        ));
        terminal.print(&text).map_err(failed)?;
        let qr = Qr::new(&self.uri)?;
        let picture = Zeroizing::new(match drawing {
            Drawing::None => return Ok(()),
            Drawing::Utf8 => qr.to_half_blocks(),
            Drawing::Ascii => qr.to_ascii(),
            Drawing::Auto if is_utf8_locale() => qr.to_half_blocks(),
            Drawing::Auto => qr.to_ascii(),
        });
        // The last row is the prompt's.
        let (columns, rows) = Qr::size_of(&picture);
        match terminal.size().filter(|_| terminal.is_watched()) {
            Some((width, height)) if columns > width || rows >= height => terminal.print(&format!(
                "The QR code needs a terminal of {columns} columns and {} rows.\n\
                     Type the key; or press Ctrl-C, enlarge this terminal of {width} columns\n\
                     and {height} rows (or give --qr-file NAME.png), and begin again.\n",
                rows.saturating_add(1)
            )),
            _ => terminal.print(&picture),
        }
        .map_err(failed)
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
