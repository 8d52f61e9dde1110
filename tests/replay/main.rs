//! Replays of recorded work: what they read, what they refuse, and that our placement does not see the future.

mod openb;
mod swf;
