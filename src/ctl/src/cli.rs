//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use totp_core::address::Address;
use totp_core::contact::{Channel, Recipient};
use totp_core::device::DeviceName;
use totp_core::otp::{Algorithm, Digits, Period};
use totp_core::ssh_key::Fingerprint;
use totp_core::time::Span;
use totp_import::Format;

/// Enroll people in pam_totp, see where they stand and get them back in.
///
/// Exit status: 0 done, 1 refused or the answer is no, 2 wrong usage, 3 something needed can't be reached or read.
#[derive(Parser)]
#[command(name = "totpctl", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Read this configuration instead of /etc/security/pam_totp.toml (an absolute path)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Print one JSON document, errors included; what a person reads goes to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Give a user a new device: show its key, then activate it by a code
    Enroll(Enroll),

    /// List, rename, remove, bind or unbind the devices of a user
    #[command(subcommand)]
    Device(Device),

    /// Show whether a user has a backup key, make a new one or void it
    ///
    /// Typed in place of a code, it removes all devices and codes of the user, and itself.
    #[command(group = ArgGroup::new("what").args(["regenerate", "remove"]))]
    BackupKey {
        /// The account
        user: String,
        /// Make a new one and show it this once; the one before is void
        #[arg(long)]
        regenerate: bool,
        /// Void it
        #[arg(long)]
        remove: bool,
        /// Show it as a block to print, and nothing else
        #[arg(long, requires = "regenerate")]
        print: bool,
    },

    /// Show how many backup codes a user has left, or make new ones
    BackupCodes {
        /// The account
        user: String,
        /// Make new ones and show them this once; those of before are void
        #[arg(long)]
        regenerate: bool,
        /// Show them as a block to print, and nothing else
        #[arg(long, requires = "regenerate")]
        print: bool,
    },

    /// Take all devices of a user away, by a code of any of them or a backup code
    ///
    /// The next login follows the policy for people who are not enrolled.
    Disable {
        /// The account
        user: String,
        /// Ask for no code
        #[arg(long)]
        force: bool,
    },

    /// Find what is wrong or will be, by reading alone: stacks, sshd, clock, files, who is locked out
    ///
    /// The most dangerous comes first. Exit status: 0 nothing to mend (notes ask for nothing), 1 something to mend.
    Doctor(Doctor),

    /// Tell what a login will be asked for, and by which rule
    Explain(Explain),

    /// Write the keys of a user's devices for another program, which is logged
    Export(Export),

    /// Take over what people have in another second factor: all of a file or nothing
    ///
    /// Says what is not carried over as it was. What was used there does not work here.
    Import(Import),

    /// Make a code that lets a user enroll at the next login
    ///
    /// It is typed in place of the verification code, where [policy] says unenrolled = "enroll".
    Invite {
        /// The account
        user: String,
        /// How long it is good, such as 12h or 7d
        #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = span)]
        expires: Span,
        /// Void it instead
        #[arg(long, conflicts_with = "expires")]
        revoke: bool,
    },

    /// Give a device a new key; the old one works until a code of the new one is typed
    Rotate {
        /// The account
        user: String,
        /// Name of the device
        #[arg(long, value_name = "NAME", default_value = DeviceName::DEFAULT, value_parser = device)]
        device: DeviceName,
        #[command(flatten)]
        key: NewKey,
    },

    /// Show the key and the QR code of a device again, which is logged
    Show {
        /// The account
        user: String,
        /// Name of the device
        #[arg(long, value_name = "NAME", default_value = DeviceName::DEFAULT, value_parser = device)]
        device: DeviceName,
        /// Really do it: whoever sees the key makes the codes
        #[arg(long, required = true)]
        show_secret: bool,
        #[command(flatten)]
        qr: QrOptions,
    },

    /// Give users a state that works, where theirs is damaged, missing or from a backup
    ///
    /// All codes of before are used up then: the next new one gets in. Backup codes and a backup key are void.
    #[command(group = ArgGroup::new("whose").required(true).args(["user", "all"]))]
    Repair {
        /// The account
        user: Option<String>,
        /// Everybody who is enrolled
        #[arg(long)]
        all: bool,
        /// Give up a state of a newer version, too
        #[arg(long, conflicts_with = "all")]
        force: bool,
    },

    /// Set a device right whose clock is minutes off, by two codes in a row
    Resync {
        /// The account
        user: String,
        /// Name of the device
        #[arg(long, value_name = "NAME", default_value = DeviceName::DEFAULT, value_parser = device)]
        device: DeviceName,
    },

    /// Remove all that is kept of a user, be the account gone or not
    ///
    /// The next login follows the policy for people who are not enrolled.
    Reset {
        /// The account
        user: String,
        /// Really do it: there is no way back to the old codes
        #[arg(long)]
        force: bool,
    },

    /// Show devices, drift, wrong answers and locks of one user or of all
    Status {
        /// The account; everybody who is enrolled where left out
        user: Option<String>,
        /// Show what is counted against an address instead, by itself and for each user; without ADDRESS, all
        /// addresses with wrong answers
        #[arg(long, value_name = "ADDRESS", num_args = 0..=1, value_parser = address, conflicts_with = "user")]
        address: Option<Option<Address>>,
    },

    /// Have people asked for a code again where they are not, after a login that policy trusts for a while
    #[command(subcommand)]
    Trust(Trust),

    /// Turn the module on for a service, and off again unless a new login confirms it
    ///
    /// Shows the changes to /etc/pam.d, and for sshd to /etc/ssh/sshd_config.d, and saves the old files. Without
    /// `totpctl rollout --confirm` from a new login they come back by themselves.
    Rollout(Rollout),

    /// Run the real stack of a service once, and see what would happen to a login
    ///
    /// Nobody is logged in, but what is typed is judged and counted as at a login. Credentials and the session are not run.
    Try(Try),

    /// Forget wrong answers, so that nobody is refused for them any longer
    #[command(group = ArgGroup::new("what").required(true).args(["user", "address", "all"]))]
    Unlock {
        /// Those of one account, from wherever they came
        user: Option<String>,
        /// Those from one address, whoever's they were
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        address: Option<Address>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum Device {
    /// Show the devices of a user
    List {
        /// The account
        user: String,
    },

    /// Give a device another name; its codes stay the same
    Rename {
        /// The account
        user: String,
        /// Its name
        #[arg(value_name = "OLD", value_parser = device)]
        from: DeviceName,
        /// The name that it gets
        #[arg(value_name = "NEW", value_parser = device)]
        to: DeviceName,
    },

    /// Take a device away, by a code of any device of the user or a backup code
    Remove {
        /// The account
        user: String,
        /// The device's name
        #[arg(value_name = "NAME", value_parser = device)]
        device: DeviceName,
        /// Ask for no code: the device is lost or stolen
        #[arg(long)]
        force: bool,
    },

    /// Let a device count only for ssh logins with one key
    ///
    /// Where there is no ssh key (sudo, su, console) it does not count at all.
    Bind {
        /// The account
        user: String,
        /// The device's name
        #[arg(value_name = "NAME", value_parser = device)]
        device: DeviceName,
        /// Fingerprint of the key, as ssh-keygen -l prints it; of a certificate, that of the key in it
        #[arg(long, value_name = "SHA256:…", value_parser = fingerprint)]
        ssh_key: Fingerprint,
        /// Do it even if no other device counts where there is no ssh key
        #[arg(long)]
        force: bool,
    },

    /// Let a device count for any login again
    Unbind {
        /// The account
        user: String,
        /// The device's name
        #[arg(value_name = "NAME", value_parser = device)]
        device: DeviceName,
    },
}

#[derive(Subcommand)]
pub(crate) enum Trust {
    /// Ask everywhere again
    #[command(group = ArgGroup::new("whom").required(true).args(["user", "all"]))]
    Clear {
        /// The account
        user: Option<String>,
        /// Everybody who is enrolled
        #[arg(long)]
        all: bool,
    },
}

#[derive(Args)]
#[command(group = ArgGroup::new("end").args(["confirm", "revert", "expire"]))]
pub(crate) struct Rollout {
    /// The PAM service: sshd, sudo, sudo-i, su or login
    #[arg(required_unless_present = "end")]
    service: Option<String>,
    /// It works: let it stay. To be run from a new login with a code
    #[arg(long, conflicts_with = "service")]
    confirm: bool,
    /// Take the module out of the service again, at any time; without SERVICE the rollout that is under way, or the
    /// only one
    #[arg(long)]
    revert: bool,
    /// With --revert: only what waits for its confirmation, if anything does
    #[arg(long, requires = "revert", conflicts_with = "service")]
    unconfirmed: bool,
    /// Put the old files back if nobody has confirmed in time; a timer runs this
    #[arg(long, hide = true, conflicts_with = "service")]
    expire: bool,
    /// Until that time
    #[arg(long, hide = true, requires = "expire")]
    wait: bool,
    /// Who will log in to confirm; by default whoever logged in to run this
    #[arg(long, value_name = "USER", conflicts_with = "end")]
    pub(crate) user: Option<String>,
    /// How long to wait for the confirmation, 1m to 1h
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = within, conflicts_with = "end")]
    pub(crate) within: Span,
    /// For sshd: ask for the key and then the code, and for no password
    #[arg(long, conflicts_with = "end")]
    pub(crate) after_key: bool,
    /// Don't ask before the changes are made
    #[arg(long, conflicts_with = "end")]
    pub(crate) yes: bool,
}

