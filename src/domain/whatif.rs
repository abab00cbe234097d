//! What would have been: a train under other settings, with the same cars.
//!
//! A [`Trace`] says what happens to a train, recorded ([`History`]) or made up ([`Mix`]); [`run`] plays it, event by
//! event, to whatever decides ([`Policy`]). [`OwnTrain`] is this program's own planner and rules on a board in memory,
//! so that what is said of a setting is what the train itself would do. Guarantees: pure and total; no clock, and no
//! randomness but from the seed that is given. Must not know where a trace or a setting comes from.
//!
//! The same planner and rules say when the cars that wait now may land ([`forecast`]).
//!
//! What is not played: the time that pushes and passes take, timeouts, tests without a verdict, cars that do not merge
//! with each other, and whatever people do to a train beside submitting (pauses, promotions, approvals, ejections by
//! hand).

mod compare;
mod forecast;
mod history;
mod load;
mod own;
mod rehearsal;
mod world;

pub use compare::{Advice, Gain, Setting, advise, compare};
pub use forecast::forecast;
pub use history::{History, Recorded};
pub use load::{Arrival, Arrivals, CarNo, Flaw, Mix, Trace};
pub use own::OwnTrain;
pub use world::{Limits, Policy, Totals, Tree, World, run};
