//! Figures: what each part of a request's way counts and times, as CloudWatch names it.
//!
//! A room counts in place, on atomics, and is emptied from outside: [`Durations::take`] and [`CallFigures::take`] hand over what has come since they were last
//! asked. What they hand over is a [`Sketch`] for each [`Series`], and two sketches of one series make one. This crate keeps nothing, reads no clock, and
//! knows neither the database nor AWS's documents.

mod calls;
mod durations;
mod series;
mod sketch;

pub use calls::{CallFigures, CallOutcome, TakenCalls};
pub use durations::Durations;
pub use series::{Figures, Series, unit};
pub use sketch::Sketch;
