//! placeholder
#![allow(clippy::all, clippy::pedantic, clippy::allow_attributes, missing_docs)]
use crate::model::{DeviceId, PackageId};
use crate::protocol::{AccountField, InventoryDocument};

pub(crate) fn collect(device_id: &DeviceId, account: &[AccountField], history: &[PackageId]) -> InventoryDocument {
    InventoryDocument {
        device_id: device_id.clone(),
        sections: Vec::new(),
        history: history.to_vec(),
        account: account.to_vec(),
    }
}
