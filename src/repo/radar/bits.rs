//! A set of small numbers, for asking many times whether two sets meet.

/// A set of numbers below some bound, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Puts a number in. Says whether it is new.
    pub fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// Whether a number is in.
    pub fn contains(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Puts in whatever is in `other`.
    pub fn add(&mut self, other: &Bits) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }

    /// Whether some number is in both.
    pub fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// The numbers, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |word: u64| (0..64).filter(move |bit| word & (1 << bit) != 0);
        self.0.iter().enumerate().flat_map(move |(place, word)| bits(*word).map(move |bit| place * 64 + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_numbers() {
        let of = |numbers: &[usize]| {
            let mut bits = Bits::default();
            numbers.iter().for_each(|number| assert!(bits.insert(*number)));
            bits
        };
        let mut few = of(&[0, 63, 64, 200]);
        assert!(!few.insert(63) && few.contains(64) && !few.contains(65) && !few.contains(10_000));
        assert!(few.meets(&of(&[1, 200])) && !few.meets(&of(&[1, 199, 500])) && !few.meets(&Bits::default()));
        few.add(&of(&[700, 1]));
        assert_eq!(few.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 200, 700]);
    }
}
