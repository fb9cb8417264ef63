//! [`Entries`]: what is in a set, by place and by key. Small: a place, and some bytes in a table that holds places only.

use crate::Process;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, RandomState};

/// Names an entry for ever: its place, and how often that was given away before. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) u64);

pub(super) struct Entries<K> {
    places: Vec<Place<K>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: RandomState,
}

struct Place<K> {
    generation: u32,
    entry: Option<Entry<K>>,
}

pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) process: Process,
}

impl<K> Entries<K> {
    pub(super) fn new() -> Entries<K> {
        Entries { places: Vec::new(), free: Vec::new(), by_key: HashTable::new(), hasher: RandomState::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn get(&mut self, of: Token) -> Option<&Entry<K>> {
        self.place(of)?.entry.as_ref()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Token, &Entry<K>)> {
        let entry = |(index, place)| {
            let Place { generation, entry }: &Place<K> = place;
            Some((token(*generation, index as u32), entry.as_ref()?))
        };
        self.places.iter().enumerate().filter_map(entry)
    }

    fn place(&mut self, of: Token) -> Option<&mut Place<K>> {
        self.places.get_mut(of.0 as u32 as usize).filter(|place| u64::from(place.generation) == of.0 >> 32)
    }
}

impl<K: Eq + Hash> Entries<K> {
    pub(super) fn find(&self, key: &K) -> Option<Token> {
        let index = *self.by_key.find(self.hasher.hash_one(key), |index| key_of(&self.places, *index) == Some(key))?;
        Some(token(self.places[index as usize].generation, index))
    }

    /// Whose key is not in use.
    pub(super) fn insert(&mut self, key: K, process: Process) -> Token {
        let hash = self.hasher.hash_one(&key);
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, entry: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1).max(1);
        place.entry = Some(Entry { key, process });
        let token = token(place.generation, index);
        let (places, hasher) = (&self.places, &self.hasher);
        self.by_key.insert_unique(hash, index, |index| key_of(places, *index).map_or(0, |key| hasher.hash_one(key)));
        token
    }

    pub(super) fn remove(&mut self, of: Token) -> Option<Entry<K>> {
        let entry = self.place(of)?.entry.take()?;
        let index = of.0 as u32;
        if let Ok(found) = self.by_key.find_entry(self.hasher.hash_one(&entry.key), |other| *other == index) {
            found.remove();
        }
        self.free.push(index);
        Some(entry)
    }
}

fn key_of<K>(places: &[Place<K>], index: u32) -> Option<&K> {
    places[index as usize].entry.as_ref().map(|entry| &entry.key)
}

fn token(generation: u32, index: u32) -> Token {
    Token(u64::from(generation) << 32 | u64::from(index))
}
