//! The server program: listeners, routes, the agents' door, the tree. Floor 4.
