//! Computers by what people call them.

use diesel::prelude::*;

use super::connection::q;
use super::row::{rows_of, text};
use super::schema::computers;
use super::{Conn, StoreError};
use crate::model::ComputerId;

/// By what a computer is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KnownAs {
    /// Its wire name.
    DeviceId,
    /// Its number in the store.
    Number,
    /// Its host name, letters compared without case.
    Name,
    /// Its serial number.
    Serial,
}

impl KnownAs {
    /// A name as it is compared.
    pub fn of(self, name: &str) -> String {
        let name = text(name.trim());
        if self == Self::Name { name.to_lowercase() } else { name.into_owned() }
    }
}

/// Who is called by one of these names, as [`KnownAs::of`] writes them: the name, the computer, and whether it is put away.
pub fn find(
    conn: &mut Conn,
    known_as: KnownAs,
    names: &[String],
) -> Result<Vec<(String, ComputerId, bool)>, StoreError> {
    macro_rules! by {
        ($column:ident, $names:expr) => {{
            let mut found = Vec::new();
            for chunk in $names.chunks(rows_of(1)) {
                let query = computers::table.filter(computers::$column.eq_any(chunk)).select((
                    computers::$column,
                    computers::id,
                    computers::archived_at.is_not_null(),
                ));
                let some: Vec<(_, i64, bool)> = q!(conn => query.load(conn))?;
                found.extend(some);
            }
            found
        }};
    }
    let found: Vec<(String, i64, bool)> = match known_as {
        KnownAs::DeviceId => by!(device_id, names),
        KnownAs::Name => by!(name_key, names),
        KnownAs::Serial => by!(serial, names),
        KnownAs::Number => {
            let numbers: Vec<i64> = names.iter().filter_map(|name| name.parse().ok()).collect();
            let found: Vec<(i64, i64, bool)> = by!(id, numbers);
            found.into_iter().map(|(number, id, away)| (number.to_string(), id, away)).collect()
        }
    };
    Ok(found.into_iter().map(|(name, id, away)| (name, ComputerId(id), away)).collect())
}
