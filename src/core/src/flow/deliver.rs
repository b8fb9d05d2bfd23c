//! A prompt that offers codes to be sent, and sends them.
//!
//! Who has nothing but a mail address or a telephone is sent a code before the prompt. Whoever has an app as well asks for one
//! by a letter. Behind a password there are no letters. No lock is held meanwhile, and where nothing can be sent the prompt takes all other codes.

use crate::answer::{Answer, Typed};
use crate::contact::Channel;
use crate::doors::{Account, Caller, Conversation, Echo, NoAnswer, Offers, Sent, Store, System};
use crate::event::{Event, Severity};
use crate::message::{self, Hint};

/// Asks somebody for a code who has one sent.
pub struct Courier<'a, S> {
    account: &'a Account,
    caller: &'a Caller,
    offers: &'a Offers,
    hint: Hint<'a>,
    store: &'a S,
    system: &'a dyn System,
    /// By which way the last one was sent, or should have been.
    last: Option<Channel>,
}

impl<'a, S: Store> Courier<'a, S> {
    /// For a login, or whatever else asks for a code.
    #[must_use]
    pub fn new(
        (account, caller): (&'a Account, &'a Caller),
        offers: &'a Offers,
        store: &'a S,
        system: &'a dyn System,
    ) -> Self {
        let mut contacts = offers.contacts.iter();
        let waiting = contacts.find(|offer| offer.waits_until.is_some());
        Self {
            account,
            caller,
            offers,
            hint: Hint::Letters(offers),
            store,
            system,
            last: waiting.map(|offer| offer.channel),
        }
    }

    /// The same where no other code is taken.
    #[must_use]
    pub fn alone(self) -> Self {
        let hint = Hint::SentAlone(self.offers);
        Self { hint, ..self }
    }

    /// Shows the prompt, and sends what is asked for, until there is an answer to judge. The letters that the prompt
    /// offers are none, and cost nothing.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn ask(
        &mut self,
        prompt: &str,
        echo: Echo,
        person: &mut dyn Conversation,
    ) -> Result<Answer, NoAnswer> {
        /// What is sent in an hour is counted elsewhere.
        const MOST_LETTERS: u8 = 12;
        let hint = self.hint;
        let mut notice = self.opening(hint);
        for _ in 0..MOST_LETTERS {
            let answer = person.ask(&message::prompt_after(&notice, prompt), echo)?;
            match self.asked_for(&answer) {
                None => return Ok(answer),
                Some(channel) => notice = self.send(channel, hint),
            }
        }
        person.ask(prompt, echo)
    }

    /// Has a code sent where there is nothing else to type and none waits, and says what goes before a prompt for the
    /// password and the code.
    pub fn announce(&mut self) -> Option<String> {
        self.offers
            .is_only_way
            .then(|| self.opening(Hint::Together))
    }

    /// What goes before the first prompt.
    fn opening(&mut self, hint: Hint<'_>) -> String {
        let now = self.system.now();
        let mut contacts = self.offers.contacts.iter();
        match contacts.find_map(|offer| Some((offer, offer.waits_until?))) {
            Some((offer, until)) => {
                let left = until.since(now);
                message::code_waits(offer.channel, &offer.to, left, hint)
            }
            None => match self.offers.contacts.first() {
                Some(offer) if self.offers.is_only_way => self.send(offer.channel, hint),
                _ => message::offered(self.offers),
            },
        }
    }

    /// By which way a code is asked for, where the answer is one of the letters that were offered. Nothing at all asks
    /// for another one.
    fn asked_for(&self, answer: &Answer) -> Option<Channel> {
        const AGAIN: u8 = b'r';
        let is_offered = |channel: &Channel| {
            let mut contacts = self.offers.contacts.iter();
            contacts.any(|offer| offer.channel == *channel)
        };
        match (answer.letter(), answer.typed()) {
            (Some(AGAIN), _) | (None, Typed::Empty) => self.last,
            (Some(letter), _) => {
                let channels = Channel::ALL.into_iter();
                channels
                    .filter(is_offered)
                    .find(|channel| channel.letter() == letter)
            }
            (None, _) => None,
        }
    }

    /// Sends one, and says what came of it.
    fn send(&mut self, channel: Channel, hint: Hint<'_>) -> String {
        self.last = Some(channel);
        let sent = self.store.send(self.account, self.caller, channel);
        let now = self.system.now();
        let sent = sent.unwrap_or_else(|error| Sent::Failed(error.to_string()));
        self.log(channel, &sent);
        match sent {
            Sent::To(recipient, until) => {
                let (to, left) = (recipient.to_string(), until.since(now));
                message::code_sent(channel, &to, left, hint)
            }
            Sent::Waiting(next) => message::code_waiting(next.since(now)),
            Sent::TooMany(next) => message::too_many_codes(channel, next.since(now), hint),
            Sent::Refused(refusal) => message::refused(refusal.until.since(now)),
            Sent::Failed(_) => message::code_not_sent(channel, hint),
        }
    }

    fn log(&self, channel: Channel, sent: &Sent) {
        let (severity, name, reason, until) = match sent {
            Sent::To(recipient, until) => {
                let to = format!("{} to {}", channel.words(), recipient.for_log());
                (Severity::Notice, "sent", to, Some(*until))
            }
            Sent::Waiting(_) | Sent::Refused(_) => return,
            Sent::TooMany(next) => {
                let reason = format!("per_hour: no more codes {}", channel.words());
                (Severity::Warning, "unsent", reason, Some(*next))
            }
            Sent::Failed(reason) => {
                let reason = format!("{}: {reason}", channel.words());
                (Severity::Error, "unsent", reason, None)
            }
        };
        let event = Event {
            user: Some(self.account.name.clone()),
            service: Some(self.caller.service.clone()),
            address: Some(self.caller.address.clone()),
            until,
            ..Event::new(severity, name)
        };
        self.system.log(&event.because(reason));
    }
}
