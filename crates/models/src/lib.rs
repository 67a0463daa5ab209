//! Model bundles: what is in one, and whether it is what it says.
