//! What is sent, and where to.

use totp_core::address::Address;
use totp_core::contact::{Channel, Recipient};
use totp_core::delivery::{
    Delivery, Gateway, Message, Notify, Occasion, Purpose, code_message, confirmation_message,
    notices,
};
use totp_core::doors::{Account, Entropy, System};
use totp_core::event::{Event, Severity};
use totp_core::otp::Code;
use totp_core::time::Time;
use zeroize::Zeroizing;

use super::text_of;

/// A mail address or a number: nothing that a command or a header takes for anything else, and masked where it shows.
pub fn recipient(bytes: &[u8]) {
    for channel in Channel::ALL {
        let Some(recipient) = Recipient::new(channel, text_of(bytes)) else {
            continue;
        };
        let address = recipient.address();
        assert!(
            address
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"<>()[]\\,;:\"".contains(&byte))
        );
        assert!(!address.starts_with('-'));
        assert_eq!(Recipient::new(channel, address).as_ref(), Some(&recipient));
        let shown = recipient.to_string();
        assert!(
            shown.chars().count() <= Recipient::MAX_MASKED_CHARS,
            "{shown}"
        );
        assert!(recipient.for_log().is_ascii());
    }
}

/// The names of a user and of a service, which a NUL ends each, and the template of a message: it goes to the recipient,
/// its headers are ours, and the code stands where the template has it and nowhere else.
pub fn template(bytes: &[u8]) {
    let text = text_of(bytes);
    let (user, rest) = text.split_once('\0').unwrap_or((text, ""));
    let (service, template) = rest.split_once('\0').unwrap_or((rest, ""));
    let code = Code::from_digits(CODE.as_bytes()).expect("a code");
    let gateway = Gateway {
        command: ["/usr/bin/send", "--to", Gateway::ADDRESS]
            .map(str::to_owned)
            .to_vec(),
        user: Gateway::USER.to_owned(),
    };
    let delivery = Delivery::by(gateway.clone());
    let address = Address::V4([192, 0, 2, 1].into());
    let occasion = Occasion {
        purpose: Purpose::Login,
        user,
        service,
        address: &address,
    };
    for (channel, to) in [
        (Channel::Mail, "alice@example.org"),
        (Channel::Text, "+41791234560"),
    ] {
        let recipient = Recipient::new(channel, to).expect("a recipient");
        for template in [Some(template), None] {
            let message = code_message(&code, &recipient, occasion, (&delivery, template), &Host);
            let Ok(message) = message else { continue };
            let codes = template.map_or(1, |template| template.matches("{code}").count());
            holds(&message, to, "Your verification code for host", codes, text);
        }
        if let Ok(message) = confirmation_message(&code, &recipient, user, &delivery, &Host) {
            holds(
                &message,
                to,
                "Your code to confirm this address for host",
                1,
                text,
            );
        }
    }

    let notify = Notify {
        gateway,
        from: None,
        copy_to: Recipient::new(Channel::Mail, "root@host"),
    };
    let event = Event {
        user: Some(user.to_owned()),
        ..Event::new(Severity::Notice, "enrolled").because(template)
    };
    for message in notices(&event, None, user, &notify, &Host).unwrap_or_default() {
        let to = message.command.last().expect("a command");
        assert!(to == "root@host" || to == user && !to.starts_with('-'));
        let headers = headers(&message.input);
        assert_eq!(headers.len(), 9);
        assert_eq!(headers[1], format!("To: {to}"));
        assert!(headers[2].starts_with("Subject: Second factor of "));
    }
}

/// A digit that no host, lifetime or address here has.
const CODE: &str = "77777777";

fn holds(message: &Message, to: &str, subject: &str, codes: usize, text: &str) {
    assert!(message.input.len() <= Message::MAX_BYTES);
    assert_eq!(message.command, ["/usr/bin/send", "--to", to]);
    assert_eq!(message.user, Gateway::USER);
    let mut body = message.input.as_str();
    if to.contains('@') {
        let headers = headers(&message.input);
        assert_eq!(headers.len(), 9);
        assert_eq!(
            headers[..3],
            [
                "From: root@host",
                &format!("To: {to}"),
                &format!("Subject: {subject}")
            ]
        );
        body = &body[headers.join("\n").len()..];
    }
    if !text.contains('7') {
        assert_eq!(body.matches(CODE).count(), codes);
    }
}

fn headers(mail: &str) -> Vec<&str> {
    mail.lines().take_while(|line| !line.is_empty()).collect()
}

struct Host;

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
        Some("host".to_owned())
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
