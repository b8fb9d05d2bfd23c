//! `totpctl enroll --mail` and `--text`: gives a user an address that codes are sent to.
//!
//! A code is sent to it and has to be typed before anything is on disk: that proves the address.

use serde_json::{Value, json};
use totp_core::address::Address;
use totp_core::answer::Typed;
use totp_core::challenge::{Binding, Challenge, Challenges, Unsent};
use totp_core::contact::{Contact, Recipient};
use totp_core::delivery::{Delivery, confirmation_message};
use totp_core::device::DeviceName;
use totp_core::doors::{Account, Conversation, Echo, Offers};
use totp_core::event::Change;
use totp_core::message::{self, Hint};
use totp_core::record::State;
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

/// Sends a code and asks for it: by the same rules as at a login, but with nothing on disk.
fn confirm(
    context: &Context,
    account: &Account,
    contact: &Contact,
    delivery: &Delivery,
) -> Result<(), Failure> {
    const MOST_PROMPTS: u8 = 12;
    let (system, recipient) = (context.system(), &contact.recipient);
    let channel = recipient.channel();
    let (binding, no_offers) = (Binding::of(OURS, &Address::Local), Offers::default());
    let mut terminal = Terminal::new(context.json);
    let mut challenges = Challenges {
        contacts: vec![contact.id],
        ..Challenges::default()
    };
    let send = |challenges: &mut Challenges| -> Result<String, Failure> {
        let begun = challenges.begin(
            (contact.id, channel),
            (binding, true),
            (delivery.digits, delivery.pace()),
            system.now(),
            system,
        );
        let left = |next: totp_core::time::Time| next.since(system.now());
        let code = match begun.map_err(Failure::unreachable)? {
            Ok(code) => code,
            Err(Unsent::JustSent { next }) => return Ok(message::code_waiting(left(next))),
            Err(Unsent::TooMany { next }) => {
                return Ok(message::too_many_codes(
                    channel,
                    left(next),
                    Hint::SentAlone(&no_offers),
                ));
            }
        };
        let text = confirmation_message(&code, recipient, &account.name, delivery, system);
        text.and_then(|text| system.deliver(&text))
            .map_err(|reason| {
                Failure::unreachable(format_args!(
                    "the code could not be sent, and nothing was enrolled: {reason}"
                ))
            })?;
        let to = recipient.to_string();
        Ok(message::code_sent(
            channel,
            &to,
            delivery.lifetime,
            Hint::SentAlone(&no_offers),
        ))
    };
    let nothing = |reason: &str| Failure::refused(format_args!("{reason}: nothing was enrolled"));
    let mut notice = send(&mut challenges)?;
    for _ in 0..MOST_PROMPTS {
        let prompt = message::prompt_after(&notice, message::SENT_PROMPT);
        let answer = terminal
            .ask(&prompt, Echo::On)
            .map_err(|_| nothing("no code was typed"))?;
        if answer.letter() == Some(b'r') || matches!(answer.typed(), Typed::Empty) {
            notice = send(&mut challenges)?;
            continue;
        }
        if let Typed::Code(code) = answer.typed() {
            let now = system.now();
            let mut each = code.each();
            if each.any(|(_, code)| challenges.take(binding, &code, now).is_some()) {
                return Ok(());
            }
        }
        challenges.miss(binding);
        let waiting = challenges.of(binding);
        let left = Challenge::MOST_WRONG.saturating_sub(waiting.map_or(0, |sent| sent.wrong));
        if left == 0 {
            break;
        }
        notice = message::not_that_code(left);
    }
    Err(nothing("three wrong codes"))
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
