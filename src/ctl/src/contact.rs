//! `totpctl enroll --mail` and `--text`: gives a user an address that codes are sent to.
//!
//! A code is sent to it and has to be typed before anything is on disk: that proves the address.

use serde_json::{Value, json};
use totp_core::address::Address;
use totp_core::answer::{Answer, Typed};
use totp_core::challenge::{Binding, Challenge, Challenges, Unsent};
use totp_core::contact::{Contact, Recipient};
use totp_core::delivery::{Delivery, confirmation_message};
use totp_core::device::DeviceName;
use totp_core::doors::{Account, Conversation, Echo, Offers, System};
use totp_core::event::Change;
use totp_core::message::{self, Hint};
use totp_core::otp::Code;
use totp_core::record::State;
use totp_core::time::Time;
use totp_host::store::{OURS, check_new_contact};

use crate::cli::Enroll;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn enroll(
    context: &Context,
    arguments: &Enroll,
    recipient: &Recipient,
) -> Result<(), Failure> {
    let account = context.account(&arguments.user)?;
    let channel = recipient.channel();
    let delivery = context.config.delivery(channel).ok_or_else(|| {
        Failure::refused(format_args!(
            "codes can't be sent {}: set command in [delivery.{}] of the configuration",
            channel.words(),
            channel.key()
        ))
    })?;
    let name = arguments
        .device
        .clone()
        .or_else(|| DeviceName::parse(channel.key()))
        .unwrap_or_default();
    let contact = Contact {
        id: context.new_id()?,
        name,
        recipient: recipient.clone(),
        enrolled: context.system().now(),
    };
    if let Some((enrollment, _)) = context.store().records(&account)? {
        check_new_contact(&enrollment, &contact)?;
    }
    if !arguments.no_confirm {
        confirm(context, &account, &contact, delivery)?;
    }
    context.store().add_contact(&account, &contact)?;
    let to = recipient.for_log();
    context.changed_because(Change::Enrolled, &account, Some(&contact.name), to);
    let text = format!(
        "Codes for {} are sent {} to {recipient} from now on.",
        account.name,
        channel.words()
    );
    let document = json!({
        "user": account.name,
        "device": contact.name.as_str(),
        "type": channel.key(),
        "confirmed": !arguments.no_confirm,
    });
    context.print(&text, &document);
    Ok(())
}

/// Sends a code and asks for it.
fn confirm(
    context: &Context,
    account: &Account,
    contact: &Contact,
    delivery: &Delivery,
) -> Result<(), Failure> {
    const MOST_PROMPTS: u8 = 12;
    let nothing = |reason: &str| Failure::refused(format_args!("{reason}: nothing was enrolled"));
    let mut terminal = Terminal::new(context.json);
    let mut sent = SentCodes {
        system: context.system(),
        account,
        contact,
        delivery,
        challenges: Challenges {
            contacts: vec![contact.id],
            ..Challenges::default()
        },
    };
    let mut notice = sent.send()?;
    for _ in 0..MOST_PROMPTS {
        let prompt = message::prompt_after(&notice, message::SENT_PROMPT);
        let answer = terminal
            .ask(&prompt, Echo::On)
            .map_err(|_| nothing("no code was typed"))?;
        if answer.letter() == Some(b'r') || matches!(answer.typed(), Typed::Empty) {
            notice = sent.send()?;
            continue;
        }
        notice = match sent.judge(&answer) {
            Judged::Right => return Ok(()),
            Judged::Wrong { left: 0 } => break,
            Judged::Wrong { left } => message::not_that_code(left),
        };
    }
    Err(nothing("three wrong codes"))
}

/// The codes that are sent to an address which is no contact yet: by the same rules as at a login, but with nothing on disk.
struct SentCodes<'a> {
    system: &'a dyn System,
    account: &'a Account,
    contact: &'a Contact,
    delivery: &'a Delivery,
    challenges: Challenges,
}

enum Judged {
    Right,
    Wrong {
        /// How many more wrong ones the code that was sent last outlives.
        left: u8,
    },
}

impl SentCodes<'_> {
    fn binding() -> Binding {
        Binding::of(OURS, &Address::Local)
    }

    /// Sends a code, and says what came of it.
    fn send(&mut self) -> Result<String, Failure> {
        let (contact, delivery) = (self.contact, self.delivery);
        let (system, recipient) = (self.system, &contact.recipient);
        let (channel, no_offers) = (recipient.channel(), Offers::default());
        let hint = Hint::SentAlone(&no_offers);
        let begun = self.challenges.begin(
            (contact.id, channel),
            (Self::binding(), true),
            (delivery.digits, delivery.pace()),
            system.now(),
            system,
        );
        let left = |next: Time| next.since(system.now());
        let code = match begun.map_err(Failure::unreachable)? {
            Ok(code) => code,
            Err(Unsent::JustSent { next }) => return Ok(message::code_waiting(left(next))),
            Err(Unsent::TooMany { next }) => {
                return Ok(message::too_many_codes(channel, left(next), hint));
            }
        };
        let text = confirmation_message(&code, recipient, &self.account.name, delivery, system);
        let sent = text.and_then(|text| system.deliver(&text));
        sent.map_err(|reason| {
            Failure::unreachable(format_args!(
                "the code could not be sent, and nothing was enrolled: {reason}"
            ))
        })?;
        let to = recipient.to_string();
        Ok(message::code_sent(channel, &to, delivery.lifetime, hint))
    }

    fn judge(&mut self, answer: &Answer) -> Judged {
        if let Typed::Code(code) = answer.typed() {
            let now = self.system.now();
            let mut takes = |code: Code| {
                let taken = self.challenges.take(Self::binding(), &code, now);
                taken.is_some()
            };
            if code.each().any(|(_, code)| takes(code)) {
                return Judged::Right;
            }
        }
        self.challenges.miss(Self::binding());
        let waiting = self.challenges.of(Self::binding());
        let wrong = waiting.map_or(0, |sent| sent.wrong);
        Judged::Wrong {
            left: Challenge::MOST_WRONG.saturating_sub(wrong),
        }
    }
}

/// A line on a contact, and the same as a document.
pub(crate) fn describe(contact: &Contact, state: &State) -> (String, Value) {
    let is_known = state.challenges.contacts.contains(&contact.id);
    let recipient = &contact.recipient;
    let unknown = match is_known {
        true => "",
        false => ", not known to the state, refused",
    };
    let channel = recipient.channel();
    let line = format!(
        "{}: codes {} to {recipient}{unknown}",
        contact.name,
        channel.words()
    );
    let document = json!({
        "name": contact.name.as_str(),
        "type": channel.key(),
        "address": recipient.to_string(),
        "enrolled": contact.enrolled.to_string(),
        "active": is_known,
    });
    (line, document)
}
