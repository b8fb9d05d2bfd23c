//! Tokens by the person whose they are.

use std::collections::HashMap;

use crate::{Person, Token};

/// Everybody met so far, each once.
#[derive(Default)]
pub(crate) struct People {
    list: Vec<Person>,
    places: HashMap<Option<String>, usize>,
}

impl People {
    pub(crate) fn add(&mut self, user: Option<&str>, token: Token) {
        let user = user.map(str::to_owned);
        let place = self.places.entry(user.clone()).or_insert(self.list.len());
        match self.list.get_mut(*place) {
            Some(person) => person.tokens.push(token),
            None => self.list.push(Person {
                user,
                tokens: vec![token],
                scratch_codes: Vec::new(),
            }),
        }
    }

    pub(crate) fn into_list(self) -> Vec<Person> {
        self.list
    }
}
