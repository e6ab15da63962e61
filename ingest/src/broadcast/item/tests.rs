//! Items, good and bad, as tables.
