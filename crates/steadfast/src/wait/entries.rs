//! [`Entries`]: what is in a set, by place and by key. Small: a place, and some bytes in a table that holds places only.

use super::member::Member;
use crate::places::{Places, Token};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, RandomState};

pub(super) struct Entries<K> {
    places: Places<Entry<K>>,
    by_key: HashTable<u32>,
    hasher: RandomState,
}

pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) member: Member,
}

impl<K> Entries<K> {
    pub(super) fn new() -> Entries<K> {
        Entries { places: Places::new(), by_key: HashTable::new(), hasher: RandomState::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn get(&self, of: Token) -> Option<&Entry<K>> {
        self.places.get(of)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Token, &Entry<K>)> {
        self.places.all()
    }
}

impl<K: Eq + Hash> Entries<K> {
    pub(super) fn find(&self, key: &K) -> Option<Token> {
        let is_it = |index: &u32| key_of(&self.places, *index) == Some(key);
        let index = *self.by_key.find(self.hasher.hash_one(key), is_it)?;
        self.places.at(index).map(|(token, _)| token)
    }

    /// Whose key is not in use.
    pub(super) fn insert(&mut self, key: K, member: Member) -> Token {
        let hash = self.hasher.hash_one(&key);
        let token = self.places.insert(Entry { key, member });
        let (places, hasher) = (&self.places, &self.hasher);
        let hash_of = |index: &u32| key_of(places, *index).map_or(0, |key| hasher.hash_one(key));
        self.by_key.insert_unique(hash, token.index(), hash_of);
        token
    }

    pub(super) fn remove(&mut self, of: Token) -> Option<Entry<K>> {
        let entry = self.places.remove(of)?;
        if let Ok(found) = self.by_key.find_entry(self.hasher.hash_one(&entry.key), |index| *index == of.index()) {
            found.remove();
        }
        Some(entry)
    }
}

fn key_of<K>(places: &Places<Entry<K>>, index: u32) -> Option<&K> {
    places.at(index).map(|(_, entry)| &entry.key)
}
