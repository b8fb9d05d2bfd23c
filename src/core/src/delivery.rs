//! What is sent to people, and by which command of the site's.

use std::fmt::Write as _;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::address::Address;
use crate::bounded::bounded;
use crate::challenge::Pace;
use crate::contact::{Channel, Recipient};
use crate::doors::System;
use crate::event::Event;
use crate::otp::{Code, Digits};
use crate::time::Span;

bounded! {
    /// Codes sent to one user in an hour by one way: so many for familiar places, and so many for all others.
    PerHour(u8), 1 to 8, default 5
}

/// A program of the site's that takes a message on its standard input: the argument vector, no shell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gateway {
    /// The program's absolute path, then its arguments; one that is `{address}` becomes the recipient.
    pub command: Vec<String>,
    /// The account that it runs as.
    pub user: String,
}

impl Gateway {
    /// The argument that becomes the recipient's address.
    pub const ADDRESS: &str = "{address}";
    /// The account that commands run as where none is named.
    pub const USER: &str = "nobody";

    /// What mail is handed to by default.
    #[must_use]
    pub fn sendmail() -> Self {
        Self {
            command: ["/usr/sbin/sendmail", "-t", "-i"]
                .map(str::to_owned)
                .to_vec(),
            user: Self::USER.to_owned(),
        }
    }

    /// The message as it is handed over. What `to` is must look like no option.
    fn message(&self, to: &str, input: Zeroizing<String>) -> Message {
        let address = |argument: &String| match argument.as_str() {
            Self::ADDRESS => to.to_owned(),
            argument => argument.to_owned(),
        };
        Message {
            command: self.command.iter().map(address).collect(),
            user: self.user.clone(),
            input,
        }
    }
}

/// A message, and whom it is handed to. Has no `Debug`: a code is in it.
pub struct Message {
    /// The program's absolute path, then its arguments.
    pub command: Vec<String>,
    /// The account that it runs as.
    pub user: String,
    /// What it reads from its standard input.
    pub input: Zeroizing<String>,
}

impl Message {
    /// The longest input, in bytes: it fits a pipe that nobody reads yet.
    pub const MAX_BYTES: usize = 4000;
}

/// How codes are sent by one way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// By what.
    pub gateway: Gateway,
    /// The sender of mails; root of this host where it is not set.
    pub from: Option<Recipient>,
    /// A file with the text, in which words in braces stand for what differs.
    pub template: Option<PathBuf>,
    /// The length of a code.
    pub digits: Digits,
    /// How long a code is good.
    pub lifetime: Span,
    /// How long after one the next can be sent to the same login.
    pub resend_after: Span,
    /// The most in an hour.
    pub per_hour: PerHour,
}

impl Delivery {
    /// By a gateway, at the usual pace.
    #[must_use]
    pub fn by(gateway: Gateway) -> Self {
        Self {
            gateway,
            from: None,
            template: None,
            digits: Digits::default(),
            lifetime: Span::from_seconds(60),
            resend_after: Span::from_seconds(30),
            per_hour: PerHour::default(),
        }
    }

    /// The limits on it.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            lifetime: self.lifetime,
            resend_after: self.resend_after,
            per_hour: self.per_hour.get(),
        }
    }
}

/// What is sent when somebody's factors change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notify {
    /// By what: it takes mails.
    pub gateway: Gateway,
    /// The sender; root of this host where it is not set.
    pub from: Option<Recipient>,
    /// Who hears of it besides the account's owner.
    pub copy_to: Option<Recipient>,
}

/// What a code is for.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// A login.
    Login,
    /// To take devices away, or all of them.
    Removal,
}

/// What something is sent about.
#[derive(Clone, Copy)]
pub struct Occasion<'a> {
    /// What for.
    pub purpose: Purpose,
    /// The account.
    pub user: &'a str,
    /// The service that asks for a code.
    pub service: &'a str,
    /// Where somebody logs in from.
    pub address: &'a Address,
}

