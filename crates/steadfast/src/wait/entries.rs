//! [`Entries`]: what is in a set, by place and by key.

use crate::Process;
use std::collections::HashMap;
use std::hash::Hash;

/// Names an entry for ever: its place, and how often that was given away before. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) u64);

pub(super) struct Entries<K> {
    places: Vec<Place<K>>,
    free: Vec<u32>,
    by_key: HashMap<K, u32>,
}

struct Place<K> {
    generation: u32,
    entry: Option<Entry<K>>,
}

pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) process: Process,
}

impl<K: Clone + Eq + Hash> Entries<K> {
    pub(super) fn new() -> Entries<K> {
        Entries { places: Vec::new(), free: Vec::new(), by_key: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn insert(&mut self, key: K, process: Process) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, entry: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1).max(1);
        place.entry = Some(Entry { key: key.clone(), process });
        self.by_key.insert(key, index);
        token(place.generation, index)
    }

    pub(super) fn find(&self, key: &K) -> Option<Token> {
        let index = *self.by_key.get(key)?;
        Some(token(self.places[index as usize].generation, index))
    }

    pub(super) fn get(&mut self, of: Token) -> Option<&Entry<K>> {
        self.place(of)?.entry.as_ref()
    }

    pub(super) fn remove(&mut self, of: Token) -> Option<Entry<K>> {
        let entry = self.place(of)?.entry.take()?;
        self.by_key.remove(&entry.key);
        self.free.push(of.0 as u32);
        Some(entry)
    }

    fn place(&mut self, of: Token) -> Option<&mut Place<K>> {
        self.places.get_mut(of.0 as u32 as usize).filter(|place| u64::from(place.generation) == of.0 >> 32)
    }
}

impl<K> Entries<K> {
    pub(super) fn all(&self) -> impl Iterator<Item = (Token, &Entry<K>)> {
        let entry = |(index, place)| {
            let Place { generation, entry }: &Place<K> = place;
            Some((token(*generation, index as u32), entry.as_ref()?))
        };
        self.places.iter().enumerate().filter_map(entry)
    }
}

fn token(generation: u32, index: u32) -> Token {
    Token(u64::from(generation) << 32 | u64::from(index))
}