/// What of a rollout is to be done.
pub(crate) enum RolloutStep<'a> {
    Begin(&'a str),
    Confirm,
    Revert(Which<'a>),
    Expire { wait: bool },
}

/// Which rollout is meant.
pub(crate) enum Which<'a> {
    Of(&'a str),
    /// The one under way, else the only one.
    Obvious,
    /// None where nothing waits for its confirmation.
    Unconfirmed,
}

impl Rollout {
    /// Whether it needs no configuration.
    pub(crate) fn takes_back(&self) -> bool {
        self.revert || self.expire
    }

    pub(crate) fn step(&self) -> RolloutStep<'_> {
        match &self.service {
            _ if self.confirm => RolloutStep::Confirm,
            Some(service) if self.revert => RolloutStep::Revert(Which::Of(service)),
            Some(service) => RolloutStep::Begin(service),
            None if self.unconfirmed => RolloutStep::Revert(Which::Unconfirmed),
            None if self.revert => RolloutStep::Revert(Which::Obvious),
            None => RolloutStep::Expire { wait: self.wait },
        }
    }
}

#[derive(Args)]
pub(crate) struct Try {
    /// The PAM service, such as sshd
    #[arg(long, value_name = "NAME")]
    pub(crate) service: String,
    /// Who logs in
    pub(crate) user: String,
    /// From this remote address; for sshd 127.0.0.1 by default
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) rhost: Option<String>,
    /// At this terminal; by default this one, and for sshd its usual "ssh"
    #[arg(long, value_name = "TTY")]
    pub(crate) tty: Option<String>,
    /// Who runs su or sudo; for sudo the user by default, for su root
    #[arg(long, value_name = "USER")]
    pub(crate) ruser: Option<String>,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// The account, or any name
    #[arg(long, value_name = "USER")]
    pub(crate) user: String,
    /// The PAM service, such as sshd
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) service: String,
    /// The remote address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) rhost: Option<String>,
    /// The terminal, where there is no remote address
    #[arg(long, value_name = "TTY")]
    pub(crate) tty: Option<String>,
    /// Who calls su or sudo; for sudo the user by default
    #[arg(long, value_name = "USER")]
    pub(crate) ruser: Option<String>,
    /// As if nullok stood in the stack's line
    #[arg(long)]
    pub(crate) nullok: bool,
}