/// The message with a code: a mail, or the words of a text message. `template` is what the file of that name holds.
///
/// # Errors
/// A sentence, where the template is none or the message too long.
pub fn code_message(
    code: &Code,
    recipient: &Recipient,
    occasion: Occasion<'_>,
    (delivery, template): (&Delivery, Option<&str>),
    system: &dyn System,
) -> Result<Message, String> {
    let host = host(system);
    let (subject, text) = match (occasion.purpose, recipient.channel()) {
        // The site's own text is one of logins.
        (Purpose::Removal, _) => ("Your code to turn the second factor off on", REMOVAL),
        (Purpose::Login, Channel::Mail) => (LOGIN, template.unwrap_or(MAIL)),
        (Purpose::Login, Channel::Text) => (LOGIN, template.unwrap_or(TEXT)),
    };
    let lifetime = spoken(delivery.lifetime);
    let address = occasion.address.to_string();
    let text = fill(
        text,
        &[
            ("code", &code.to_digits()),
            ("user", occasion.user),
            ("host", &host),
            ("service", occasion.service),
            ("address", &address),
            ("lifetime", &lifetime),
        ],
    )?;
    let input = match recipient.channel() {
        Channel::Text => text,
        Channel::Mail => {
            let subject = format!("{subject} {host}");
            mail(
                delivery.from.as_ref(),
                recipient.address(),
                &subject,
                &text,
                system,
            )?
        }
    };
    finished(&delivery.gateway, recipient.address(), input)
}

/// The message that proves an address, before it is one that codes are sent to.
///
/// # Errors
/// A sentence.
pub fn confirmation_message(
    code: &Code,
    recipient: &Recipient,
    user: &str,
    delivery: &Delivery,
    system: &dyn System,
) -> Result<Message, String> {
    let (host, lifetime) = (host(system), spoken(delivery.lifetime));
    let code = code.to_digits();
    let words = [
        ("code", code.as_str()),
        ("user", user),
        ("host", &host),
        ("lifetime", &lifetime),
    ];
    let text = fill(CONFIRMATION, &words)?;
    let input = match recipient.channel() {
        Channel::Text => text,
        Channel::Mail => {
            let subject = format!("Your code to confirm this address for {host}");
            mail(
                delivery.from.as_ref(),
                recipient.address(),
                &subject,
                &text,
                system,
            )?
        }
    };
    finished(&delivery.gateway, recipient.address(), input)
}

/// The mail with new backup codes, as they are shown.
///
/// # Errors
/// A sentence.
pub fn backup_codes_message(
    codes: &str,
    recipient: &Recipient,
    user: &str,
    delivery: &Delivery,
    system: &dyn System,
) -> Result<Message, String> {
    let host = host(system);
    let text = fill(
        BACKUP_CODES,
        &[("codes", codes), ("user", user), ("host", &host)],
    )?;
    let subject = format!("Your backup codes for {host}");
    let input = mail(
        delivery.from.as_ref(),
        recipient.address(),
        &subject,
        &text,
        system,
    )?;
    finished(&delivery.gateway, recipient.address(), input)
}

/// The mails that say what became of somebody's factors: to their mail address, or else to the account's mailbox on
/// this host, and to whoever gets a copy.
///
/// # Errors
/// A sentence.
pub fn notices(
    event: &Event,
    owner: Option<&Recipient>,
    user: &str,
    notify: &Notify,
    system: &dyn System,
) -> Result<Vec<Message>, String> {
    let host = host(system);
    // What looks like an option or like several recipients is no mailbox of this host.
    let is_mailbox = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.bytes().all(is_plain)
    };
    let local = is_mailbox(user).then_some(user);
    let owner = owner.map(Recipient::address).or(local);
    let copy = notify.copy_to.as_ref().map(Recipient::address);
    let subject = format!("Second factor of {user} on {host}: {}", event.name);
    let what = event.to_string();
    let now = system.now().to_string();
    let text = fill(
        NOTICE,
        &[
            ("user", user),
            ("host", &host),
            ("what", &what),
            ("time", &now),
        ],
    )?;
    let message = |to: &str| {
        let input = mail(notify.from.as_ref(), to, &subject, &text, system)?;
        finished(&notify.gateway, to, input)
    };
    owner.into_iter().chain(copy).map(message).collect()
}

