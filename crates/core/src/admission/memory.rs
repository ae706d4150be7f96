//! The memory floor of a host: whether there is room for one more.

/// How things stand with the memory, as far as it was looked at. Sizes are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Memory {
    /// Nothing is known that stands in anybody's way.
    #[default]
    Enough,
    /// Less is free than should be.
    Short {
        /// How much was free at the last look.
        free: u64,
    },
    /// It was short, and there is enough: one begins.
    Back,
    /// That one has begun; what it takes shows at the next look.
    Tried,
}

impl Memory {
    /// What a look has shown. Where it was short and others still wait, they begin one at a time: what all of them will
    /// take together shows only once they have it.
    pub(super) fn seen(self, free: u64, floor: u64, others_wait: bool) -> Self {
        if free < floor {
            return Self::Short { free };
        }
        match self {
            Self::Short { .. } | Self::Back | Self::Tried if others_wait => Self::Back,
            Self::Enough | Self::Short { .. } | Self::Back | Self::Tried => Self::Enough,
        }
    }

    /// Somebody begins.
    pub(super) fn taken(self) -> Self {
        match self {
            Self::Back => Self::Tried,
            Self::Enough | Self::Short { .. } | Self::Tried => self,
        }
    }

    /// Whether it stands in the way of one more.
    pub(super) fn is_in_the_way(self) -> bool {
        match self {
            Self::Enough | Self::Back => false,
            Self::Short { .. } | Self::Tried => true,
        }
    }
}
