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
    /// A commit that was refused is answered as if it had been stored.
    AnswersRefused,
    /// What a journal holds is not read once its holder is gone.
    StopsReading,
    /// A decision is turned round before it is decided.
    FlipsDecisions,
    /// An answer is turned round on its way to the agent.
    FlipsAnswers,
    /// An answer is intended twice.
    IntendsTwice,
    /// An agent is given its prompts twice.
    PromptsTwice,
    /// An agent is given its answers twice.
    AnswersTwice,
    /// The end of a turn is told twice.
    EndsTwice,
    /// A status is told before it is true.
    TellsEarly,
    /// A change of status is told to nobody.
    TellsNothing,
    /// The store takes what goes on behind another event than the last one, such as that of a task which begins before all is stored.
    ForgetsNumbers,
    /// The store takes what a daemon asks for that another one has replaced.
    ForgetsEpochs,
    /// A session whose task died is loaded before all is stored that was on its way.
    LoadsEarly,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 25] = [
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
        Self::AnswersRefused,
        Self::StopsReading,
        Self::FlipsDecisions,
        Self::FlipsAnswers,
        Self::IntendsTwice,
        Self::PromptsTwice,
        Self::AnswersTwice,
        Self::EndsTwice,
        Self::TellsEarly,
        Self::TellsNothing,
        Self::ForgetsNumbers,
        Self::ForgetsEpochs,
        Self::LoadsEarly,
    ];
}
