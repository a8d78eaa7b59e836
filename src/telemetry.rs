//! Where log lines go. Floor 2.
