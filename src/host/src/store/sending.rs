//! Codes that are sent, and the contacts that they are sent to.

use totp_core::challenge::Unsent;
use totp_core::contact::{Channel, Contact, Recipient};
use totp_core::delivery::{self, Delivery, Occasion};
use totp_core::doors::{Account, Caller, Offer, Offers, Sent, Subject};
use totp_core::event::{Event, Severity};
use totp_core::otp::Code;
use totp_core::record::State;

use super::{FileStore, LockedRecords, enrollment};
use crate::error::StoreError;
use crate::file::{self, Others};

impl FileStore<'_> {
    /// Where codes can be sent to somebody. Only of people whose state says that there is such a place the secret file
    /// is read for it.
    pub(super) fn offers(
        &self,
        subject: Subject<'_>,
        caller: &Caller,
        state: &State,
    ) -> Result<Offers, StoreError> {
        let challenges = &state.challenges;
        let Subject::Enrolled(account) = subject else {
            return Ok(Offers::default());
        };
        if challenges.contacts.is_empty() {
            return Ok(Offers::default());
        }
        let enrolled = enrollment(&self.secrets()?, account)?.ok_or(StoreError::Ended)?;
        let now = self.system.now();
        let waiting = challenges.of(caller.binding());
        let waiting = waiting.filter(|challenge| challenge.is_live(now));
        let offer = |contact: &Contact| {
            let channel = contact.recipient.channel();
            let is_offered = challenges.contacts.contains(&contact.id)
                && self.config.delivery(channel).is_some();
            is_offered.then(|| Offer {
                channel,
                to: contact.recipient.to_string(),
                waits_until: waiting
                    .filter(|challenge| challenge.contact == contact.id)
                    .map(|challenge| challenge.until()),
            })
        };
        Ok(Offers {
            is_only_way: enrolled.devices.is_empty(),
            contacts: enrolled.contacts.iter().filter_map(offer).collect(),
        })
    }

    pub(super) fn send_code(
        &self,
        account: &Account,
        caller: &Caller,
        channel: Channel,
    ) -> Result<Sent, StoreError> {
        let Some(delivery) = self.config.delivery(channel) else {
            let reason = format!("no [delivery.{}] is configured", channel.key());
            return Ok(Sent::Failed(reason));
        };
        let (recipient, begun) = self.begin(account, caller, channel, delivery)?;
        let code = match begun {
            Ok(code) => code,
            Err(sent) => return Ok(sent),
        };
        let until = self.system.now().after(delivery.lifetime);
        let occasion = Occasion {
            user: &account.name,
            service: &caller.service,
            address: &caller.address,
        };
        Ok(
            match self.hand_over(&code, &recipient, occasion, delivery) {
                Ok(()) => Sent::To(recipient, until),
                Err(reason) => Sent::Failed(reason),
            },
        )
    }

    /// Makes a code, which is durable when this returns, or says why there is none.
    fn begin(
        &self,
        account: &Account,
        caller: &Caller,
        channel: Channel,
        delivery: &Delivery,
    ) -> Result<(Recipient, Result<Code, Sent>), StoreError> {
        let LockedRecords {
            file,
            enrolled,
            secrets: _secrets,
        } = self.lock_enrolled(account)?;
        let contact = enrolled.contact(channel).ok_or(StoreError::Ended)?;
        let recipient = contact.recipient.clone();
        let (now, address) = (self.system.now(), &caller.address);
        let source = self.config.source(address);
        let (record, state) = file.read()?;
        let mut state = state.without_future(now);
        if let Some(refusal) = self.standing_of(&state, &source, address).refusal() {
            return Ok((recipient, Err(Sent::Refused(refusal))));
        }
        let is_familiar = state.tally.is_familiar(&source, &self.config.limits, now);
        let begun = state.challenges.begin(
            (contact.id, channel),
            (caller.binding(), is_familiar),
            (delivery.digits, delivery.pace()),
            now,
            &crate::system::SystemEntropy,
        );
        let code = match begun.map_err(StoreError::Entropy)? {
            Ok(code) => code,
            Err(Unsent::JustSent { next }) => return Ok((recipient, Err(Sent::Waiting(next)))),
            Err(Unsent::TooMany { next }) => return Ok((recipient, Err(Sent::TooMany(next)))),
        };
        state.saved = now;
        file.save(&record, &state)?;
        Ok((recipient, Ok(code)))
    }

    /// Hands a code over to the gateway.
    ///
    /// # Errors
    /// A sentence for the log.
    fn hand_over(
        &self,
        code: &Code,
        recipient: &Recipient,
        occasion: Occasion<'_>,
        delivery: &Delivery,
    ) -> Result<(), String> {
        let template = match &delivery.template {
            None => None,
            Some(path) => Some(template(path)?),
        };
        let text = (delivery, template.as_deref());
        let message = delivery::code_message(code, recipient, occasion, text, self.system)?;
        self.system.deliver(&message)
    }

    /// The mail address of an account, where it is enrolled with one.
    #[must_use]
    pub fn owner_of(&self, account: &Account) -> Option<Recipient> {
        let enrolled = enrollment(&self.secrets().ok()?, account).ok().flatten()?;
        let contact = enrolled.contact(Channel::Mail)?;
        Some(contact.recipient.clone())
    }

    pub(super) fn tell_owner(&self, account: &Account, change: &Event, owner: Option<&Recipient>) {
        let Some(notify) = &self.config.notify else {
            return;
        };
        let known = self.owner_of(account);
        let owner = owner.or(known.as_ref());
        let told = delivery::notices(change, owner, &account.name, notify, self.system).and_then(
            |messages| {
                let mut messages = messages.iter();
                messages.try_for_each(|message| self.system.deliver(message))
            },
        );
        if let Err(reason) = told {
            let event = Event {
                user: Some(account.name.clone()),
                ..Event::new(Severity::Error, "unsent")
            };
            self.system
                .log(&event.because(format_args!("notice: {reason}")));
        }
    }
}

/// The text of a site's own, of a file that only root writes.
fn template(path: &std::path::Path) -> Result<String, String> {
    const MAX_BYTES: usize = 2048;
    let bytes = file::read(path, Others::Read, MAX_BYTES).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| format!("{}: expected UTF-8", path.display()))
}