const LOGIN: &str = "Your verification code for";

const MAIL: &str = "Your verification code for {service} on {host}:\n\n    {code}\n\n\
    It is good for {lifetime}, once, for a login of {user} from {address}.\n\n\
    If you are not logging in there just now, somebody else is trying to, and may know\n\
    your password: change it, and tell your administrator at once. Never pass this\n\
    code on.\n";

const TEXT: &str = "{code} is your verification code for {service} on {host}, good for {lifetime}. \
    If you are not logging in there, somebody else is trying to: change your password and tell your administrator.\n";

const CONFIRMATION: &str = "{code} is the code, good for {lifetime}, by which {user} on {host} confirms that login codes are sent \
    here. If you know nothing of it, tell the administrator there.\n";

const REMOVAL: &str = "{code} is the code, good for {lifetime}, that turns the second factor of {user} on {host} off, or takes \
    one device away. If you have not asked for that, tell your administrator at once, and never pass it on.\n";

const BACKUP_CODES: &str = "New backup codes of {user} on {host}, each good once:\n\n{codes}\n\
    Those of before are void. Keep them where nobody else looks, and delete this\nmail. \
    If nobody has told you that you would get it, tell your administrator.\n";

const NOTICE: &str = "The second factor of {user} on {host} has changed, or somebody has been trying:\n\n\
    {time}\n{what}\n\nIf this was neither you nor your administrator, tell your administrator at once.\n";

/// The text with its words in braces replaced; what they become is not looked at again.
fn fill(template: &str, words: &[(&str, &str)]) -> Result<Zeroizing<String>, String> {
    // Large enough for any: a buffer that grew would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(ROOM));
    let mut rest = template;
    let mut has_secret = false;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let known = after.split_once('}').and_then(|(word, left)| {
            let (_, value) = words.iter().find(|(known, _)| *known == word)?;
            Some((word, value, left))
        });
        let Some((word, value, left)) = known else {
            let names: Vec<String> = words
                .iter()
                .map(|(name, _)| format!("{{{name}}}"))
                .collect();
            return Err(format!(
                "after an opening brace expected one of {}",
                names.join(", ")
            ));
        };
        has_secret |= words.first().is_some_and(|(first, _)| *first == word);
        text.push_str(value);
        rest = left;
    }
    text.push_str(rest);
    match words.first() {
        Some((first, _)) if !has_secret => Err(format!("there is no {{{first}}} in it")),
        _ => Ok(text),
    }
}

const ROOM: usize = 2 * Message::MAX_BYTES;

/// A mail of plain text (RFC 5322).
fn mail(
    from: Option<&Recipient>,
    to: &str,
    subject: &str,
    text: &str,
    system: &dyn System,
) -> Result<Zeroizing<String>, String> {
    let host = host(system);
    let id = system.random(16)?;
    let id = id.iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    });
    let from = match from {
        Some(from) => from.address().to_owned(),
        None => format!("root@{host}"),
    };
    let mut input = Zeroizing::new(String::with_capacity(ROOM));
    let _ = write!(
        input,
        "From: {from}\nTo: {to}\nSubject: {}\nDate: {}\nMessage-ID: <{id}@{host}>\n\
         Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\n{text}",
        one_line(subject),
        system.now().rfc5322(),
    );
    Ok(input)
}

/// What a header can hold: everything but printable ASCII becomes a question mark.
fn one_line(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    text.chars()
        .map(|c| if is_plain(c) { c } else { '?' })
        .collect()
}

fn finished(gateway: &Gateway, to: &str, input: Zeroizing<String>) -> Result<Message, String> {
    if input.len() > Message::MAX_BYTES {
        return Err(format!(
            "the message is longer than {} bytes: set a shorter template",
            Message::MAX_BYTES
        ));
    }
    Ok(gateway.message(to, input))
}

