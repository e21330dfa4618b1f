//! `pull` and `push`: any tree there and back, beside what others make of the same, and under faults.

mod doubts;
mod grove;
mod peers;
mod round_trips;
