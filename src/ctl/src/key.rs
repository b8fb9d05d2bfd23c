//! The key of a device: made or read, shown, and confirmed by a code.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;
use totp_core::config::Issuer;
use totp_core::device::Device;
use totp_core::doors::Account;
use totp_core::flow::{Confirmation, confirm};
use totp_core::key_uri::{self, KeyUri};
use totp_core::otp::{MovingFactor, Otp, Step};
use totp_core::record::state::DeviceState;
use totp_core::secret::Secret;
use zeroize::Zeroizing;

use crate::cli::{Drawing, NewKey, QrOptions};
use crate::context::Context;
use crate::failure::Failure;
use crate::new_file::NewFile;
use crate::output;
use crate::qr;
use crate::terminal::{Terminal, read_line, standard_input};

/// What is known of a device once a code has confirmed it: the first of what may be `known` that the code fits, with its
/// step used up. `unchanged` is what holds where there is none.
pub(crate) fn confirmed(
    context: &Context,
    device: &Device,
    known: &[DeviceState],
    terminal: &mut Terminal,
    unchanged: &str,
) -> Result<DeviceState, Failure> {
    let (verify, system) = (&context.config.verify, context.system());
    match confirm(device, known, verify, terminal, system) {
        Confirmation::Confirmed(known) => Ok(known),
        Confirmation::Aborted => Err(Failure::refused(format_args!(
            "no code was typed: {unchanged}. Begin again when the app has the key"
        ))),
        Confirmation::Wrong => {
            let advice = match device.otp.factor {
                MovingFactor::Counter => "the counter in the URI with that of the token",
                MovingFactor::Time(_) => "the clocks of the phone and of this machine",
            };
            Err(Failure::refused(format_args!(
                "three wrong codes: {unchanged}. Compare {advice}, and begin again"
            )))
        }
    }
}

/// The key that was handed in, or one that nobody knows yet. What the command line leaves open is as `default` has it.
pub(crate) fn new_or_given(
    context: &Context,
    arguments: &NewKey,
    default: Otp,
) -> Result<KeyUri, Failure> {
    let asked = Otp {
        algorithm: arguments.algorithm.unwrap_or(default.algorithm),
        digits: arguments.digits.unwrap_or(default.digits),
        factor: arguments.period.map_or(default.factor, MovingFactor::Time),
    };
    let key = match &arguments.secret_file {
        None => {
            // A file with the QR code shows it as well.
            if arguments.qr.qr_file.is_none() {
                output::refuse_closed()?;
            }
            KeyUri {
                secret: Secret::random(context.system()).map_err(Failure::unreachable)?,
                otp: asked,
                counter: Step(0),
            }
        }
        Some(path) => read_key(path, arguments, asked)?,
    };
    if key.secret.expose().len() < Secret::RECOMMENDED_BYTES {
        let warning = "totpctl: warning: this secret is shorter than the 128 bits of RFC 4226";
        let _ = writeln!(io::stderr(), "{warning}");
    }
    Ok(key)
}

/// The key in the first line of a file, or of stdin for `-`; further lines of stdin are codes.
fn read_key(path: &Path, arguments: &NewKey, asked: Otp) -> Result<KeyUri, Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => bad_secret(path, error),
        _ => Failure::unreachable(format_args!("{}: {error}", path.display())),
    };
    let file = match path == Path::new("-") {
        true => standard_input(),
        false => File::open(path),
    };
    let line = file.and_then(|mut file| read_line(&mut file));
    let line = line.map_err(failed)?.unwrap_or_default();
    let line = std::str::from_utf8(&line).map_err(|_| bad_secret(path, "not UTF-8"))?;
    if line.trim().is_empty() {
        return Err(bad_secret(path, "no secret in the first line"));
    }
    if !line.contains("://") {
        let secret = Secret::from_base32(line).map_err(|error| bad_secret(path, error))?;
        return Ok(KeyUri {
            secret,
            otp: asked,
            counter: Step(0),
        });
    }
    let key = KeyUri::parse(line).map_err(|error| bad_secret(path, error))?;
    let otp = key.otp;
    let is_contradicted = arguments
        .algorithm
        .is_some_and(|asked| asked != otp.algorithm)
        || arguments.digits.is_some_and(|asked| asked != otp.digits)
        || arguments.period.is_some() && arguments.period != otp.period();
    if is_contradicted {
        return Err(bad_secret(
            path,
            format_args!("the URI says {otp}: leave the options out"),
        ));
    }
    Ok(key)
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
    otp: Otp,
}

