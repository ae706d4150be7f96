//! What is planted, to see that it is found.

/// What is planted in a schedule, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Duties are done before what calls for them is committed.
    EffectsFirst,
    /// Answers are given before the commit.
    AnswersFirst,
    /// A holder takes a request that it has taken already.
    HolderRepeats,
    /// Nobody looks at deadlines.
    NoTicks,
    /// Nothing that the state calls for is done.
    NoDuties,
    /// The store loses an event.
    LosesEvents,
    /// How far a journal was read is not committed.
    ForgetsWhatWasRead,
    /// It is committed that more of a journal was read than was.
    ReadsTooFar,
    /// An interrupt that names a turn means whichever runs.
    ForgetsTheTarget,
    /// A launch that was given up may still begin after a crash.
    ForgetsLaunches,
    /// Nobody gives a slot back.
    KeepsSlots,
    /// What was done under a key is done again.
    ForgetsKeys,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::EffectsFirst,
        Self::AnswersFirst,
        Self::HolderRepeats,
        Self::NoTicks,
        Self::NoDuties,
        Self::LosesEvents,
        Self::ForgetsWhatWasRead,
        Self::ReadsTooFar,
        Self::ForgetsTheTarget,
        Self::ForgetsLaunches,
        Self::KeepsSlots,
        Self::ForgetsKeys,
    ];
}
