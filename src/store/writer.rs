//! The one writer and its group commit.