impl Key {
    /// The key of a device, for the code that follows those which are known to be used up.
    pub(crate) fn new(
        context: &Context,
        account: &Account,
        device: &Device,
        known: &DeviceState,
    ) -> Result<Self, Failure> {
        let host = context.host_name();
        let issuer = match &context.config.issuer {
            Some(issuer) => issuer.clone(),
            None => Issuer::new(&host).ok_or_else(|| {
                Failure::refused(
                    "the host's name can't stand for the issuer: set issuer in the configuration",
                )
            })?,
        };
        let label = key_uri::label(&account.name, &host, &device.name);
        let uri = KeyUri {
            secret: device.secret.clone(),
            otp: device.otp,
            counter: known.next(),
        };
        Ok(Self {
            grouped: device.secret.grouped(),
            uri: uri.write(issuer.as_str(), &label),
            otp: device.otp,
        })
    }

    /// The Key URI.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Writes the QR code into the file that was asked for.
    pub(crate) fn write(&self, options: &QrOptions) -> Result<Option<NewFile>, Failure> {
        let path = options.qr_file.as_deref();
        path.map(|path| qr::write(&qr::new(&self.uri)?, path))
            .transpose()
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
    ///
    /// A program that reads a document has it from there, and what is on stderr may well end up in a log.
    pub(crate) fn show(
        &self,
        drawing: Drawing,
        terminal: &Terminal,
        is_known: bool,
    ) -> Result<(), Failure> {
        match (terminal.is_for_program(), is_known) {
            (false, _) => {}
            (true, true) => return Ok(()),
            (true, false) => {
                return Err(Failure::usage(
                    "with --json and no terminal nobody sees the key before a code of it is asked for: \
                     name --secret-file or --qr-file",
                ));
            }
        }
        let failed = |error| Failure::unreachable(format_args!("the key can't be shown: {error}"));
        let text = Zeroizing::new(format!(
            "Add this key to an authenticator app, by hand or by its QR code:\n\n  {}\n\n  \
             {}\n\n  {}\n\n",
            self.grouped.as_str(),
            self.otp,
            self.uri.as_str(),
        ));
        terminal.print(&text).map_err(failed)?;
        let qr = qr::new(&self.uri)?;
        let is_utf8 = match drawing {
            Drawing::None => return Ok(()),
            Drawing::Utf8 => true,
            Drawing::Ascii => false,
            Drawing::Auto => is_utf8_locale(),
        };
        let picture = match is_utf8 {
            true => qr.to_half_blocks(),
            false => qr.to_ascii(),
        };
        // The last row is the prompt's.
        let (columns, rows) = totp_core::qr::size_of(&picture);
        match terminal.size().filter(|_| terminal.is_watched()) {
            Some((width, height)) if columns > width || rows >= height => terminal.print(&format!(
                "The QR code needs a terminal of {columns} columns and {} rows.\n\
                     Type the key; or press Ctrl-C, enlarge this terminal of {width} columns\n\
                     and {height} rows (or give --qr-file NAME.png{}), and begin again.\n",
                rows.saturating_add(1),
                match is_utf8 {
                    true => "",
                    false => ", or --qr utf8",
                }
            )),
            _ => terminal.print(&picture),
        }
        .map_err(failed)
    }
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