#[derive(Args)]
pub(crate) struct Import {
    /// What wrote the file
    #[arg(long, value_enum)]
    pub(crate) format: ImportFormat,
    /// Whose it is, where the file doesn't say; else take over what it says of this account alone
    #[arg(long, value_name = "USER", conflicts_with = "all_homes")]
    pub(crate) user: Option<String>,
    /// What to call the devices; those after the first get a number
    #[arg(long, value_name = "NAME", value_parser = device)]
    pub(crate) device: Option<DeviceName>,
    /// Give accounts that are enrolled these devices too
    #[arg(long)]
    pub(crate) add: bool,
    /// Change nothing, and say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read .google_authenticator in homes: each FILE is one, or a folder of them
    #[arg(long)]
    pub(crate) all_homes: bool,
    /// The first line of KEY is the key that a container is encrypted with, in hexadecimal
    #[arg(long, value_name = "KEY", conflicts_with = "passphrase_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// The first line of PHRASE is the pass phrase of a container; without it, it is asked for
    #[arg(long, value_name = "PHRASE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// What to read ("-": stdin)
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// ~/.google_authenticator of google-authenticator
    Google,
    /// The users file of pam_oath
    Oath,
    /// A key container of RFC 6030
    Pskc,
    /// Key URIs, one a line, and what the app Google Authenticator exports
    Otpauth,
}

impl From<ImportFormat> for Format {
    fn from(format: ImportFormat) -> Self {
        match format {
            ImportFormat::Google => Self::Google,
            ImportFormat::Oath => Self::Oath,
            ImportFormat::Pskc => Self::Pskc,
            ImportFormat::Otpauth => Self::Otpauth,
        }
    }
}

#[derive(Args)]
pub(crate) struct Export {
    /// The account
    pub(crate) user: String,
    /// What reads it
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// Write a new file that is root's alone; without it, only a terminal gets the keys
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Key URIs, one a line
    Otpauth,
    /// A key container of RFC 6030, not encrypted
    Pskc,
}

