//! `migrate`: everything is written again, nothing is changed, and every interruption is harmless.

mod failures;
mod interruptions;
mod moves;
mod speed;
mod svm;

tests! {
    [failures, interruptions, moves, speed, svm]
}