/// The host's name, as far as it is one of a mail address.
fn host(system: &dyn System) -> String {
    let name = system.host_name().filter(|name| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        name.bytes().all(is_plain)
    });
    name.unwrap_or_else(|| "localhost".to_owned())
}

/// A stretch of time in words.
fn spoken(span: Span) -> String {
    let seconds = span.seconds();
    match (seconds % 60, seconds / 60) {
        (0, minutes) if minutes > 1 => format!("{minutes} minutes"),
        _ => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::{Account, Entropy};
    use crate::time::Time;

    /// A machine of that name.
    struct Host(&'static str);

    impl Entropy for Host {
        fn random(&self, length: usize) -> Result<Zeroizing<Vec<u8>>, String> {
            Ok(vec![7; length].into())
        }
    }

    impl System for Host {
        fn now(&self) -> Time {
            Time::from_unix(1_800_000_000)
        }

        fn host_name(&self) -> Option<String> {
            Some(self.0.to_owned())
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

    const HEADERS: [&str; 9] = [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ];

    fn headers(message: &Message) -> Vec<&str> {
        let (head, _) = message.input.split_once("\n\n").unwrap();
        let names = head.lines().map(|line| line.split(':').next().unwrap());
        names.collect()
    }

    fn code_for(user: &str, service: &str, host: &'static str) -> Message {
        let to = Recipient::new(Channel::Mail, "a@b.c").unwrap();
        let code = Code::from_digits(b"123456").unwrap();
        let occasion = Occasion {
            purpose: Purpose::Login,
            user,
            service,
            address: &Address::Local,
        };
        let delivery = Delivery::by(Gateway::sendmail());
        code_message(&code, &to, occasion, (&delivery, None), &Host(host)).unwrap()
    }

    #[test]
    fn no_name_gets_into_a_header() {
        const HOSTILE: &str = "x\nBcc: eve@example.org\n\n{code} @ \r\u{e9}";
        for message in [
            code_for(HOSTILE, "sshd", "host"),
            code_for("alice", HOSTILE, "host"),
            code_for("alice", "sshd", HOSTILE),
        ] {
            assert_eq!(headers(&message), HEADERS);
            assert_eq!(message.input.matches("123456").count(), 1);
            let no_argument = message.command.iter().all(|word| !word.contains("123456"));
            assert!(no_argument);
        }
        assert!(code_for("a", "b", HOSTILE).input.contains("root@localhost"));
    }

    #[test]
    fn a_notice_goes_to_no_name_that_is_more_than_a_mailbox() {
        let notify = Notify {
            gateway: Gateway {
                command: ["/bin/mail", Gateway::ADDRESS].map(str::to_owned).to_vec(),
                user: Gateway::USER.to_owned(),
            },
            from: None,
            copy_to: Recipient::new(Channel::Mail, "soc@b.c"),
        };
        let event = Event::new(crate::event::Severity::Notice, "enrolled");
        let to = |user: &str| -> Vec<String> {
            let notices = notices(&event, None, user, &notify, &Host("host")).unwrap();
            for notice in &notices {
                assert_eq!(headers(notice), HEADERS, "{user:?}");
            }
            let last = notices.into_iter().map(|mut notice| notice.command.pop());
            last.map(Option::unwrap).collect()
        };
        assert_eq!(to("alice"), ["alice", "soc@b.c"]);
        for hostile in ["-oQ/tmp", "a b", "a,b@c.d", "a\nBcc: b@c.d", "", "|sh", "é"] {
            assert_eq!(to(hostile), ["soc@b.c"], "{hostile:?}");
        }
    }

    #[test]
    fn a_template_is_filled_once_or_refused() {
        let fill_with = |template| fill(template, &[("code", "{user}"), ("user", "alice")]);
        assert_eq!(
            fill_with("{code} of {user}").unwrap().as_str(),
            "{user} of alice"
        );
        for template in [
            "",
            "{user}",
            "{code} {",
            "{code} {nobody}",
            "{code} {us{er}",
        ] {
            assert!(fill_with(template).is_err(), "{template:?}");
        }
    }
}
