//! Where all chance of a schedule comes from.

/// Numbers that are drawn from a seed and kept, or told by an earlier run. The same numbers are the same schedule.
#[derive(Debug)]
pub(super) struct Choices {
    /// What an earlier run drew, if this is that one again. What is not told is the most harmless.
    told: Option<Vec<u32>>,
    drawn: Vec<u32>,
    state: u64,
}

impl Choices {
    pub(super) fn of_seed(seed: u64) -> Self {
        Self { told: None, drawn: Vec::new(), state: seed }
    }

    pub(super) fn told(numbers: Vec<u32>) -> Self {
        Self { told: Some(numbers), drawn: Vec::new(), state: 0 }
    }

    /// One of so many; 0 is the most harmless one.
    pub(super) fn below(&mut self, count: u32) -> u32 {
        let number = match &self.told {
            Some(told) => told.get(self.drawn.len()).copied().unwrap_or(0),
            None => (self.next() >> 32) as u32,
        };
        let chosen = number % count.max(1);
        self.drawn.push(chosen);
        chosen
    }

    /// Whether what happens once in so many times happens now.
    pub(super) fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == times - 1
    }

    /// One of these; the first is the most harmless one.
    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = self.below(u32::try_from(all.len()).unwrap_or(u32::MAX));
        all[at as usize]
    }

    /// All that was drawn.
    pub(super) fn drawn(&self) -> &[u32] {
        &self.drawn
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014). Written here, for seeds are committed: its numbers have to be the same
    /// for ever.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_the_published_ones() {
        let mut choices = Choices::of_seed(1_234_567);
        assert_eq!(
            [(); 3].map(|()| choices.next()),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn what_was_drawn_is_drawn_again_and_what_is_not_told_is_harmless() {
        let mut first = Choices::of_seed(7);
        let drawn: Vec<u32> = (1..20).map(|count| first.below(count)).collect();
        let mut again = Choices::told(drawn.clone());
        assert_eq!((1..20).map(|count| again.below(count)).collect::<Vec<_>>(), drawn);
        assert_eq!((again.below(9), again.once_in(2)), (0, false));
    }
}
