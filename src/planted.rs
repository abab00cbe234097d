//! Bugs that the tests plant, one at a time, to see that the simulator finds them: its silence says nothing otherwise.
//!
//! Where the program does something that must not be left out, a switch can leave it out. Guarantees: in builds without
//! the feature `failpoints`, which `cargo test` turns on and nothing else does, there are no switches; with it, none is
//! on but for a thread that asked for it, which no invocation of the program does. Must not know what it breaks: each
//! bug is broken into where the care is taken that it leaves out.

#[cfg(feature = "failpoints")]
use std::cell::Cell;

/// Something that the program takes care of, left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// What is random in an operation and in its version is made of what is asked and when: two who ask the same make
    /// the same commit, and each takes the other's for theirs when git tells them that it is there.
    NoNonce,
    /// A push whose answer is lost is taken for one that was applied.
    UnknownIsApplied,
    /// A push whose answer is lost is taken for one that was not: nobody looks for its operation.
    UnknownIsLost,
    /// An error is the last word although an earlier attempt may still arrive.
    ErrorIsFinal,
    /// Only the newest version is searched for an operation.
    SearchesTipOnly,
    /// A "no" is given on the strength of the cache.
    NoOnStaleCache,
    /// A request that a killed process had begun is begun anew.
    JournalIgnored,
    /// Operations of others are applied without a look whether they were.
    FateUnasked,
    /// Operations of others are applied although the versions looked at do not lead back to their base.
    BaseNotFound,
    /// A "no" to an operation that others may apply is not recorded.
    RefusalUnrecorded,
    /// What a clone asked for before and was never told the outcome of is left to the others when it is told of
    /// something else.
    EarlierLeftOpen,
    /// Who waits in the same clone is told of a version before it is published.
    ServedTooEarly,
    /// Who waits in the same clone is told of a version whether or not it has their operation.
    ServedWithoutOperation,
    /// It is not noted whom of the same clone a push takes along.
    TriedUnnoted,
    /// Work is submitted under whatever fence a task has now.
    FenceUncheckedAtSubmit,
    /// Giving a task back leaves its car in the train, and neither planning nor landing looks at its fence.
    FenceUncheckedAtLanding,
    /// A landing does not look whether a car was submitted again since it was planned.
    CommitUncheckedAtLanding,
    /// A test is asked for whether or not its tree is known by now.
    KnownTreeTested,
    /// A landing does not look whether somebody holds a car back since it was planned.
    HeldBackUncheckedAtLanding,
    /// A lease has run out as soon as it has by one's own clock.
    SkewIgnored,
    /// A lease has run out when it has by the board: nobody looks for heartbeats.
    HeartbeatIgnored,
    /// A grant that has run out by the board is taken back although nobody has looked at its holder's heartbeats.
    UnlistedTakenBack,
    /// The target moves in a push that names the board, but does not move it.
    BoardIsUnchangedGuard,
    /// The target moves before it is announced where it cannot move together with the board.
    LandingUnannounced,
    /// The target moves wherever it is, not from where the candidate was built.
    TargetMovedFromAnywhere,
    /// A car lands because what was tested of it before passed.
    VerdictOfAnotherTree,
    /// A board that went backwards is taken for what it is now. In the program git takes care of that, by a fetch
    /// without force; in the simulator its ledger does.
    RewindUnnoticed,
    /// A board that vanished is taken for one that never was: the same.
    VanishedIsEmpty,
    /// A checkpoint names the versions it replaced without their operations.
    FoldForgetsOperations,
    /// A checkpoint replaces whatever there is, not the version that it was made of.
    FoldUnleased,
    /// A board that begins with a checkpoint is taken for one that goes on from anything.
    CheckpointUnchecked,
}

impl Bug {
    /// Every one of them.
    pub const ALL: [Bug; 31] = [
        Bug::NoNonce,
        Bug::UnknownIsApplied,
        Bug::UnknownIsLost,
        Bug::ErrorIsFinal,
        Bug::SearchesTipOnly,
        Bug::NoOnStaleCache,
        Bug::JournalIgnored,
        Bug::FateUnasked,
        Bug::BaseNotFound,
        Bug::RefusalUnrecorded,
        Bug::EarlierLeftOpen,
        Bug::ServedTooEarly,
        Bug::ServedWithoutOperation,
        Bug::TriedUnnoted,
        Bug::FenceUncheckedAtSubmit,
        Bug::FenceUncheckedAtLanding,
        Bug::CommitUncheckedAtLanding,
        Bug::KnownTreeTested,
        Bug::HeldBackUncheckedAtLanding,
        Bug::SkewIgnored,
        Bug::HeartbeatIgnored,
        Bug::UnlistedTakenBack,
        Bug::BoardIsUnchangedGuard,
        Bug::LandingUnannounced,
        Bug::TargetMovedFromAnywhere,
        Bug::VerdictOfAnotherTree,
        Bug::RewindUnnoticed,
        Bug::VanishedIsEmpty,
        Bug::FoldForgetsOperations,
        Bug::FoldUnleased,
        Bug::CheckpointUnchecked,
    ];
}

#[cfg(feature = "failpoints")]
thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in this thread, in place of any other; `None`: takes it out.
#[cfg(feature = "failpoints")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted here.
#[cfg(feature = "failpoints")]
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted here: never.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn is(_: Bug) -> bool {
    false
}

/// A nonce as it was drawn; with [`Bug::NoNonce`] the same for everybody who does the same.
#[cfg(feature = "failpoints")]
pub fn nonce(drawn: String, what: &impl std::fmt::Debug) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    if !is(Bug::NoNonce) {
        return drawn;
    }
    let half = |half: u8| {
        let mut hasher = DefaultHasher::new();
        (half, format!("{what:?}")).hash(&mut hasher);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

/// A nonce as it was drawn.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn nonce(drawn: String, _: &impl std::fmt::Debug) -> String {
    drawn
}
