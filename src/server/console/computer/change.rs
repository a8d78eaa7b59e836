//! What is done to one computer from its pages, each with what takes it back.

use super::super::call::{Call, View};
use super::super::toast::Undo;
use super::{address, device_id, identity_again, name_of, overview_again, told_apart};
use crate::model::query::fold;
use crate::service::desk::Refusal;

pub(super) fn set_tag(call: &Call) -> Result<View, Refusal> {
    let computer = call.desk().computer(device_id(call))?;
    let tag = call.form.get("tag");
    let undo = Undo::new(format!("{}/tag", address(&computer))).with("tag", &computer.tag);
    match call.desk().set_tag(device_id(call), tag) {
        Ok(()) if tag.is_empty() => View::undoable(address(&computer), "The tag was taken back.", undo),
        Ok(()) => View::undoable(address(&computer), format!("Tagged {tag}."), undo),
        Err(refusal) => overview_again(call, refusal),
    }
}

pub(super) fn set_field(call: &Call) -> Result<View, Refusal> {
    let field = call.form.get("field");
    let one = call.desk().computer_overview(device_id(call))?;
    let said = one.fields.into_iter().find(|(known, _)| fold(&known.name) == fold(field));
    let before = said.map(|(_, value)| value).unwrap_or_default();
    let computer = one.computer;
    let undo = Undo::new(format!("{}/fields", address(&computer))).with("field", field).with("value", before);
    match call.desk().set_field(device_id(call), field, call.form.get("value")) {
        Ok(()) => View::undoable(address(&computer), format!("{field} was saved."), undo),
        Err(refusal) => overview_again(call, refusal),
    }
}

pub(super) fn add_note(call: &Call) -> Result<View, Refusal> {
    let computer = call.desk().computer(device_id(call))?;
    match call.desk().add_note(device_id(call), call.form.raw("note")) {
        Ok(note) => {
            let undo = Undo::new(format!("{}/notes/delete", address(&computer))).with("note", note.to_string());
            View::undoable(address(&computer), "The note was added.", undo)
        }
        Err(refusal) => overview_again(call, refusal),
    }
}

pub(super) fn remove_note(call: &Call) -> Result<View, Refusal> {
    let computer = call.desk().computer(device_id(call))?;
    let note = call.form.parse::<i64>("note")?;
    call.desk().remove_note(device_id(call), note)?;
    let undo = Undo::new(format!("{}/notes/restore", address(&computer))).with("note", note.to_string());
    View::undoable(address(&computer), "The note was removed.", undo)
}

pub(super) fn restore_note(call: &Call) -> Result<View, Refusal> {
    let computer = call.desk().computer(device_id(call))?;
    call.desk().restore_note(device_id(call), call.form.parse("note")?)?;
    View::done(address(&computer), "The note is there again.")
}

pub(super) fn merge(call: &Call) -> Result<View, Refusal> {
    match call.desk().merge_computers(device_id(call), call.form.get("into")) {
        Ok((old, new)) => {
            let (old_name, new_name) = told_apart(&old, &new);
            View::undoable(
                format!("{}/identity", address(&new)),
                format!("{new_name} took over from {old_name}. It can be taken back here."),
                Undo::new(format!("{}/unmerge", address(&old))),
            )
        }
        Err(refusal) => identity_again(call, refusal),
    }
}

pub(super) fn unmerge(call: &Call) -> Result<View, Refusal> {
    match call.desk().unmerge_computer(device_id(call)) {
        Ok((old, new)) => {
            let (old_name, new_name) = told_apart(&old, &new);
            View::done(format!("{}/identity", address(&old)), format!("{old_name} and {new_name} are two again."))
        }
        Err(refusal) => identity_again(call, refusal),
    }
}

pub(super) fn archive(call: &Call) -> Result<View, Refusal> {
    match call.desk().archive_computer(device_id(call)) {
        Ok(computer) => View::undoable(
            format!("{}/identity", address(&computer)),
            format!("{} was archived.", name_of(&computer)),
            Undo::new(format!("{}/restore", address(&computer))),
        ),
        Err(refusal) => identity_again(call, refusal),
    }
}

pub(super) fn restore(call: &Call) -> Result<View, Refusal> {
    match call.desk().restore_computer(device_id(call)) {
        Ok(computer) => View::undoable(
            address(&computer),
            format!("{} is back.", name_of(&computer)),
            Undo::new(format!("{}/archive", address(&computer))),
        ),
        Err(refusal) => identity_again(call, refusal),
    }
}

pub(super) fn forget_key(call: &Call) -> Result<View, Refusal> {
    match call.desk().forget_key(device_id(call)) {
        Ok(computer) => {
            let undo = Undo::new(format!("{}/remember-key", address(&computer)));
            View::undoable(address(&computer), format!("The key of {} was forgotten.", name_of(&computer)), undo)
        }
        Err(refusal) => overview_again(call, refusal),
    }
}

pub(super) fn remember_key(call: &Call) -> Result<View, Refusal> {
    match call.desk().remember_key(device_id(call)) {
        Ok(computer) => View::done(address(&computer), format!("{} has its key again.", name_of(&computer))),
        Err(refusal) => overview_again(call, refusal),
    }
}

pub(super) fn wake(call: &Call) -> Result<View, Refusal> {
    match call.desk().wake_computer(device_id(call)) {
        Ok(computer) => {
            let text = format!("{} is woken within seconds. The facts below say whether it came.", name_of(&computer));
            View::done(address(&computer), text)
        }
        Err(refusal) => overview_again(call, refusal),
    }
}

pub(super) fn delete(call: &Call) -> Result<View, Refusal> {
    let computer = call.desk().computer(device_id(call))?;
    if call.form.get("typed") != name_of(&computer).trim() {
        let refusal = Refusal::invalid("this is not its name, so nothing was deleted").about("typed");
        return identity_again(call, refusal);
    }
    match call.desk().delete_computer(device_id(call)) {
        Ok(computer) => View::done("/computers?archived=1", format!("{} was deleted.", name_of(&computer))),
        Err(refusal) => identity_again(call, refusal),
    }
}
