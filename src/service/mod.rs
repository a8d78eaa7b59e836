//! Use cases: rules and transactions, no HTTP, no SQL. Floor 3.
