//! Groups and queries: who is a member and why, what members get, and that the database and the query itself agree.

mod agreement;
mod stories;
