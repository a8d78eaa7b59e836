//! Computers, what they are sorted by, and what they are made of.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::model::RegistryTree;

#[derive(Debug, Subcommand)]
pub(crate) enum ComputerVerb {
    /// List computers
    List {
        /// Only those that match, such as "os contains debian and not in group 'Paris'"
        #[arg(long = "where", value_name = "QUERY")]
        query: Option<String>,
        /// Those that are archived instead
        #[arg(long)]
        archived: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one computer, its packages and what it said
    Show {
        /// Name or device id
        computer: String,
        /// Print its last inventory as it came
        #[arg(long, group = "part")]
        inventory: bool,
        /// List its software
        #[arg(long, group = "part")]
        software: bool,
        /// List what changed between its inventories
        #[arg(long, group = "part")]
        changes: bool,
        /// As JSON
        #[arg(long, conflicts_with = "inventory")]
        json: bool,
    },
    /// Set a computer's tag; its agent is told at its next inventory
    Tag {
        /// Name or device id
        computer: String,
        #[arg(required_unless_present = "unset", conflicts_with = "unset")]
        tag: Option<String>,
        /// Take the tag back
        #[arg(long)]
        unset: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a value into a field of a computer; the first value of a name makes the field
    Field {
        /// Name or device id
        computer: String,
        /// Name of the field, or its name on the wire
        name: String,
        #[arg(required_unless_present = "unset", conflicts_with = "unset")]
        value: Option<String>,
        /// Take the value back
        #[arg(long)]
        unset: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write tags and fields of many computers out of a table (CSV), all in one write
    Import {
        /// Its first line names the columns: `name`, `device_id`, `number` or `serial`; `tag` and the names of fields
        file: PathBuf,
        /// Say line by line what would change and what is wrong, and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Take values back where cells are empty; else they stay
        #[arg(long)]
        clear: bool,
        /// Write the rest where lines are wrong; else nothing is written
        #[arg(long)]
        leave_out_wrong: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a change of many computers back, by the number that it told
    Undo {
        /// The change's number
        change: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Count computers by tag, system, or a field of your own
    Count {
        /// `tag`, `os`, `os_version`, `architecture`, `model`, `workgroup`, `user`, `agent`, `proven`, or a field's name
        #[arg(long, default_value = "tag")]
        by: String,
        /// Only those that a query asks for
        #[arg(long = "where", value_name = "QUERY")]
        query: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give NEW what is OLD's (jobs, results, tag, fields, settings) and archive OLD
    Merge {
        /// Who is put away, by name or device id
        old: String,
        /// Who survives, by name or device id
        new: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the newest merge of a computer back
    Unmerge {
        /// Name or device id of either
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a computer away: offered nothing, listed nowhere. Its next inventory brings it back
    Archive {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a computer back that was put away
    Restore {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Expect host names: the first agent with a key under such a name may register its key, once
    Expect {
        /// Host names, as agents say them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the host names that are expected
    Expected {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Expect a host name no more
    Unexpect {
        /// A host name of the list
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write computers down before their agents come; the agent that comes under what is written takes it all over
    Add {
        /// Host name; # stands for the number, ### for three digits of it
        name: String,
        /// How many
        #[arg(long, default_value_t = 1, value_name = "N")]
        count: u32,
        /// The first one's number
        #[arg(long, default_value_t = 1, value_name = "N")]
        first: u32,
        /// Serial number, with # likewise
        #[arg(long, default_value = "", hide_default_value = true)]
        serial: String,
        /// MAC address of the first one; those of the others are counted up
        #[arg(long, default_value = "", hide_default_value = true)]
        mac: String,
        /// Tag of all
        #[arg(long, default_value = "", hide_default_value = true)]
        tag: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Wake computers over the network, some each second; the running server sends the packets
    #[command(group = clap::ArgGroup::new("woken").required(true))]
    Wake {
        /// Names or device ids
        #[arg(value_name = "NAME|DEVICEID", group = "woken")]
        computers: Vec<String>,
        /// Those that a query asks for
        #[arg(long = "where", value_name = "QUERY", group = "woken")]
        query: Option<String>,
        /// The members of a group
        #[arg(long = "group", value_name = "GROUP", group = "woken")]
        members: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List computers that look like one and about which nobody has decided
    Duplicates {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say that two computers that look like one are two
    KeepApart {
        /// Name or device id of one
        one: String,
        /// Name or device id of the other one
        other: String,
        /// Take that back: they are listed again
        #[arg(long)]
        undo: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whether there is a registration key, make another, or take it away
    RegistrationKey {
        /// Make a key in the place of the old one, and print it this once
        #[arg(long, conflicts_with = "remove")]
        renew: bool,
        /// Take away the key that was made here
        #[arg(long)]
        remove: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a computer the key back that was forgotten, unless an agent has registered since
    RememberKey {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a computer's key: it is known by its name again, until an agent registers
    ForgetKey {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a computer: its jobs and its inventory. It comes back with its next inventory
    Delete {
        /// Name or device id
        computer: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupVerb {
    /// Make a group: one that is filled by hand, or by a query
    Create {
        name: String,
        /// Whom it is made of, such as "os contains debian and tag = 'Paris'"
        #[arg(long = "where", value_name = "QUERY")]
        query: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List groups
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a group, its computers and why they are in it
    Show {
        group: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a group another query
    Edit {
        group: String,
        /// Whom it is made of
        #[arg(long = "where", value_name = "QUERY")]
        query: String,
        /// Only show who would join and who would leave
        #[arg(long)]
        dry_run: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a group another name, or say what it is for
    Describe {
        group: String,
        /// Another name
        #[arg(long, value_name = "NAME", required_unless_present = "description")]
        name: Option<String>,
        /// What it is for; empty for nothing
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make computers members, whatever the query says
    Add(GroupMark),
    /// Keep computers out, whatever the query says
    Exclude(GroupMark),
    /// Take back what was added or excluded by hand: the query alone says who is a member
    Remove(GroupMark),
    /// Ask the query again, for every computer
    Refresh {
        /// Only this group [default: all]
        group: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a group; for a week it can be restored
    Delete {
        group: String,
        /// Even if deployments stand for it; they end
        #[arg(long)]
        force: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring back a group that was deleted, with the deployments that ended with it
    Restore {
        group: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct GroupMark {
    pub(crate) group: String,
    /// Names or device ids
    #[arg(required = true, value_name = "NAME|DEVICEID")]
    pub(crate) computers: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SoftwareVerb {
    /// List titles with how many computers have each, the most frequent first
    List {
        /// Only those with that in their name
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which computers have a title, and in which version
    Show {
        /// The whole name, in any case
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkVerb {
    /// List networks: how many computers are in each, who looks round there, how many were seen
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show who is in a network, and whose the addresses are
    Show {
        /// Its address, as `network list` shows it
        network: String,
        /// Only addresses that no known computer has
        #[arg(long)]
        unknown: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FieldVerb {
    /// List the fields in their order, with how many computers have a value
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a field, behind the others
    Add {
        /// What it is called
        name: String,
        /// What may stand in it: text, number, date, yes-no or list
        #[arg(long, default_value = "text")]
        kind: String,
        /// A choice of a list; once for each
        #[arg(long)]
        choice: Vec<String>,
        /// What new computers have
        #[arg(long, default_value = "")]
        initial: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change what a field is; refused where computers hold what it then may not
    Edit {
        /// Its name, or its name on the wire
        field: String,
        /// Another name; queries that ask for it are changed with it
        #[arg(long)]
        name: Option<String>,
        /// Another kind: text, number, date, yes-no or list
        #[arg(long)]
        kind: Option<String>,
        /// A choice of a list; once for each
        #[arg(long)]
        choice: Vec<String>,
        /// What new computers have
        #[arg(long)]
        initial: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the fields into an order: every one is named once
    Arrange {
        #[arg(required = true)]
        fields: Vec<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a field; what it said can be taken back for a week
    Delete {
        /// Its name, or its name on the wire
        field: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a field back that was deleted
    Restore {
        /// Its name, or its name on the wire
        field: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryVerb {
    /// List what Windows computers are asked
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask Windows computers for a value of their registry; they are told at their next contact
    Add {
        /// What the question is called
        name: String,
        /// HKCR, HKCU, HKLM, HKU or HKCC
        #[arg(long, default_value = "HKLM")]
        tree: RegistryTree,
        /// The key below it, such as "SOFTWARE\Example"
        #[arg(long)]
        key: String,
        /// Name of the value; * is all of the key
        #[arg(long, default_value = "*")]
        value: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a question back
    Remove {
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what computers found
    Show {
        /// What the question is called
        #[arg(required_unless_present = "computer", conflicts_with = "computer")]
        name: Option<String>,
        /// All that this computer found, by name or device id
        #[arg(long, value_name = "NAME|DEVICEID")]
        computer: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
