//! [`Places`]: values by a token that is never given away twice.

/// Names a place, and how often that was given away before. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

pub(crate) struct Places<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Places<T> {
    pub(crate) const fn new() -> Places<T> {
        Places { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1).max(1);
        place.value = Some(value);
        place.token(index)
    }

    pub(crate) fn get(&self, of: Token) -> Option<&T> {
        let place = self.places.get(of.index() as usize)?;
        place.value.as_ref().filter(|_| place.token(of.index()) == of)
    }

    pub(crate) fn get_mut(&mut self, of: Token) -> Option<&mut T> {
        let place = self.places.get_mut(of.index() as usize)?;
        if place.token(of.index()) == of { place.value.as_mut() } else { None }
    }

    /// Whatever its token is now.
    pub(crate) fn at(&self, index: u32) -> Option<(Token, &T)> {
        let place = self.places.get(index as usize)?;
        Some((place.token(index), place.value.as_ref()?))
    }

    pub(crate) fn remove(&mut self, of: Token) -> Option<T> {
        let place = self.places.get_mut(of.index() as usize)?;
        if place.token(of.index()) != of {
            return None;
        }
        let value = place.value.take()?;
        self.free.push(of.index());
        Some(value)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Token, &T)> {
        (0..self.places.len()).filter_map(|index| self.at(index as u32))
    }
}

impl<T> Place<T> {
    fn token(&self, index: u32) -> Token {
        Token(u64::from(self.generation) << 32 | u64::from(index))
    }
}

impl Token {
    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }
}
