//! Dynamic sampling: replace prompts whose completions all got the same reward.
//!
//! Such a group has zero advantages and costs a training pass for nothing. It is set aside and a fresh prompt is
//! asked for, up to a number of rounds; what is still missing then is filled with groups set aside, so a batch
//! always has its full size. (ms-swift falls back to the whole first draw instead, and loses the groups it found.)

/// Collects groups until a batch is full of groups with differing rewards, or the rounds are used up.
#[derive(Debug, Clone)]
pub struct DynamicSampling<T> {
    wanted: usize,
    zero_std: f64,
    rounds_left: usize,
    rounds_used: usize,
    dropped: usize,
    kept: Vec<T>,
    aside: Vec<T>,
}

/// What to do after a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Sample completions of this many further prompts and offer them.
    Draw(usize),
    /// Nothing more is needed or allowed: take the batch.
    Done,
}

/// A batch of groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Filtered<T> {
    /// As many groups as wanted, those with differing rewards first, each part in the order offered. Fewer only
    /// when fewer were offered.
    pub groups: Vec<T>,
    /// Groups at the end of `groups` whose rewards are all alike.
    pub fillers: usize,
    /// Groups with equal rewards seen in all draws, fillers included.
    pub dropped: usize,
    /// Draws beyond the first.
    pub resamples: usize,
}

impl<T> DynamicSampling<T> {
    /// Collects `wanted` groups with at most `max_resample` draws after the first. Groups with a reward standard
    /// deviation of at most `zero_std` count as all alike.
    pub fn new(wanted: usize, max_resample: usize, zero_std: f64) -> Self {
        Self {
            wanted,
            zero_std,
            rounds_left: max_resample,
            rounds_used: 0,
            dropped: 0,
            kept: Vec::with_capacity(wanted),
            aside: Vec::new(),
        }
    }

    /// Sorts the groups of a draw, each with the standard deviation of its rewards
    /// ([`super::GroupStats::std`]), and says what to do next.
    pub fn offer(&mut self, groups: impl IntoIterator<Item = (T, f64)>) -> Next {
        for (group, std) in groups {
            if std > self.zero_std {
                self.kept.push(group);
            } else {
                self.dropped += 1;
                // More can never be needed.
                if self.aside.len() < self.wanted {
                    self.aside.push(group);
                }
            }
        }
        let missing = self.wanted.saturating_sub(self.kept.len());
        if missing == 0 || self.rounds_left == 0 {
            return Next::Done;
        }
        self.rounds_left -= 1;
        self.rounds_used += 1;
        Next::Draw(missing)
    }

    /// The batch collected so far, filled up with groups that were set aside.
    pub fn finish(self) -> Filtered<T> {
        let mut groups = self.kept;
        groups.truncate(self.wanted);
        let fillers = self.aside.len().min(self.wanted - groups.len());
        groups.extend(self.aside.into_iter().take(fillers));
        Filtered {
            groups,
            fillers,
            dropped: self.dropped,
            resamples: self.rounds_used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_groups_are_drawn_again_until_full() {
        let mut sampling = DynamicSampling::new(3, 3, 1e-6);
        assert_eq!(
            sampling.offer([('a', 0.5), ('b', 0.0), ('c', 1e-9)]),
            Next::Draw(2)
        );
        assert_eq!(sampling.offer([('d', 0.0), ('e', 0.1)]), Next::Draw(1));
        assert_eq!(sampling.offer([('f', 0.2)]), Next::Done);
        let found = sampling.finish();
        assert_eq!(found.groups, ['a', 'e', 'f']);
        assert_eq!((found.fillers, found.dropped, found.resamples), (0, 3, 2));
    }

    #[test]
    fn the_cap_ends_the_search_and_the_batch_stays_full() {
        let mut sampling = DynamicSampling::new(2, 2, 1e-6);
        let mut draws = 0;
        let mut next = Next::Draw(2);
        while let Next::Draw(n) = next {
            next = sampling.offer((0..n).map(|i| (10 * draws + i, 0.0)));
            draws += 1;
        }
        assert_eq!(draws, 3, "the first draw and two more");
        let found = sampling.finish();
        assert_eq!(found.groups, [0, 1]);
        assert_eq!((found.fillers, found.dropped, found.resamples), (2, 6, 2));
    }

    #[test]
    fn nothing_is_drawn_again_when_all_differ() {
        let mut sampling = DynamicSampling::new(2, 3, 1e-6);
        assert_eq!(sampling.offer([(1, 0.3), (2, 0.3), (3, 0.3)]), Next::Done);
        let found = sampling.finish();
        assert_eq!((found.groups, found.resamples), (vec![1, 2], 0));
    }

    #[test]
    fn a_spent_data_set_gives_a_short_batch() {
        let mut sampling = DynamicSampling::new(4, 1, 1e-6);
        assert_eq!(sampling.offer([(1, 0.3), (2, 0.0)]), Next::Draw(3));
        assert_eq!(sampling.offer([]), Next::Done);
        assert_eq!(sampling.finish().groups, [1, 2]);
    }
}
