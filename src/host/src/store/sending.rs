//! Codes that are sent, and the contacts that they are sent to.

use totp_core::address::Address;
use totp_core::challenge::Unsent;
use totp_core::contact::{Channel, Contact, Recipient};
use totp_core::delivery::{self, Delivery, Gateway, Occasion, Purpose};
use totp_core::doors::{Account, Caller, Offer, Offers, Sent, Subject};
use totp_core::event::{Event, Severity};
use totp_core::otp::Code;
use totp_core::record::State;

use super::{FileStore, LockedRecords, OURS, enrollment};
use crate::command;
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
        // Where there is nothing to send by, none is counted.
        let (delivery, template) = match self.delivery(channel) {
            Ok(found) => found,
            Err(reason) => return Ok(Sent::Failed(reason)),
        };
        let (recipient, code) = match self.begin(account, caller, channel, delivery)? {
            Ok(begun) => begun,
            Err(unsent) => return Ok(unsent),
        };
        let until = self.system.now().after(delivery.lifetime);
        let occasion = Occasion {
            // totpctl asks for a code where devices are to be taken away, and nowhere else.
            purpose: match caller.service == OURS {
                true => Purpose::Removal,
                false => Purpose::Login,
            },
            user: &account.name,
            service: &caller.service,
            address: &caller.address,
        };
        let text = (delivery, template.as_deref());
        let message = delivery::code_message(&code, &recipient, occasion, text, self.system);
        Ok(
            match message.and_then(|message| self.system.deliver(&message)) {
                Ok(()) => Sent::To(recipient, until),
                Err(reason) => Sent::Failed(reason),
            },
        )
    }

    /// How codes are sent by one way, and what the file of its template holds.
    fn delivery(&self, channel: Channel) -> Result<(&Delivery, Option<String>), String> {
        let delivery = self.config.delivery(channel);
        let delivery =
            delivery.ok_or_else(|| format!("no [delivery.{}] is configured", channel.key()))?;
        let template = delivery.template.as_deref().map(template).transpose()?;
        Ok((delivery, template))
    }

    /// Whether codes could be sent by one way, as far as that can be told without sending one.
    ///
    /// # Errors
    /// A sentence.
    pub fn check_delivery(&self, channel: Channel) -> Result<(), String> {
        let (delivery, template) = self.delivery(channel)?;
        let occasion = Occasion {
            purpose: Purpose::Login,
            user: "somebody",
            service: OURS,
            address: &Address::Local,
        };
        let anybody = match channel {
            Channel::Mail => Recipient::new(channel, "somebody@example.org"),
            Channel::Text => Recipient::new(channel, "+999999999999999"),
        };
        let code = Code::random(delivery.digits, self.system)?;
        let anybody = anybody.ok_or("no recipient")?;
        let text = (delivery, template.as_deref());
        delivery::code_message(&code, &anybody, occasion, text, self.system)?;
        check_gateway(&delivery.gateway)
    }

    /// Makes a code, which is durable when this returns, or says why there is none.
    fn begin(
        &self,
        account: &Account,
        caller: &Caller,
        channel: Channel,
        delivery: &Delivery,
    ) -> Result<Result<(Recipient, Code), Sent>, StoreError> {
        let LockedRecords {
            file,
            enrolled,
            secrets: _secrets,
        } = self.lock_enrolled(account)?;
        let Some(contact) = enrolled.contact(channel) else {
            let reason = "the address was removed meanwhile".to_owned();
            return Ok(Err(Sent::Failed(reason)));
        };
        let (now, address) = (self.system.now(), &caller.address);
        let source = self.config.source(address);
        let (record, state) = file.read()?;
        let mut state = state.as_of(now);
        if let Some(refusal) = self.standing_of(&state, &source, address).refusal() {
            return Ok(Err(Sent::Refused(refusal)));
        }
        // Who runs totpctl is root, and no stranger.
        let is_familiar =
            caller.service == OURS || state.tally.is_familiar(&source, &self.config.limits, now);
        let begun = state.challenges.begin(
            (contact.id, channel),
            (caller.binding(), is_familiar),
            (delivery.digits, delivery.pace()),
            now,
            &crate::system::SystemEntropy,
        );
        let code = match begun.map_err(StoreError::Entropy)? {
            Ok(code) => code,
            Err(Unsent::JustSent { next }) => return Ok(Err(Sent::Waiting(next))),
            Err(Unsent::TooMany { next }) => return Ok(Err(Sent::TooMany(next))),
        };
        file.save(&record, &state)?;
        Ok(Ok((contact.recipient.clone(), code)))
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
        let notices = delivery::notices(change, owner, &account.name, notify, self.system);
        // Whoever can't be told keeps nobody else from hearing of it.
        let told: Vec<_> = match &notices {
            Ok(notices) => notices.iter().map(|one| self.system.deliver(one)).collect(),
            Err(reason) => vec![Err(reason.clone())],
        };
        for reason in told.into_iter().filter_map(Result::err) {
            let event = Event {
                user: Some(account.name.clone()),
                ..Event::new(Severity::Error, "unsent")
            };
            self.system
                .log(&event.because(format_args!("notice: {reason}")));
        }
    }
}

/// Whether a command of the site's could be run.
///
/// # Errors
/// A sentence.
pub fn check_gateway(gateway: &Gateway) -> Result<(), String> {
    command::check(&gateway.command, &gateway.user).map_err(|error| error.to_string())
}

/// The text of a site's own, of a file that only root writes.
fn template(path: &std::path::Path) -> Result<String, String> {
    const MAX_BYTES: usize = 2048;
    let bytes = file::read(path, Others::Read, MAX_BYTES).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| format!("{}: expected UTF-8", path.display()))
}
