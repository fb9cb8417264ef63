//! [`Entries`]: what is in a set, by place and by key. Small: a place, and some bytes in a table that holds places only.

use super::member::Member;
use crate::Process;
use crate::places::{Places, Token};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use steadfast_core::{JobEnd, Watcher};

pub(super) struct Entries<K> {
    places: Places<Entry<K>>,
    by_key: HashTable<u32>,
    hasher: RandomState,
    /// How many of them are not processes whose exits are told: jobs, and processes of which changes are.
    others: usize,
}

pub(super) struct Entry<K> {
    pub(super) key: K,
    pub(super) what: What<K>,
}

/// A job is no larger than a process.
pub(super) enum What<K> {
    Process(Member),
    Job(JobMember),
    Changes(ChangesMember<K>),
}

/// A process in a set that tells of its changes.
pub(super) struct ChangesMember<K> {
    pub(super) process: Process,
    /// How a key is told that stays in the set.
    pub(super) clone_key: fn(&K) -> K,
}

/// A job in a set.
#[derive(Clone)]
pub(super) struct JobMember {
    pub(super) end: JobEnd,
    /// It will tell, or has told since the last look.
    pub(super) is_watched: bool,
}

impl<K> Entry<K> {
    pub(super) fn process(&self) -> Option<&Member> {
        match &self.what {
            What::Process(member) => Some(member),
            What::Job(_) | What::Changes(_) => None,
        }
    }

    /// The set is told of it no more.
    pub(super) fn unwatch(&self, watcher: &Arc<dyn Watcher>, token: Token) {
        match &self.what {
            What::Process(member) => member.unwatch(watcher, token.0),
            What::Job(job) => job.end.unwatch(watcher, token.0),
            What::Changes(member) => member.process.unwatch(watcher, token.0),
        }
    }
}

impl<K> Entries<K> {
    pub(super) fn new() -> Entries<K> {
        Entries { places: Places::new(), by_key: HashTable::new(), hasher: RandomState::new(), others: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// How many of them are processes whose exits are told.
    pub(super) fn processes(&self) -> usize {
        self.len() - self.others
    }

    /// Whether its news are for [`wait_next`](super::WaitSet::wait_next) alone.
    pub(super) fn is_for_next(&self, of: Token) -> bool {
        self.others > 0 && self.get(of).is_some_and(|entry| !matches!(entry.what, What::Process(_)))
    }

    pub(super) fn changes(&self, of: Token) -> Option<&ChangesMember<K>> {
        match self.get(of).map(|entry| &entry.what) {
            Some(What::Changes(member)) => Some(member),
            _ => None,
        }
    }

    pub(super) fn is_job(&self, of: Token) -> bool {
        self.get(of).is_some_and(|entry| matches!(entry.what, What::Job(_)))
    }

    pub(super) fn job(&mut self, of: Token) -> Option<&mut JobMember> {
        match self.places.get_mut(of).map(|entry| &mut entry.what) {
            Some(What::Job(job)) => Some(job),
            _ => None,
        }
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
    pub(super) fn insert(&mut self, key: K, what: What<K>) -> Token {
        let hash = self.hasher.hash_one(&key);
        self.others += usize::from(!matches!(what, What::Process(_)));
        let token = self.places.insert(Entry { key, what });
        let (places, hasher) = (&self.places, &self.hasher);
        let hash_of = |index: &u32| key_of(places, *index).map_or(0, |key| hasher.hash_one(key));
        self.by_key.insert_unique(hash, token.index(), hash_of);
        token
    }

    pub(super) fn remove(&mut self, of: Token) -> Option<Entry<K>> {
        let entry = self.places.remove(of)?;
        self.others -= usize::from(!matches!(entry.what, What::Process(_)));
        if let Ok(found) = self.by_key.find_entry(self.hasher.hash_one(&entry.key), |index| *index == of.index()) {
            found.remove();
        }
        Some(entry)
    }
}

fn key_of<K>(places: &Places<Entry<K>>, index: u32) -> Option<&K> {
    places.at(index).map(|(_, entry)| &entry.key)
}
