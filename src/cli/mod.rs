//! The command line of `dripfeed`: every administrator's verb. Floor 4.
