//! Files that appear whole, locks, the published tree. Floor 2; only this room renames or deletes.
