//! `dripfeed role …`

use serde_json::{Value, json};

use super::Done;
use super::args::{Place, RoleVerb};
use super::context::{desk, open, refused};
use super::output::{Output, count};
use crate::model::access::{Right, Rights};

pub(super) fn run(place: &Place, verb: RoleVerb, output: &mut Output) -> Done {
    if let RoleVerb::Rights { json } = verb {
        return rights(json, output);
    }
    let desk = desk(place, open(place)?.app);
    match verb {
        RoleVerb::List { json } => {
            let (roles, users) = (desk.roles().map_err(refused)?, desk.users().map_err(refused)?);
            let holders = |name: &str| users.iter().filter(|user| user.role == name).count();
            if json {
                let view = |role: &crate::service::desk::people::RoleLine| {
                    json!({
                        "name": role.name,
                        "built_in": role.built_in,
                        "users": holders(&role.name),
                        "rights": role.rights.iter().map(Right::as_str).collect::<Vec<_>>(),
                    })
                };
                return output.json(&roles.iter().map(view).collect::<Vec<Value>>());
            }
            let rows: Vec<[String; 4]> = roles
                .iter()
                .map(|role| {
                    let meaning = if role.built_in { role.meaning.to_owned() } else { role.rights.to_string() };
                    let rights = role.rights.iter().count().to_string();
                    [role.name.clone(), holders(&role.name).to_string(), rights, meaning]
                })
                .collect();
            output.table(["NAME", "USERS", "RIGHTS", "MAY"], &rows)
        }
        RoleVerb::Set { name, rights, json } => {
            let rights: Rights = rights.into_iter().collect();
            let number = rights.iter().count();
            desk.set_role(&name, rights).map_err(refused)?;
            if json {
                return output.json(&json!({ "name": name, "rights": number }));
            }
            output.line(format_args!("the role {name} has {}", count(number as u64, "right")))
        }
        RoleVerb::Delete { name, json } => {
            desk.delete_role(&name).map_err(refused)?;
            if json {
                return output.json(&json!({ "name": name }));
            }
            output.line(format_args!("deleted the role {name}"))
        }
        RoleVerb::Rights { .. } => Ok(()),
    }
}

fn rights(json: bool, output: &mut Output) -> Done {
    if json {
        let view = |right: &Right| json!({ "name": right.as_str(), "does": right.does() });
        return output.json(&Right::ALL.iter().map(view).collect::<Vec<Value>>());
    }
    let rows: Vec<[String; 2]> =
        Right::ALL.iter().map(|right| [right.as_str().to_owned(), right.does().to_owned()]).collect();
    output.table(["RIGHT", "WHAT IT ALLOWS"], &rows)
}
