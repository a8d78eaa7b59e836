//! What the desk does with computers, and for whom not.