#[derive(Args)]
pub(crate) struct Doctor {
    /// Look at the system below this folder, such as a disk that is mounted for repair
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
}

#[derive(Args)]
pub(crate) struct Enroll {
    /// The account
    pub(crate) user: String,

    /// Name of the device: 1 to 32 letters, digits, dots, dashes and underscores, a letter or digit first
    ///
    /// phone where left out, and mail or text for an address that codes are sent to.
    #[arg(long, value_name = "NAME", value_parser = device)]
    pub(crate) device: Option<DeviceName>,

    /// Activate the device without asking for a code
    #[arg(long)]
    pub(crate) no_confirm: bool,

    /// Have codes sent to this mail address instead of enrolling an app
    #[arg(long, value_name = "ADDRESS", value_parser = mail, conflicts_with_all = ["NewKey", "QrOptions"])]
    pub(crate) mail: Option<Recipient>,

    /// Have codes sent to this telephone by text message, in international form: +41791234567
    #[arg(long, value_name = "NUMBER", value_parser = text, conflicts_with_all = ["NewKey", "QrOptions", "mail"])]
    pub(crate) text: Option<Recipient>,

    #[command(flatten)]
    pub(crate) key: NewKey,
}

#[derive(Args)]
pub(crate) struct NewKey {
    /// Take the secret from the first line of FILE ("-": stdin) instead of making a new one: base32 or
    /// an otpauth URI
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// Hash of the codes: SHA1 (for a new device, and all that most apps know), SHA256 or SHA512
    #[arg(long, value_name = "HASH", value_parser = algorithm)]
    pub(crate) algorithm: Option<Algorithm>,

    /// Digits of a code: 6 (for a new device) to 8
    #[arg(long, value_name = "N", value_parser = digits)]
    pub(crate) digits: Option<Digits>,

    /// Seconds that a code lasts: 15 to 120, for a new device 30
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    pub(crate) period: Option<Period>,

    #[command(flatten)]
    pub(crate) qr: QrOptions,
}

impl NewKey {
    /// Whether somebody can have the key before it is shown.
    pub(crate) fn is_known(&self) -> bool {
        self.secret_file.is_some() || self.qr.qr_file.is_some()
    }
}

#[derive(Args)]
pub(crate) struct QrOptions {
    /// How to draw the QR code on the screen
    #[arg(long, value_enum, default_value_t = Drawing::Auto)]
    pub(crate) qr: Drawing,

    /// Write the QR code into a new file too: .png or .svg
    #[arg(long, value_name = "FILE")]
    pub(crate) qr_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Drawing {
    /// By half blocks where the locale is UTF-8, by # signs elsewhere
    Auto,
    /// By UTF-8 half blocks
    Utf8,
    /// By # signs, four times as large
    Ascii,
    /// Not at all
    None,
}

fn device(text: &str) -> Result<DeviceName, &'static str> {
    DeviceName::parse(text).ok_or(DeviceName::EXPECTED)
}

fn fingerprint(text: &str) -> Result<Fingerprint, &'static str> {
    Fingerprint::parse(text).ok_or(Fingerprint::EXPECTED)
}

fn span(text: &str) -> Result<Span, &'static str> {
    Span::parse(text).ok_or("expected a whole number and one of s, m, h, d, such as 7d")
}

/// Long enough for a login, and not so long that somebody who is locked out has gone home.
fn within(text: &str) -> Result<Span, &'static str> {
    let span = Span::parse(text).filter(|span| (60..=3600).contains(&span.seconds()));
    span.ok_or("expected 1m to 1h, such as 5m")
}

fn address(text: &str) -> Result<Address, &'static str> {
    Address::named(text).ok_or(Address::EXPECTED)
}

fn mail(text: &str) -> Result<Recipient, &'static str> {
    Recipient::new(Channel::Mail, text).ok_or(Recipient::MAIL)
}

fn text(text: &str) -> Result<Recipient, &'static str> {
    Recipient::new(Channel::Text, text).ok_or(Recipient::NUMBER)
}

fn algorithm(text: &str) -> Result<Algorithm, &'static str> {
    Algorithm::named(text).ok_or(Algorithm::EXPECTED)
}

fn digits(text: &str) -> Result<Digits, &'static str> {
    text.parse()
        .ok()
        .and_then(Digits::new)
        .ok_or(Digits::EXPECTED)
}

fn period(text: &str) -> Result<Period, &'static str> {
    text.parse()
        .ok()
        .and_then(Period::new)
        .ok_or(Period::EXPECTED)
}
