//! Fetching as an agent fetches: transport → limit → digest → file. Floor 2.
