//! A client's JSON and URL, read strictly.
