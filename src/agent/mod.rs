//! The agent program: contact, driver, work directory, execution. Floor 4; blocking, no runtime.

mod beneath;
mod execute;
mod inventory;
mod unpack;
