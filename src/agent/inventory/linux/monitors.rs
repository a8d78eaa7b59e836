//! MONITORS: what is plugged into the graphics cards, by the EDID that the kernel keeps.

use super::super::edid;
use super::{Machine, Section};

const DRM: &str = "/sys/class/drm";

pub(super) fn sections(machine: &Machine<'_>) -> Vec<Section> {
    let connectors = machine.names(DRM).into_iter().filter(|name| name.starts_with("card") && name.contains('-'));
    connectors.filter_map(|name| edid::monitor(&machine.bytes(&format!("{DRM}/{name}/edid"), 1 << 10))).collect()
}
